"""The way of a drive, drawn to scale and coloured by speed; of positions alone, so that nothing is fetched for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..decode.gps import GpsTrack

_MOST_POINTS = 1000  # drawn, evenly among the masks
_METERS = 111_195.0  # of a degree of latitude
_WIDTH, _LEAST_HEIGHT, _MOST_HEIGHT, _MARGIN = 1000, 240, 560, 36  # of the drawing
_LEAST_M = 40.0  # that it shows at least, of somebody who stands still
_COLORS = (
    "#4a3aa7",
    "#a3359c",
    "#dc5566",
    "#f58f46",
    "#f7cf3d",
)  # slow to fast, to all eyes
_UNKNOWN = "#7d8a99"
_ROOM = 26  # that a mark takes


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """`n` masks, evenly among all, and where each was: latitude and longitude in degrees, speed in km/h, else nan."""

    positions: NDArray[np.int64]  # (n) of the masks, rising
    places: NDArray[np.float64]  # (n, 3)


def way_of(times: NDArray[np.float64], table: NDArray[np.float64] | None, track: GpsTrack | None) -> Way | None:
    """Of masks of those times; `None` where nothing tells of any where it was.

    Args:
        times: seconds on the video's clock.
        table: (masks, 3) as statistics have it.
        track: of the video.
    """
    chosen = np.unique(np.linspace(0, len(times) - 1, min(_MOST_POINTS, len(times))).astype(np.int64))
    if table is not None:
        places = table[chosen]
    elif track is not None:
        unknown = (np.nan, np.nan, np.nan)
        places = np.array([track.at(float(time)) or unknown for time in times[chosen]], np.float64).reshape(-1, 3)
    else:
        return None
    return Way(chosen, places) if np.isfinite(places[:, 0]).any() else None


def track_section(way: Way, anchor: str, pictures: Sequence[int]) -> str:
    """HTML: the way, how long it is and how fast, and where the pictures of those masks were taken."""
    known = np.isfinite(way.places[:, 0])
    plan = _Plan(way.places[known])
    points = plan.points(way.places)
    speeds = way.places[:, 2]
    marks = "".join(_marks(way, plan, points, anchor, pictures))
    bar, told = plan.bar()
    svg = (
        f"<svg viewBox='0 0 {_WIDTH} {plan.height}' aria-hidden='true'>{''.join(_lines(points, speeds))}"
        f"<path class='bar' d='M{_MARGIN / 2} {plan.height - 14}h{bar:.1f}'/></svg>"
    )
    return (
        "<section class='card'><h3>Where it was</h3>"
        f"<div class='track' role='img' aria-label='{escape(_told(way, plan))}'>{svg}{marks}"
        f"<span class='length'>{told}</span></div>{_legend(speeds)}"
        f"<p class='hint'>{_told(way, plan)}. North is up.</p></section>"
    )


class _Plan:
    """Where on the drawing a place is. Around the middle of a drive the earth is flat enough."""

    def __init__(self, places: NDArray[np.float64]) -> None:
        self._middle = (places[:, :2].min(axis=0) + places[:, :2].max(axis=0)) / 2
        meters = self.meters(places)
        extent = np.maximum(np.ptp(meters, axis=0), _LEAST_M)
        room = _WIDTH - 2 * _MARGIN, _MOST_HEIGHT - 2 * _MARGIN
        self.scale = min(room[0] / extent[0], room[1] / extent[1])
        self.height = round(min(max(extent[1] * self.scale + 2 * _MARGIN, _LEAST_HEIGHT), _MOST_HEIGHT))

    def meters(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) east and north of the middle."""
        north, east = (places[:, :2] - self._middle).T * _METERS
        return np.stack([east * np.cos(np.radians(self._middle[0])), north], axis=1)

    def points(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) in the drawing's units, from its upper left."""
        points: NDArray[np.float64] = self.meters(places) * (self.scale, -self.scale) + (_WIDTH / 2, self.height / 2)
        return points

    def bar(self) -> tuple[float, str]:
        """The length of a bar that stands for a round number of metres, and that number."""
        most = _WIDTH / 4 / self.scale
        digits = 10.0 ** np.floor(np.log10(most))
        meters = max(step * digits for step in (1, 2, 5) if step * digits <= most)
        return meters * self.scale, f"{meters:g} m" if meters < 1000 else f"{meters / 1000:g} km"


def _lines(points: NDArray[np.float64], speeds: NDArray[np.float64]) -> Iterator[str]:
    """One under all, then a piece for each stretch of about one speed; nothing where it is not known where it was."""
    known, levels = np.isfinite(points[:, 0]), _levels(speeds)
    pieces: list[tuple[int, list[int]]] = []
    for before, at in pairwise(range(len(points))):
        if known[before] and known[at]:
            if not pieces or pieces[-1][0] != levels[at] or pieces[-1][1][-1] != before:
                pieces.append((levels[at], [before]))
            pieces[-1][1].append(at)
    paths = ["M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points[places]) for _, places in pieces]
    yield f"<path class='under' d='{''.join(paths)}'/>"
    for (level, _), path in zip(pieces, paths, strict=True):
        yield f"<path stroke='{_UNKNOWN if level < 0 else _COLORS[level]}' d='{path}'/>"


def _levels(speeds: NDArray[np.float64]) -> list[int]:
    """Which colour; -1 where the speed is not known."""
    top = _top(speeds)
    shares = np.nan_to_num(speeds / top, nan=-1)
    levels = np.where(shares < 0, -1, np.minimum(shares * len(_COLORS), len(_COLORS) - 1))
    return [int(level) for level in levels]


def _top(speeds: NDArray[np.float64]) -> float:
    """A round speed that none is above."""
    fastest = float(np.nanmax(speeds)) if np.isfinite(speeds).any() else 0.0
    return max(float(np.ceil(fastest / 10) * 10), 10.0)


def _legend(speeds: NDArray[np.float64]) -> str:
    if not np.isfinite(speeds).any():
        return ""
    step = _top(speeds) / len(_COLORS)
    items = (
        f"<span><i class='swatch' style='background:{color}'></i>{number * step:g} to {(number + 1) * step:g}</span>"
        for number, color in enumerate(_COLORS)
    )
    return f"<div class='speeds'>{''.join(items)}<span>km/h</span></div>"


def _marks(way: Way, plan: _Plan, points: NDArray[np.float64], anchor: str, pictures: Sequence[int]) -> Iterator[str]:
    """Where it begins and ends, and where each picture is from, as far as that is known and there is room for it."""
    known = np.flatnonzero(np.isfinite(points[:, 0]))
    for name, at in {"begin": known[0], "end": known[-1]}.items():
        yield f"<span class='{name}' style='{_at(points[at], plan)}'></span>"
    most_apart = int(np.diff(way.positions).max(initial=1))
    taken: list[NDArray[np.float64]] = []
    for number, position in enumerate(pictures, 1):
        near = known[np.abs(way.positions[known] - position).argmin()]
        is_free = all(np.hypot(*(points[near] - other)) > _ROOM for other in taken)
        if is_free and abs(way.positions[near] - position) <= most_apart:
            taken.append(points[near])
            yield f"<a href='#{anchor}-{number}' style='{_at(points[near], plan)}'>{number}</a>"


def _at(point: NDArray[np.float64], plan: _Plan) -> str:
    return f"left:{point[0] / _WIDTH:.2%};top:{point[1] / plan.height:.2%}"


def _told(way: Way, plan: _Plan) -> str:
    """In words: 12.3 km, 45 km/h on average, 80 at most; from 51.50740, -0.12780 to ..."""
    known = np.isfinite(way.places[:, 0])
    meters = plan.meters(way.places)
    length = float(np.nansum(np.hypot(*np.diff(meters, axis=0).T)))
    words = [f"{length / 1000:.1f} km" if length >= 1000 else f"{length:.0f} m"]
    speeds = way.places[known, 2]
    if np.isfinite(speeds).any():
        words += [f"{np.nanmean(speeds):.0f} km/h on average", f"{np.nanmax(speeds):.0f} at most"]
    first, last = way.places[known][[0, -1], :2]
    words.append(f"from {first[0]:.5f}, {first[1]:.5f} to {last[0]:.5f}, {last[1]:.5f}")
    return ", ".join(words)
