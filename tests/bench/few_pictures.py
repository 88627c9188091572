"""What few labelled pictures of one's own give: python tests/bench/few_pictures.py CAMVID -o FOLDER --pictures 24.

CamVid's classes are made three, as somebody might want who looks for people beside the road: Road, People (pedestrians
and cyclists, one pixel in thirty-four of those scored) and Other. So many training pictures, evenly spaced over all
drives, are trained on, once with `--start-from` and once without; both by what `roadmask train` takes for so few of
itself. They are scored on `valid.txt` after their last epoch, so that no epoch is chosen by what it is scored on. The
upper mark is the model in the box, which learnt from all 367: its classes, made these three. It is a mark only, as it
has seen the 24, too.

Options after `--` go to both runs: `-- --budget 15m`.
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

CLASSES = ("Road", "People", "Other", "void")
_OF = {"Road": "Road", "Pedestrian": "People", "Bicyclist": "People", "Void": "void"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path, help="images/, labels/, codes.txt with CamVid's 11 classes, valid.txt")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--model", default="camvid-lite0", help="to start from, and the upper mark")
    parser.add_argument("--only", choices=("with", "without", "mark"), help="one of the three")
    words = [*sys.argv[1:], "--"]
    end = words.index("--")
    options, more = parser.parse_args(words[:end]), words[end + 1 : -1]

    data = options.output / f"data-{options.pictures}"
    write_data(options.camvid, data, options.pictures)
    print(f"{'run':8} {'steps':>6} {'processor':>10} {'mIoU':>7} " + " ".join(f"{name:>8}" for name in CLASSES[:-1]))
    for name, start in (("without", []), ("with", ["--start-from", options.model])):
        if options.only in (None, name):
            run = options.output / f"{name}-{options.pictures}"
            shutil.rmtree(run, ignore_errors=True)
            seconds = _roadmask("train", str(data), "-o", str(run), *start, *more)
            _roadmask("export", str(run / "last.pt"), "-o", str(run / "last.onnx"))
            steps = len((run / "steps.csv").read_text().splitlines()) - 1
            _print(name, f"{steps}", f"{seconds / 60:.1f} min", _scores(str(run / "last.onnx"), data, ()))
    if options.only in (None, "mark"):
        others = "|".join(name for name in _names(options.camvid) if name not in _OF)
        maps = ("--map", "People=Pedestrian|Bicyclist", "--map", f"Other={others}")
        _print("mark", "-", "-", _scores(options.model, data, maps))


def write_data(camvid: Path, folder: Path, count: int) -> None:
    """`count` training pictures and all of `valid.txt`, with labels of the three classes."""
    names = _names(camvid)
    table = np.full(256, CLASSES.index("void"), np.uint8)
    table[: len(names)] = [CLASSES.index(_OF.get(name, "Other")) for name in names]
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
    (folder / "codes.txt").write_text("\n".join(CLASSES) + "\n")
    shutil.copy(camvid / "valid.txt", folder / "valid.txt")


def _names(camvid: Path) -> list[str]:
    return (camvid / "codes.txt").read_text().split()


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


def _print(name: str, steps: str, minutes: str, scores: dict[str, float]) -> None:
    groups = {"People": "Pedestrian+Bicyclist"}
    other = next(key for key in scores if key == "Other" or key.startswith("Sky+"))
    values = [scores.get(one, scores.get(groups.get(one, other), 0.0)) for one in CLASSES[:-1]]
    print(f"{name:8} {steps:>6} {minutes:>10} {scores['miou']:7.3f} " + " ".join(f"{one:8.3f}" for one in values))


if __name__ == "__main__":
    main()
