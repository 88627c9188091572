"""How unlike what a model knows drives look to it: python tests/bench/familiar.py MODEL CLIPS_OR_FOLDERS.

For each clip, and each drive of a folder of pictures (names as DRIVE_FRAME.jpg; `--together` takes a folder as one):
pictures, the lead that the middle one has, and the share of them below what stands in the model file, as `roadmask
run` tells it. Whoever exports a model sees so whether its own drives stay quiet, and others do not.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from roadmask import Model
from roadmask.stream.decode.source import open_source
from roadmask.stream.masks.familiar import lead, warning_of

_PICTURES = (".jpg", ".jpeg", ".png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a file with what is familiar to it, or the name of a model in the box")
    parser.add_argument("sources", nargs="+", type=Path, metavar="CLIP_OR_FOLDER")
    parser.add_argument("--every", type=int, default=25, help="take every n-th frame of a clip")
    parser.add_argument("--only", default="", metavar="TEXT", help="drives whose names end so")
    parser.add_argument("--together", action="store_true", help="a folder is one drive")
    options = parser.parse_args()

    model = Model.load(Path(options.model) if options.model.endswith(".onnx") else options.model, device="cpu")
    least = model.spec.least_lead
    if least is None:
        raise SystemExit(f"{options.model}: says nothing of what it knows; roadmask export --familiar DATA notes it")
    print(f"{'drive':36} {'pictures':>8} {'lead':>6} {'below ' + format(least, '.2f'):>11}  told")
    told = drives = 0
    for source in options.sources:
        for name, paths in _drives(source, options).items():
            leads = np.array([found for path in paths for found in _leads(path, model, options.every)])
            share = float((leads < least).mean())
            drives, told = drives + 1, told + bool(warning_of(share))
            mark = "unlike" if warning_of(share) else ""
            print(f"{name[:36]:36} {len(leads):8} {np.median(leads):6.2f} {share:11.2f}  {mark}", flush=True)
    print(f"{told} of {drives} drives are told to be unlike what the model has learnt")


def _drives(source: Path, options: argparse.Namespace) -> dict[str, list[Path]]:
    if source.is_file():
        return {source.stem: [source]}
    drives: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(path for path in source.iterdir() if path.suffix.lower() in _PICTURES):
        drive = source.name if options.together else path.stem.rpartition("_")[0]
        if drive.endswith(options.only):
            drives[drive].append(path)
    return drives


def _leads(path: Path, model: Model, every: int) -> Iterator[float]:
    with open_source(path, stride=every) as source:
        size = model.spec.input_size(source.info.height, source.info.shown_width)
        for frame in source.frames(lambda _: size):
            yield lead(model.scores(frame.input[None])[0])


if __name__ == "__main__":
    main()
