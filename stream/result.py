"""What a model makes of a picture: the class of each pixel, to look at, to save, to count.

It is drawn as `roadmask run` draws.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from itertools import compress
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from .decode.pixels import network_input
from .encode.legend import LEGEND_PLACES, LegendPlace, draw_legend
from .encode.overlay import STYLES, Style, mixed
from .encode.palette import CLEAR, Palette, load_palette
from .encode.picture_sink import PICTURE_SUFFIXES, encoded
from .errors import ArgumentError, OutputError, RoadmaskError
from .frames import Frame, SegmentedFrame, VideoInfo
from .spec import ModelSpec, select_classes
from .system.disk import replace_file, writing
from .system.talk import did_you_mean

_SHOWN_WIDTH = 640  # pixels, of a picture in a notebook


class Result:
    """A picture and the class of each of its pixels.

    >>> import roadmask
    >>> result = next(roadmask.load("camvid-lite0-int8").stream("drive.mp4"))
    >>> result.mask.shape, result["Car"].dtype, round(sum(result.shares.values()), 6)
    ((96, 128), dtype('bool'), 1.0)
    >>> result.plot(classes=["Road", "Car"], style="outline").shape, result.picture.shape
    ((96, 128, 3), (96, 128, 3))
    >>> result.save("seen.png", alpha=0.4)
    >>> result.save_mask("mask.png")
    """

    def __init__(
        self, frame: SegmentedFrame, spec: ModelSpec, *, bgr: bool = False, picture: NDArray[np.uint8] | None = None
    ) -> None:
        self._frame, self._spec, self._bgr = frame, spec, bgr
        self._picture = picture

    def __repr__(self) -> str:
        height, width = self.mask.shape
        most = sorted(self.shares.items(), key=lambda item: -item[1])[:4]
        return f"<{width}x{height}: {', '.join(f'{name} {share:.0%}' for name, share in most if share)}>"

    @property
    def mask(self) -> NDArray[np.uint8]:
        """(height, width), of the picture's size: indices into `classes`."""
        return self._frame.mask

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the mask's indices."""
        return self._spec.class_names

    @property
    def shares(self) -> dict[str, float]:
        """How much of the picture each class covers, by name; they add up to 1."""
        shares = self._frame.shares(len(self.classes))
        return dict(zip(self.classes, map(float, shares), strict=True))

    @property
    def index(self) -> int:
        """Of the frame in its video, or of its session, from 0."""
        return self._frame.frame.index

    @property
    def time(self) -> float:
        """Seconds, on the video's own clock, or as it was given to the session."""
        return float(self._frame.frame.time)

    @property
    def picture(self) -> NDArray[np.uint8]:
        """(height, width, 3) RGB, or BGR where the model was loaded so; not to be written to."""
        if self._picture is None:
            height, width = self.mask.shape
            rgb = network_input(self._frame.frame.picture, (height, width), VideoReformatter())
            self._picture = rgb if not self._bgr else np.ascontiguousarray(rgb[..., ::-1])
        return self._picture

    def __getitem__(self, name: str) -> NDArray[np.bool_]:
        """(height, width): where the class of that name is. In any case.

        Raises:
            RoadmaskError: the model has no such class.
        """
        given: Any = name
        if isinstance(given, int):  # as of the lists that other libraries give
            raise RoadmaskError(f"[{name}]: this is the result of one picture, and no list; use it as it is")
        names = [known.lower() for known in self.classes]
        if str(name).lower() not in names:
            known = f"of {', '.join(self.classes)}{did_you_mean(str(name), self.classes)}"
            raise RoadmaskError(f"{name}: no class of this model, {known}")
        return np.asarray(self.mask == names.index(name.lower()), np.bool_)

    def __contains__(self, name: str) -> bool:
        """Whether the class of that name is anywhere in the picture. Raises `RoadmaskError`, as `result[name]` does."""
        return bool(self[name].any())

    def __reduce__(self) -> tuple[Any, ...]:
        """For other processes: the same picture and mask, and nothing of the video that it is from."""
        frame = self._frame.frame
        return _restored, (
            frame.index,
            frame.pts,
            frame.time_base,
            frame.info,
            self.picture,
            self.mask,
            self._spec,
            self._bgr,
        )

    def plot(
        self,
        *,
        alpha: float = 0.5,
        classes: Sequence[str] | str = (),
        exclude: Sequence[str] | str = (),
        palette: Palette | str | Path = CLEAR,
        style: Style = "fill",
        legend: LegendPlace = "off",
    ) -> NDArray[np.uint8]:
        """(height, width, 3): the picture with the classes' colours over it, in the order of colours of `picture`.

        Args:
            alpha: share of the class colour where a class is filled, from 0, the picture alone, to 1.
            classes: draw only these, a list or "car,pedestrian"; all where it is empty.
            exclude: do not draw these.
            palette: of `load_palette`, or what it takes: "clear", "cityscapes", "camvid", a file.
            style: "fill" the classes, draw an "outline", or "fill+outline".
            legend: where to draw a table of colours and names: "off", "auto", "top-left", ...

        Raises:
            RoadmaskError: the model has no such class, there is no such palette, style or legend, or `alpha` is beyond
                its limits.
        """
        if not isinstance(alpha, Real) or not 0 <= alpha <= 1:
            raise ArgumentError(f"alpha {alpha} is not between 0 and 1")
        _refuse_unknown("style", style, STYLES)
        _refuse_unknown("legend", legend, LEGEND_PLACES)
        drawn = select_classes(self._spec.classes, only=_names(classes), exclude=_names(exclude))
        shown = (palette if isinstance(palette, Palette) else load_palette(str(palette))).colored(self._spec.classes)
        plotted = mixed(self.picture, self.mask, shown, alpha=alpha, style=style, drawn=drawn, bgr=self._bgr)
        draw_legend(plotted, list(compress(shown, drawn)), legend, bgr=self._bgr)
        return plotted

    def save(
        self,
        path: str | Path,
        *,
        alpha: float = 0.5,
        palette: Palette | str | Path = CLEAR,
        style: Style = "fill",
        legend: LegendPlace = "off",
    ) -> None:
        """Write what `plot` draws as a picture; what is there is replaced.

        Raises:
            OutputError: the name ends in no kind of picture that is known, or it cannot be written.
        """
        plotted = self.plot(alpha=alpha, palette=palette, style=style, legend=legend)
        _write(given_path(path, "name of a picture"), plotted if self._bgr else plotted[..., ::-1], PICTURE_SUFFIXES)

    def save_mask(self, path: str | Path) -> None:
        """Write the mask as a PNG of one channel, whose values are indices into `classes`; what is there is replaced.

        Raises:
            OutputError: the name does not end in .png, or it cannot be written.
        """
        _write(given_path(path, "name of a picture"), self.mask, (".png",))

    def _repr_png_(self) -> bytes:
        """For notebooks."""
        plotted = self.plot(legend="auto")
        if plotted.shape[1] > _SHOWN_WIDTH:
            height = max(round(plotted.shape[0] * _SHOWN_WIDTH / plotted.shape[1]), 1)
            plotted = np.asarray(cv2.resize(plotted, (_SHOWN_WIDTH, height), interpolation=cv2.INTER_AREA), np.uint8)
        return encoded(plotted if self._bgr else plotted[..., ::-1], Path("shown.png"))


def _restored(
    index: int,
    pts: int,
    time_base: Fraction,
    info: VideoInfo,
    picture: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    spec: ModelSpec,
    bgr: bool,
) -> Result:
    shown = av.VideoFrame.from_ndarray(picture, format="bgr24" if bgr else "rgb24")
    frame = Frame(index, pts, time_base, shown, np.zeros((0, 0, 3), np.uint8), info)
    return Result(SegmentedFrame(frame, mask), spec, bgr=bgr, picture=picture)


def given_path(value: Any, what: str) -> Path:
    if not isinstance(value, str | PathLike):
        raise ArgumentError(f"{type(value).__name__}: no {what}; give a path")
    path = os.fsdecode(value)
    if not path or "\0" in path:
        raise ArgumentError(f"{path!r:.40}: no {what}; no file is called so")
    return Path(path)


def _names(names: Sequence[str] | str) -> Sequence[str]:
    return list(filter(None, names.split(","))) if isinstance(names, str) else [str(name) for name in names]


def _refuse_unknown(what: str, word: Any, known: Sequence[str]) -> None:
    if word not in known:
        raise ArgumentError(f"{what} {word!s:.40} is none of {', '.join(known)}")


def _write(path: Path, picture: NDArray[np.uint8], suffixes: Sequence[str]) -> None:
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        raise OutputError(f"{path}: ends in {suffix or 'nothing'}, not in {', '.join(suffixes)}")
    content = encoded(picture, path)
    with writing(path):
        replace_file(path, content)
