"""The data that flows through the stages, and what takes it at the end.

A file's frames come in pieces that do not depend on each other: each can be made by itself, later or elsewhere. A
smoothed mask depends on every frame before it, if ever so little, and a compressed picture on those before. So each
piece begins with a new encoder, and with a new smoother that has seen the frames just before: what is older weighs next
to nothing by then. The pieces of a run are the same wherever it was begun, broken off and taken up again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Literal, Protocol, Self

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import OutputError

_COUNTED_AT_A_TIME = 1 << 24  # pixels; OpenCV counts in float32, which is exact up to there

PIECE = 250  # frames written; about ten seconds, as many as x264's own keyframes lie apart at most
# Frames before a piece that its smoother sees. What was before these weighs 0.9 ** 48 = 0.006 at most: see
# `smooth._MAX_MEMORY`. They are blended twice, which takes a seventh more of the smoother's time.
WARM_UP = 48

MOST_BESIDE = 3  # frames that the network does not see, for each that it does, wait with a batch at most

# Of a camera's sound that waits for its pictures: as long as these may be under way. A frame has 10 ms at least.
_HEARD_S, _MOST_HEARD = 30, 3000

# A frame's, in a run: how many frames the run writes before it. A run, or one of its outputs, goes on at that of the
# first frame that it lacks.
Position = int


@dataclass(frozen=True, slots=True)
class Chapter:
    """A stretch of a file that has a name."""

    begin_s: Fraction  # on the file's clock
    end_s: Fraction
    tags: Mapping[str, str]  # its title among them


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """What a file holds besides pictures and sound."""

    first_s: Fraction = Fraction(0)  # when its first picture is shown, on the file's clock
    tags: Mapping[str, str] = field(default_factory=dict)  # date, place, title, ...
    chapters: tuple[Chapter, ...] = ()
    has_tracks: bool = False  # of subtitles or data, or anything that may tell where it was


@dataclass(frozen=True, slots=True, eq=False)
class VideoInfo:
    """What is known of a video before its frames are decoded. `None` means not known.

    >>> import roadmask
    >>> with roadmask.open_source("drive.mp4") as source:
    ...     info = source.info
    >>> info.width, info.height, float(info.rate), float(info.duration)  # pixels; frames a second; seconds
    (128, 96, 25.0, 0.12)
    """

    width: int  # upright: as a player shows it, after rotation
    height: int
    rate: Fraction | None  # average frames per second
    frame_count: int | None  # as the container's index tells
    duration: Fraction | None  # seconds, as declared
    time_base: Fraction  # unit of the frames' pts, in seconds
    rotation: int  # degrees counter-clockwise that the decoder's pictures were turned by to stand upright
    sample_aspect_ratio: Fraction  # width of a pixel by its height, upright; 1 where not declared
    codec: str
    pixel_format: str
    has_audio: bool
    live: bool
    stream: int = 0  # which of the file's video streams it is
    streams: int = 1  # how many the file has, without cover pictures
    count_note: str = ""  # why `frame_count` is not what the container declares, or is not known
    taken: str = ""  # of a picture: when, 2026-11-28T10:00:00 on the camera's clock
    place: tuple[float, float] | None = None  # likewise: latitude, longitude, degrees
    carried: Carried = field(default_factory=Carried)

    @property
    def shown_width(self) -> int:
        """Of the picture with square pixels, as high as it is."""
        return round(self.width * self.sample_aspect_ratio)


class HeardSound:
    """The last seconds of what a camera's microphone hears, decoded. One thread adds to it, any other may read.

    Args:
        codec: that it comes in.
        rate: samples a second, as declared; 0 where it is not.
        channels: likewise.
    """

    def __init__(self, codec: str, rate: int, channels: int) -> None:
        self.codec = codec
        self.rate = rate
        self.channels = channels
        self._frames: deque[tuple[Fraction, av.AudioFrame]] = deque()
        self._gone = 0  # frames that have been forgotten
        self._changing = Lock()

    def add(self, time: Fraction, frame: av.AudioFrame) -> None:
        """What is heard from `time` on, in seconds on the camera's clock."""
        self.rate, self.channels = frame.sample_rate, frame.layout.nb_channels
        with self._changing:
            self._frames.append((time, frame))
            while time - self._frames[0][0] > _HEARD_S or len(self._frames) > _MOST_HEARD:
                self._frames.popleft()
                self._gone += 1

    def since(self, number: int) -> tuple[int, list[tuple[Fraction, av.AudioFrame]]]:
        """How many frames were added by now, and those after the first `number`, each with its time."""
        with self._changing:
            new = list(islice(self._frames, max(number - self._gone, 0), None))
            return self._gone + len(self._frames), new


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """When a camera's frame is, among what its microphone hears."""

    sound: HeardSound  # of the connection that it came by
    time: Fraction | None  # seconds; not known of the first frames of some


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture, upright, and its place in the video.

    >>> import roadmask
    >>> *_, result = roadmask.segment_video("drive.mp4")
    >>> frame = result.frame
    >>> frame.index, float(frame.time)  # seconds
    (2, 0.08)
    >>> frame.picture.to_ndarray(format="rgb24").shape, frame.input.shape  # of the video, and of the network
    ((96, 128, 3), (416, 544, 3))
    """

    index: int  # among the decoded frames of the source, from 0; frames left out by --stride are counted
    pts: int  # in units of `time_base`, as in the source
    time_base: Fraction
    picture: av.VideoFrame  # the decoder's pixels (YUV as a rule), full size; not to be written to
    input: NDArray[np.uint8]  # (h, w, 3) RGB, at the network's size
    info: VideoInfo  # of the stretch of video it is from; another object where a camera changes its picture
    arrived: float | None = None  # when a camera's frame came, on `time.monotonic`'s clock
    damaged: bool = False  # a decoder has patched it up
    undecodable: int = 0  # packets that gave no frame, of those that were read before it came out
    unchanged: bool = False  # since the last frame that is not: takes its mask, the mask of the frame before
    carried: bool = False  # takes the mask of the last frame that the network has seen, moved by `motion`
    motion: NDArray[np.float32] | None = None  # (h, w, 2) back to that frame, as of `Flow`; None where it is not known
    heard: Moment | None = None  # with a camera's frame; None where it has no microphone
    look: int | None = None  # `look_of` what was decoded, where that is not the picture any more

    @property
    def time(self) -> Fraction:
        """Seconds on the source's own clock."""
        return self.pts * self.time_base

    @property
    def is_key(self) -> bool:
        """Whether the network sees it."""
        return not (self.unchanged or self.carried)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a video a run goes on, or where it began."""

    position: Position  # of the first frame to give
    index: int  # of that frame, among all of the source
    pts: int
    seen: tuple[tuple[int, int, int], ...] = ()  # index, pts and `look_of` of some frames from there on, in order


# Frames, each with its scores (classes, h', w'); None for those that the network does not see.
ScoredFrames = list[tuple[Frame, NDArray[np.float32] | None]]


@dataclass(frozen=True, slots=True, eq=False)
class SegmentedFrame:
    """A frame and the class of each of its pixels.

    >>> import roadmask
    >>> result = next(roadmask.segment_video("drive.mp4"))
    >>> result.mask.shape, result.mask.dtype, round(float(result.shares(11).sum()), 6)  # the shares of eleven classes
    ((96, 128), dtype('uint8'), 1.0)
    """

    frame: Frame
    mask: NDArray[np.uint8]  # (height, width) of the picture; index into `ModelSpec.classes`, or `NO_CLASS`
    ignores: bool = False  # whether some of it is left out, and so is `NO_CLASS`

    def shares(self, class_count: int) -> NDArray[np.float64]:
        """The share that each class covers of the picture without what is left out; they add up to 1."""
        if not self.ignores:
            return _counts(self.mask.reshape(-1), class_count) / self.mask.size
        mask = np.minimum(self.mask, np.uint8(class_count))  # few ids are counted sooner
        counts = _counts(mask.reshape(-1), class_count + 1)[:class_count]
        return counts / max(int(counts.sum()), 1)


def _counts(mask: NDArray[np.uint8], class_count: int) -> NDArray[np.int64]:
    """How often each class occurs in a flat mask, in which no other id does.

    In pairs, by OpenCV: `np.bincount` makes 64-bit numbers of the pixels first and takes two to three times as long.
    """
    paired, bins = mask.size // 2 * 2, 256 * class_count
    counts = np.bincount(mask[paired:], minlength=class_count)
    for start in range(0, paired, _COUNTED_AT_A_TIME):
        pairs = mask[start : min(start + _COUNTED_AT_A_TIME, paired)].view(np.uint16).reshape(1, -1)
        by_pair = cv2.calcHist([pairs], [0], None, [bins], [0, bins]).reshape(class_count, 256)
        of_pairs = by_pair[:, :class_count].astype(np.int64)
        counts += of_pairs.sum(axis=0) + of_pairs.sum(axis=1)
    return counts


def batched(frames: Iterable[Frame], size: int) -> Iterator[tuple[Frame, ...]]:
    """Frames in groups of which the network sees `size`, as far as there are so many; the last may be smaller.

    Those that it does not see go with them, `MOST_BESIDE` times as many at most; or at once, where none waits.
    """
    batch: list[Frame] = []
    keys = 0
    for frame in frames:
        batch.append(frame)
        keys += frame.is_key
        if keys in (0, size) or len(batch) == size * (1 + MOST_BESIDE):
            yield tuple(batch)
            batch, keys = [], 0
    if batch:
        yield tuple(batch)


@dataclass(frozen=True, slots=True)
class Piece:
    """Successive frames of a run that were written by themselves: see `outputs.piece_sinks`."""

    path: Path  # of its files, without their suffixes
    began: Place  # the whole run

    def file(self, suffix: str) -> Path:
        return Path(f"{self.path}{suffix}")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended."""

    state: Literal["done", "partial", "interrupted"]
    frames: int  # written
    undecodable: int = 0  # damaged packets that gave no frame
    damaged: int = 0  # frames, of all, that a decoder has patched up
    missing_s: float = 0.0  # that the file declares at its end, and does not hold
    lost: str = ""  # of the file, in words
    unlike: float | None = None  # share of the frames that look unlike what the model has learnt; None: not known


class Sink(Protocol):
    """One output of a run; `write` is called for each frame that it lacks, in order, on one thread.

    What is here besides is for files that a run goes on with, after an earlier one was killed, or puts together. Sinks
    inherit it: a window or a stream that is sent keeps nothing, and has nothing to add.

    Raises:
        OutputError: on making, entering, writing or leaving it, and wherever else a file is touched.
    """

    def write(self, result: SegmentedFrame) -> None: ...

    def resume(self, position: Position) -> Position:
        """Go on from what an earlier run left under the partial name: keep no frame from `position` on.

        To be called before entering. An `OutputError` where there is no such thing, or it holds fewer frames.

        Returns:
            The position of the first frame that it lacks, which may be an earlier one.
        """
        return position

    def append(self, piece: Piece) -> None:  # noqa: ARG002 - of those that can
        """Write what such a sink has written elsewhere, as it is. An `OutputError` where that is damaged."""
        raise OutputError(f"{type(self).__name__}: cannot be made in pieces")

    @property
    def sound(self) -> str:
        """What became of the source's sound, in words; empty where it is as it was, or none of this output's."""
        return ""

    def sync(self) -> None:
        """What has been written is on disk when this returns, and survives a power cut."""
        return

    def tell(self, ending: Ending) -> None:  # noqa: ARG002 - of those that keep it
        """How the run ended; before it is left, and not where the run has failed."""
        return

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None: ...


def begins_piece(position: Position) -> bool:
    """Whether a piece begins with the frame at `position` among those written."""
    return position % PIECE == 0


def warms_up(position: Position) -> bool:
    """Whether it is the first frame that the next piece's smoother sees."""
    return position % PIECE == PIECE - WARM_UP
