"""How far apart the classes' colours are in each palette: python tests/bench/palettes.py [--alpha 0.5].

The smallest distance between the colours of any two of the eleven classes, and which two they are: the colours alone,
and as `Overlay` draws them, in 8 bit YUV 4:2:0, over a road that is gray: at night (40), asphalt by day (100), concrete
(170). For eyes that see all colours, and for those that lack a kind of cones. By CIEDE2000 (Sharma, Wu, Dalal, 2005),
and as plain distance in CIELAB.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import combinations
from typing import get_args

import av
import numpy as np
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from roadmask.stream.encode.overlay import Overlay
from roadmask.stream.encode.palette import PALETTES, Eyes, in_lab, load_palette
from roadmask.stream.frames import Frame, SegmentedFrame
from roadmask.stream.network.model import Model
from roadmask.stream.spec import PixelClass
from tests.support.clips import video_info

ROADS = (40, 100, 170)
SIDE = 32  # of a class's square
Lab = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alpha", type=float, default=0.5)
    options = parser.parse_args()
    classes = Model.load("camvid-lite0-int8", device="cpu").spec.classes
    print(f"{'':24}" + "".join(f"{eyes:>34}" for eyes in get_args(Eyes)))
    for name in PALETTES:
        colored = load_palette(name).colored(classes)
        for road in (None, *ROADS):
            seen = plain(colored) if road is None else over_road(colored, road, options.alpha)
            cells = [_cell(in_lab(seen, eyes), classes) for eyes in get_args(Eyes)]
            print(
                f"{name:11}{'alone' if road is None else f'over {road}':13}" + "".join(f"{cell:>34}" for cell in cells)
            )


def _cell(lab: Lab, classes: Sequence[PixelClass]) -> str:
    (first, second), distance = nearest(lab)
    return f"{distance:.1f} ({classes[first].name[:8]}, {classes[second].name[:8]}) {straight(lab)[1]:5.1f}"


def nearest(lab: Lab) -> tuple[tuple[int, int], float]:
    """The two colours that are nearest to each other, and their distance by CIEDE2000."""
    return _nearest(lab, ciede2000)


def straight(lab: Lab) -> tuple[tuple[int, int], float]:
    """The same by plain distance."""
    return _nearest(lab, lambda one, other: float(np.linalg.norm(one - other)))


def _nearest(lab: Lab, distance: Callable[[Lab, Lab], float]) -> tuple[tuple[int, int], float]:
    pairs = combinations(range(len(lab)), 2)
    return min(((pair, distance(lab[pair[0]], lab[pair[1]])) for pair in pairs), key=lambda found: found[1])


def plain(classes: Sequence[PixelClass]) -> NDArray[np.uint8]:
    return np.array([item.color for item in classes], np.uint8)


def over_road(classes: Sequence[PixelClass], gray: int, alpha: float) -> NDArray[np.uint8]:
    """RGB of each class, as the overlay draws it over that gray."""
    mask = np.arange(len(classes), dtype=np.uint8).repeat(SIDE)[None].repeat(SIDE, axis=0)
    road = av.VideoFrame.from_ndarray(np.full((*mask.shape, 3), gray, np.uint8), format="rgb24")
    road = road.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=1)
    road.colorspace, road.color_range, road.pts, road.time_base = Colorspace.ITU709, 1, 0, Fraction(1, 25)
    frame = Frame(0, 0, Fraction(1, 25), road, np.zeros((2, 2, 3), np.uint8), video_info())
    drawn = Overlay(classes, alpha=alpha).render(SegmentedFrame(frame, mask))
    pixels = drawn.reformat(format="rgb24", src_colorspace=Colorspace.ITU709).to_ndarray()
    return np.asarray(pixels[SIDE // 2, SIDE // 2 :: SIDE], np.uint8)


def ciede2000(one: Lab, other: Lab) -> float:
    """The difference of two colours as eyes see it; the names are those of Sharma, Wu and Dalal's formula."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 0.5 * (1 - np.sqrt(mean**7 / (mean**7 + 25.0**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    h = h1 + turn / 2 if c1 * c2 else h1 + h2
    dl, dc, dh = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    lightness, c = (l1 + l2) / 2, (c1 + c2) / 2
    waves = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    t = 1 + sum(weight * np.cos(np.radians(times * h + shift)) for weight, times, shift in waves)
    sl = 1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2)
    sc, sh = 1 + 0.045 * c, 1 + 0.015 * c * t
    turned = -np.sin(np.radians(60 * np.exp(-(((h % 360 - 275) / 25) ** 2)))) * 2 * np.sqrt(c**7 / (c**7 + 25.0**7))
    return float(np.sqrt((dl / sl) ** 2 + (dc / sc) ** 2 + (dh / sh) ** 2 + turned * (dc / sc) * (dh / sh)))


if __name__ == "__main__":
    main()
