"""What few labelled pictures of one's own give: python tests/bench/few_pictures.py CAMVID -o FOLDER --pictures 24.

CamVid's classes are made a few, as somebody might want who looks for people beside the road: Road, People (pedestrians
and cyclists, one pixel in thirty-four of those scored) and Other, which is all that is not named. So many training
pictures, evenly spaced over all drives, are trained on, once with `--start-from` and once without; both by what
`roadmask train` takes for so few of itself. They are scored on `valid.txt` after their last epoch, so that no epoch is
chosen by what it is scored on. The upper mark is the model in the box, which learnt from all 367: its classes, made
these. It is a mark only, as it has seen the 24, too.

Options after `--` go to both runs: `-- --budget 15m`. On a machine with other work, where a budget is unfair, give the
run without as many steps as take the processor time of the run with: `--only without -- --epochs 10 --passes 4`.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

Classes = dict[str, list[str]]  # to learn, and the names of CamVid's that each is made of
REST = "Other"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path, help="images/, labels/, codes.txt with CamVid's 11 classes, valid.txt")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--model", default="camvid-lite0", help="to start from, and the upper mark")
    parser.add_argument(
        "--classes",
        type=_classes,
        default="Road,People=Pedestrian|Bicyclist",
        metavar="NAME[=NAME|NAME...],...",
        help=f"CamVid's to learn, or new ones of several of CamVid's; {REST} is added",
    )
    parser.add_argument("--only", choices=("with", "without", "mark"), help="one of the three")
    words = [*sys.argv[1:], "--"]
    end = words.index("--")
    options, more = parser.parse_args(words[:end]), words[end + 1 : -1]

    classes = _with_rest(options.classes, _names(options.camvid))
    data = options.output / f"data-{options.pictures}"
    write_data(options.camvid, data, options.pictures, classes)
    print(f"{'run':8} {'steps':>6} {'processor':>10} {'mIoU':>7} " + " ".join(f"{name:>8}" for name in classes))
    for name, start in (("without", []), ("with", ["--start-from", options.model])):
        if options.only in (None, name):
            run = options.output / f"{name}-{options.pictures}"
            shutil.rmtree(run, ignore_errors=True)
            seconds = _roadmask("train", str(data), "-o", str(run), *start, *more)
            _roadmask("export", str(run / "last.pt"), "-o", str(run / "last.onnx"))
            steps = len((run / "steps.csv").read_text().splitlines()) - 1
            _print(name, f"{steps}", f"{seconds / 60:.1f} min", _scores(str(run / "last.onnx"), data, ()), classes)
    if options.only in (None, "mark"):
        maps = [word for name, parts in classes.items() for word in ("--map", f"{name}={'|'.join(parts)}")]
        _print("mark", "-", "-", _scores(options.model, data, maps), classes)


def write_data(camvid: Path, folder: Path, count: int, classes: Classes) -> None:
    """`count` training pictures and all of `valid.txt`, with labels of the `classes`."""
    names = [*classes, "void"]
    made = {part: names.index(name) for name, parts in classes.items() for part in parts}
    table = np.full(256, names.index("void"), np.uint8)
    for index, name in enumerate(_names(camvid)):
        table[index] = made[name]
    valid = set((camvid / "valid.txt").read_text().split())
    pictures = sorted((camvid / "images").iterdir())
    train = [path for path in pictures if path.name not in valid]
    chosen = np.linspace(0, len(train) - 1, min(count, len(train))).round().astype(int)
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for path in [train[place] for place in chosen] + [path for path in pictures if path.name in valid]:
        (folder / "images" / path.name).symlink_to(path.resolve())
        label = np.asarray(Image.open(camvid / "labels" / f"{path.stem}_P.png"))
        Image.fromarray(table[label]).save(folder / "labels" / f"{path.stem}.png")
    (folder / "codes.txt").write_text("\n".join(names) + "\n")
    shutil.copy(camvid / "valid.txt", folder / "valid.txt")


def _classes(text: str) -> Classes:
    found = {}
    for word in text.split(","):
        name, _, parts = word.partition("=")
        found[name] = (parts or name).split("|")
    return found


def _with_rest(classes: Classes, names: Sequence[str]) -> Classes:
    chosen = [part for parts in classes.values() for part in parts]
    if unknown := [part for part in chosen if part not in names]:
        raise SystemExit(f"{', '.join(unknown)}: not of {', '.join(names)}")
    return classes | {REST: [name for name in names if name not in chosen]}


def _names(camvid: Path) -> list[str]:
    """But for void, which is CamVid's last."""
    return (camvid / "codes.txt").read_text().split()[:-1]


def _roadmask(*words: str) -> float:
    """Run it; seconds of a processor that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    print("roadmask", *words, file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "roadmask", *words], check=True, stdout=sys.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _scores(model: str, data: Path, maps: Sequence[str]) -> dict[str, float]:
    """mIoU, and IoU by class, each picture by itself."""
    words = [sys.executable, "-m", "roadmask", "eval", model, str(data), "--no-smooth", "--json", *maps]
    found = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
    return {"miou": found["miou"], **found["iou"]}


def _print(name: str, steps: str, minutes: str, scores: dict[str, float], classes: Classes) -> None:
    values = [scores.get(one, scores.get("+".join(parts), 0.0)) for one, parts in classes.items()]  # as `eval` has it
    print(f"{name:8} {steps:>6} {minutes:>10} {scores['miou']:7.3f} " + " ".join(f"{one:8.3f}" for one in values))


if __name__ == "__main__":
    main()
