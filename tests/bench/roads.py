"""What models make of roads that nobody labelled: python tests/bench/roads.py --models A B -- CLIPS [--sheet PNG].

Two shares that need no labels, each frame by itself: *ground in the sky*, of Road, Sidewalk, Car, Pedestrian and
Bicyclist among the pixels of the top fifth of a picture, where none of them can be; and sky in the bottom third. With
--sheet, frames spread over all sources are drawn, a row each: the picture, and every model's mask over it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from roadmask import Model, color_mask, segment_video

GROUND = ("Road", "Sidewalk", "Car", "Pedestrian", "Bicyclist")
_PICTURES = (".jpg", ".jpeg", ".png")
_SHEET_WIDTH = 320  # of one picture on the sheet

Seen = tuple[str, NDArray[np.uint8], NDArray[np.uint8]]  # name, picture in RGB, mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", nargs="+", required=True, metavar="MODEL", help="files, or names of models in the box"
    )
    parser.add_argument("sources", nargs="+", type=Path, metavar="CLIP_OR_FOLDER")
    parser.add_argument("--every", type=int, default=15, help="take every n-th frame of a clip")
    parser.add_argument("--sheet", type=Path, metavar="PNG")
    parser.add_argument("--rows", type=int, default=30, help="of the sheet")
    options = parser.parse_args()

    models = [Model.load(_path_or_name(model), device="cpu") for model in options.models]
    print(f"{'source':32} " + " ".join(f"{model.path.stem:>24}" for model in models))
    totals = np.zeros((len(models), 2))
    pages: list[list[Seen]] = []
    for source in options.sources:
        seen = [list(_frames(source, model, options.every)) for model in models]
        shares = np.array([_shares(frames, model) for frames, model in zip(seen, models, strict=True)])
        totals += shares
        print(f"{source.stem[:32]:32} {_row(shares)}")
        pages += [list(frames) for frames in zip(*seen, strict=True)]
    print(f"{'mean of the sources':32} {_row(totals / len(options.sources))}")
    print("each: ground in the top fifth, sky in the bottom third")
    if options.sheet:
        places = np.unique(np.linspace(0, len(pages) - 1, min(options.rows, len(pages))).round().astype(int))
        sheet = np.vstack([_sheet_row(pages[place], models) for place in places])
        cv2.imwrite(str(options.sheet), sheet[..., ::-1])


def _path_or_name(text: str) -> Path | str:
    return Path(text) if text.endswith(".onnx") else text


def _frames(source: Path, model: Model, every: int) -> Iterator[Seen]:
    """A picture is a video of one frame."""
    is_folder = source.is_dir()
    paths = sorted(path for path in source.iterdir() if path.suffix.lower() in _PICTURES) if is_folder else [source]
    for path in paths:
        for result in segment_video(path, model=model, smooth=False, stride=1 if is_folder else every):
            yield path.stem, result.frame.picture.to_ndarray(format="rgb24"), result.mask


def _shares(frames: Sequence[Seen], model: Model) -> tuple[float, float]:
    names = model.spec.class_names
    tops = [ground_in_the_sky(mask, names) for _, _, mask in frames]
    bottoms = [_share(mask[-len(mask) // 3 :], names, ("Sky",)) for _, _, mask in frames]
    return float(np.mean(tops)), float(np.mean(bottoms))


def ground_in_the_sky(mask: NDArray[np.uint8], names: Sequence[str]) -> float:
    """The share of the mask's top fifth that is of classes which stand on the ground."""
    return _share(mask[: len(mask) // 5], names, GROUND)


def _share(mask: NDArray[np.uint8], names: Sequence[str], some: Sequence[str]) -> float:
    return float(np.isin(mask, [names.index(name) for name in some if name in names]).mean())


def _row(shares: NDArray[np.float64]) -> str:
    return " ".join(f"{ground:12.4f} {sky:11.4f}" for ground, sky in shares)


def _sheet_row(frames: Sequence[Seen], models: Sequence[Model]) -> NDArray[np.uint8]:
    _, picture, _ = frames[0]
    size = (_SHEET_WIDTH, round(_SHEET_WIDTH * picture.shape[0] / picture.shape[1]))
    cells = [picture]
    for (_, shown, mask), model in zip(frames, models, strict=True):
        cells.append(np.asarray(0.45 * shown + 0.55 * color_mask(mask, model.spec.classes), np.uint8))
    return np.hstack([np.asarray(cv2.resize(cell, size, interpolation=cv2.INTER_AREA), np.uint8) for cell in cells])


if __name__ == "__main__":
    main()
