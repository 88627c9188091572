"""The README's and the guide's pictures: python tests/bench/readme_pictures.py FREEWAY WHITE --before MODEL.onnx.

The clips are the two that may be shown (see NOTICE): `test_video.mp4` of udacity/CarND-Vehicle-Detection, 1280x720, and
`solidWhiteRight.mp4` of udacity/CarND-LaneLines-P1. `overlay.jpg` has frames of them as `roadmask run` draws them;
`report.jpg` has a report of the second, light on a laptop and dark on a phone, where there is a browser; the live
view's picture is taken by tests/bench/live_view.py. `models.jpg` has an earlier model and this one side by side, by
day, in rain and at night, each picture by itself; rain and night are drawn, as training draws them, and seeded by the
frame's number. Nobody chooses its frames: in each row it is the one where the two models differ by the median of all.
What both did on all of them is printed, as is the ground that they see in the sky (tests/bench/roads.py has the rule).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from selenium import webdriver

import roadmask
from roadmask.stream.cli import main as command
from roadmask.stream.decode.source import open_source
from roadmask.stream.result import Result
from roadmask.stream.segmenter import Segmenter
from roadmask.training.harsh import Pair, night, rain

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.roads import ground_in_the_sky
from tests.support.browser import IS_MISSING, browsing, on_laptop_and_phone

Picture = NDArray[np.uint8]
Drawn = Callable[[Picture, Picture, np.random.Generator], Pair]
LIGHTS: dict[str, Drawn] = {
    "day": lambda picture, mask, _: (picture, mask),
    "rain, drawn": rain,
    "night, drawn": night,
}
DRAWN_SIZE = (360, 640)  # drops, blur and noise are made for pictures of about that size
WIDTH, GAP, BETWEEN = 1280, 8, 110  # of a picture; between its parts, in a gray for light and dark pages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("freeway", type=Path)
    parser.add_argument("white", type=Path)
    parser.add_argument("--model", default="camvid-lite0")
    parser.add_argument("--before", type=Path, metavar="MODEL.onnx", help="the earlier model; without, no models.jpg")
    parser.add_argument("--names", nargs=2, default=["before", "now"], help="of the two, in the picture: 1.0.0 2.0.0")
    parser.add_argument("--stride", type=int, default=1, help="compare models on every n-th frame")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parents[2] / ".assets")
    options = parser.parse_args()

    model = roadmask.load(options.model, device="cpu")
    _write(options.output / "overlay.jpg", overlay(model, options.freeway, options.white))
    if not IS_MISSING:
        _write(options.output / "report.jpg", report(options.model, options.white))
    if options.before:
        models = dict(zip(options.names, [roadmask.load(options.before, device="cpu"), model], strict=True))
        shown = side_by_side(models, [options.freeway, options.white], options.stride)
        _write(options.output / "models.jpg", shown)


def overlay(model: Segmenter, freeway: Path, white: Path) -> Picture:
    """A frame's overlay; below it the frame, some of its outlines, and the overlay of a frame of the other clip."""
    frame, other = _result(model, freeway, 31), _result(model, white, 152)
    below = [
        _cut(frame.picture, (0, 0, 1280), 212),
        _cut(frame.plot(style="outline"), (800, 352, 480), 212),
        _cut(other.plot(), (0, 30, 960), 212),
    ]
    return _column([frame.plot(legend="top-left")[:640], _row(below)])


def _result(model: Segmenter, clip: Path, index: int) -> Result:
    return next(result for result in model.stream(clip) if result.index == index)


def report(model: str, clip: Path) -> Picture:
    """From its top on the laptop; its keyframes on the phone."""
    with tempfile.TemporaryDirectory() as folder, browsing("--hide-scrollbars") as chrome:
        masks, page = Path(folder) / f"{clip.stem}_masks.zip", Path(folder) / "report.html"
        command(["run", str(clip), "--masks", str(masks), "--model", model, "--device", "cpu", "--quiet"])
        command(["report", str(masks), "--video", str(clip), "-o", str(page), "--quiet"])

        def show(chrome: webdriver.Chrome, screen: str) -> None:
            light = {"name": "prefers-color-scheme", "value": "light" if screen == "laptop" else "dark"}
            chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [light]})
            chrome.get(page.as_uri())
            if screen == "phone":
                card = "document.querySelector('.pictures').closest('.card')"
                chrome.execute_script(f"{card}.scrollIntoView({{behavior: 'instant'}})")

        picture = on_laptop_and_phone(chrome, 800, show)
    return np.asarray(picture[..., ::-1], np.uint8)


@dataclass(frozen=True)
class Seen:
    """A picture, and what each of the two models makes of it."""

    picture: Picture
    results: list[Result]

    @property
    def difference(self) -> float:
        """The share of pixels that they give different classes."""
        first, second = self.results
        return float((first.mask != second.mask).mean())


def side_by_side(models: Mapping[str, Segmenter], clips: Sequence[Path], stride: int) -> Picture:
    """A row of each light: the picture, and its overlay by each model."""
    rows = []
    for light, drawn in LIGHTS.items():
        frames = [
            Seen(shown, [model(shown) for model in models.values()])
            for clip in clips
            for shown in _pictures(clip, drawn, stride)
        ]
        by_difference = sorted(frames, key=lambda frame: frame.difference)
        median = by_difference[len(frames) // 2]
        print(f"{light}: {len(frames)} frames; {median.difference:.1%} of the pixels of the median one differ")
        _tell(frames, list(models))
        shown = [median.picture, *(result.plot(alpha=0.7) for result in median.results)]
        cells = [_cut(picture, (0, 0, DRAWN_SIZE[1]), 236) for picture in shown]
        rows.append(_row([_named(cell, name) for cell, name in zip(cells, (light, *models), strict=True)]))
    return _column(rows)


def _tell(frames: Sequence[Seen], names: Sequence[str]) -> None:
    """What either sees where no ground can be, and what the first and the second most often take one for the other."""
    classes = frames[0].results[0].classes
    for name, results in zip(names, zip(*(frame.results for frame in frames), strict=True), strict=True):
        ground = np.mean([ground_in_the_sky(result.mask, classes) for result in results])
        print(f"    {name}: {ground:.2%} of the top fifth is ground")
    pairs = np.zeros((len(classes), len(classes)))
    for frame in frames:
        first, second = (result.mask.ravel().astype(np.intp) for result in frame.results)
        counts = np.bincount(first * len(classes) + second, minlength=len(classes) ** 2)
        pairs += counts.reshape(pairs.shape) / first.size / len(frames)
    np.fill_diagonal(pairs, 0)
    print(f"    all frames: {pairs.sum():.1%} differ")
    for place in pairs.ravel().argsort()[::-1][:4]:
        before, after = divmod(int(place), len(classes))
        print(f"    {pairs[before, after]:6.2%} {classes[before]} by {names[0]}, {classes[after]} by {names[1]}")


def _pictures(clip: Path, drawn: Drawn, stride: int) -> Iterator[Picture]:
    with open_source(clip) as source:
        for frame in islice(source.frames(lambda _: DRAWN_SIZE), 0, None, stride):
            yield drawn(frame.input, _sky(frame.input), np.random.default_rng(frame.index))[0]


def _sky(picture: Picture) -> Picture:
    """1 where it is: all blue that reaches the upper edge. By no model, as night gives what is in it its own light."""
    hue, saturation, value = cv2.split(cv2.cvtColor(cv2.GaussianBlur(picture, (0, 0), 2), cv2.COLOR_RGB2HSV))
    blue = (hue > 90) & (hue < 125) & (saturation > 30) & (value > 110)
    _, pieces = cv2.connectedComponents(blue.astype(np.uint8))
    return np.asarray(blue & np.isin(pieces, np.unique(pieces[0])), np.uint8)


def _named(picture: Picture, name: str) -> Picture:
    """With a name on a plate in the upper left corner, as legends have them."""
    (width, height), below = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.8, 2)
    named = picture.copy()
    plate = named[GAP : GAP + height + below + 2 * GAP, GAP : GAP + width + 2 * GAP]
    plate[:] = plate // 5 + 25
    cv2.putText(
        named, name, (2 * GAP, 2 * GAP + height), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2, cv2.LINE_AA
    )
    return named


def _cut(picture: Picture, place: tuple[int, int, int], height: int) -> Picture:
    """What begins at x, y and is so wide, as one of three in a row of that height."""
    x, y, taken = place
    width = (WIDTH - 2 * GAP) // 3
    cut = picture[y : y + round(taken * height / width), x : x + taken]
    return np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _row(cells: Sequence[Picture]) -> Picture:
    row = np.full((len(cells[0]), WIDTH, 3), BETWEEN, np.uint8)
    for number, cell in enumerate(cells):
        x = number * (WIDTH - cell.shape[1]) // (len(cells) - 1)
        row[:, x : x + cell.shape[1]] = cell
    return row


def _column(rows: Sequence[Picture]) -> Picture:
    between = np.full((GAP, WIDTH, 3), BETWEEN, np.uint8)
    return np.vstack([part for row in rows for part in (between, row)][1:])


def _write(path: Path, picture: Picture) -> None:
    settings = [cv2.IMWRITE_JPEG_QUALITY, 80, cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    cv2.imwrite(str(path), picture[..., ::-1], settings)
    print(f"{path}: {picture.shape[1]}x{picture.shape[0]}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
