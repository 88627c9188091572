"""A model for one's own code: a picture of any kind in, a result out that can be looked at. Begin with `load`.

What `roadmask run` does to each frame is done to each picture here, by the same code: the same mask comes out.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from numbers import Real
from pathlib import Path
from threading import Lock, local
from typing import TYPE_CHECKING, Any, overload

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from .camera.camera import Camera, CameraSettings, is_camera, parse_camera
from .decode.picture import MAX_PICTURE_PIXELS, is_picture
from .decode.pixels import network_input
from .errors import ArgumentError, RoadmaskError, SourceError
from .frames import Frame, SegmentedFrame, VideoInfo
from .masks.carry import Every, Follower, every_given
from .masks.deciding import Decider
from .masks.smooth import Smoother
from .network.model import Model
from .pipeline import Pipeline
from .result import Result, given_path
from .run.segment import results_of, segment_video
from .run.settings import SegmentSettings
from .spec import ModelSpec
from .system.url import redacted

if TYPE_CHECKING:
    from PIL import Image

    Picture = NDArray[Any] | Image.Image | str | Path  # an array is (height, width, 3) RGB, or (height, width) gray

_TICK = Fraction(1, 1_000_000)  # seconds, of the frames of a session
_GAP = Fraction(1, 15)  # seconds between two of them, where times are not known


def load(model: str | Path | None = None, *, device: str = "auto", size: str = "auto", bgr: bool = False) -> Segmenter:
    """A model that is ready for pictures.

    Args:
        model: a file that `roadmask export` wrote, the name of a model in the box, or `None` for the one of these that
            suits the device.
        device: "auto", or one that must be there: "cpu", "openvino", "cuda", "cuda:1", ...
        size: of the pictures that the network sees: "small", "default", "large", or about as many pixels as "640x352"
            has; "auto" is large on a GPU. Larger takes longer and sees more.
        bgr: arrays, given and made, have blue first, as OpenCV's have, and not red.

    Raises:
        ModelError: no such file, or no model.
        DeviceError: a named device is not there.
        ArgumentError: it is no size, or none for this model.

    >>> import numpy as np
    >>> import roadmask
    >>> model = roadmask.load(device="cpu")
    >>> model.classes[:4], model.device
    (('Sky', 'Building', 'Column_Pole', 'Road'), 'cpu')
    >>> picture = np.zeros((96, 128, 3), np.uint8)
    >>> result = model(picture)
    >>> result.mask.shape, result.mask.dtype, result.plot(alpha=0.5).shape
    ((96, 128), dtype('uint8'), (96, 128, 3))
    """
    path = None if model is None else given_path(model, "model file")
    # One picture at a time has all threads: the quickest answer. A video has its own, several calls side by side.
    return Segmenter(Model.load(path, device=str(device), workers=1, size=str(size), alone=True), bgr=bgr)


class Segmenter:
    """Gives results of pictures, of videos, and of frames from one's own loop. For any number of threads.

    >>> import roadmask
    >>> model = roadmask.load()
    >>> for result in model.stream("drive.mp4", stride=2):
    ...     print(result.index, result.time, result.mask.shape)
    0 0.0 (96, 128)
    2 0.08 (96, 128)
    """

    def __init__(self, model: Model, *, bgr: bool = False) -> None:
        self._model = model
        self._bgr = bgr
        self._for_many: Model | None = None  # once there is a video, or a list
        self._tools = _Tools(len(model.spec.classes))
        self._loading = Lock()

    def __repr__(self) -> str:
        return f"<roadmask {self._model.path.stem} on {self.device}: {', '.join(self.classes)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """For other processes, which load it themselves."""
        model, size = self._model.path, self._model.spec.size
        return _loaded, (model, self.device, size, self._bgr)

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names; a mask holds indices into them."""
        return self._model.spec.class_names

    @property
    def device(self) -> str:
        """As users call it: "cpu", "openvino:bf16", "cuda", "cuda:1", ..."""
        return self._model.device

    @overload
    def __call__(self, picture: Picture) -> Result: ...
    @overload
    def __call__(self, picture: list[Any] | tuple[Any, ...]) -> list[Result]: ...
    def __call__(self, picture: Picture | list[Any] | tuple[Any, ...]) -> Result | list[Result]:
        """The result of a picture; of a list of pictures, of any sizes, a list of results in their order.

        Args:
            picture: an array of uint8, (height, width, 3) RGB, (height, width, 4) RGBA or (height, width) gray, of any
                size; a PIL image; or the path of a file, which is turned upright as its EXIF says.

        Raises:
            RoadmaskError: it is none of these; a `SourceError` where a file cannot be read.
        """
        if isinstance(picture, list | tuple):
            return self._results(picture)
        return self._result(self._model, picture)

    def stream(
        self,
        source: str | Path | int | Camera,
        *,
        start: float | Fraction | None = None,
        end: float | Fraction | None = None,
        stride: int = 1,
        max_frames: int | None = None,
        smooth: bool = True,
        every: int | str | None = None,
    ) -> Iterator[Result]:
        """The result of each frame of a video or camera, in order, in bounded memory however long it is.

        Args:
            source: a video file; a camera's address, a webcam or its number, or `parse_camera` of one: results then
                go on until the loop is left.
            start: seconds from the first frame; `end` likewise, and not included.
            end: see `start`.
            stride: take every n-th frame.
            max_frames: stop after so many.
            smooth: blend the scores over time, so that masks are steady; without, each frame stands for itself.
            every: the network sees every n-th frame, or one about every "66ms", and sooner where the picture changes
                much; masks between are carried along with what moves.

        Raises:
            RoadmaskError: at once, where a number means nothing; it names the argument.
            SourceError: the source cannot be opened, or not one frame of it decoded; or a camera is given up.
        """
        if isinstance(source, int):
            source = str(source)
        if isinstance(source, str) and source and is_camera(source, CameraSettings()):
            source = parse_camera(source)
        elif not isinstance(source, Camera):
            source = given_path(source, "video and no camera")
        frames = segment_video(
            source,
            model=self._many(),
            start=_seconds(start, "start"),
            end=_seconds(end, "end"),
            stride=stride,
            max_frames=max_frames,
            smooth=smooth,
            every=every,
        )
        return (Result(frame, self._model.spec, bgr=self._bgr) for frame in frames)

    def session(self, *, every: int | str | None = None) -> Session:
        """What takes the frames of one's own loop, one after another, and keeps their masks steady.

        Args:
            every: the network sees every n-th frame, or one about every "66ms", and sooner where the picture changes
                much; masks between are carried along with what moves.

        Raises:
            RoadmaskError: `every` is neither a number nor a time.
        """
        return Session(self._model, bgr=self._bgr, every=every_given(every))

    def _results(self, pictures: Sequence[Picture]) -> list[Result]:
        model = self._many()
        with Pipeline() as pipeline:
            results = pipeline.parallel(
                "pictures", partial(self._result, model), pictures, workers=model.workers, depth=1
            )
            return list(results)

    def _result(self, model: Model, picture: Picture) -> Result:
        if isinstance(picture, str) and "://" in picture:
            name = redacted(picture)
            raise SourceError(f"{name}: an address, and no file; fetch a picture first, or model.stream({name!r})")
        if isinstance(picture, str | Path):
            return Result(_of_file(given_path(picture, "picture"), model), model.spec, bgr=self._bgr)
        array = as_array(picture, bgr=self._bgr)
        frame = _frame_of(array, model.spec, self._tools.reformatter, bgr=self._bgr)
        mask = self._tools.decider.mask(model.scores(frame.input[None])[0], *array.shape[:2])
        return Result(SegmentedFrame(frame, mask), model.spec, bgr=self._bgr, picture=array)

    def _many(self) -> Model:
        """The model, called by several threads at a time where that gives more results a second."""
        with self._loading:
            if self._for_many is None:
                self._for_many = Model.load(self._model.path, device=self.device, size=self._model.spec.size)
            return self._for_many


def _loaded(model: Path, device: str, size: str, bgr: bool) -> Segmenter:
    return load(model, device=device, size=size, bgr=bgr)


class Session:
    """Frames of one's own loop, as a webcam's, ROS's or GStreamer's, smoothed over time. For one thread.

    >>> import numpy as np
    >>> import roadmask
    >>> session = roadmask.load().session()
    >>> for number in range(2):
    ...     result = session(np.zeros((96, 128, 3), np.uint8), time=number / 25)
    >>> result.time, result.index
    (0.04, 1)
    >>> session = roadmask.load().session(every="66ms")  # the network sees every other frame of 30 a second
    >>> session(np.zeros((96, 128, 3), np.uint8)).mask.shape
    (96, 128)
    """

    def __init__(self, model: Model, *, bgr: bool = False, every: Every | None = None) -> None:
        self._model = model
        self._bgr = bgr
        self._every = every
        self._smoother = Smoother()
        self._reformatter = VideoReformatter()
        self._decider = Decider(len(model.spec.classes), carries=every is not None)
        self._count = 0
        self.reset()

    def __call__(self, picture: NDArray[Any] | Image.Image, *, time: float | Fraction | None = None) -> Result:
        """The result of the next frame.

        Args:
            picture: an array or a PIL image, as for `Segmenter`.
            time: in seconds, on a clock that does not jump; `None` where it is not known: then as at 15 a second.
                After a gap, or a cut, masks begin anew.

        Raises:
            RoadmaskError: it is no such picture, or no such time.
        """
        array = as_array(picture, bgr=self._bgr)
        seconds = _seconds(time, "time")
        frame = _frame_of(array, self._model.spec, self._reformatter, bgr=self._bgr, index=self._count, time=seconds)
        mask = self._mask(frame, seconds, *array.shape[:2])
        self._count += 1
        return Result(SegmentedFrame(frame, mask), self._model.spec, bgr=self._bgr, picture=array)

    def reset(self) -> None:
        """The next frame does not follow from the last one."""
        self._smoother.reset()
        self._follower = Follower(self._every) if self._every else None
        self._time: Fraction | None = None  # of the last frame, where it is known
        self._clock = Fraction(0)  # the same, counted on where it is not

    def _mask(self, frame: Frame, time: Fraction | None, height: int, width: int) -> NDArray[np.uint8]:
        """Of smoothed scores, by the network, or carried along."""
        self._clock += _GAP if time is None or self._time is None else time - self._time
        self._time = time
        if self._follower:
            frame = self._follower.marked(replace(frame, pts=round(self._clock / _TICK)))
        if frame.carried:
            assert frame.motion is not None
            return self._decider.carried(frame.motion, height, width, self._smoother.scores)
        scores = self._model.scores(frame.input[None])[0]
        scores = self._smoother.blend(scores, frame.input, time=self._clock, motion=frame.motion)
        return self._decider.mask(scores, height, width)


def as_array(picture: Any, *, bgr: bool = False) -> NDArray[np.uint8]:
    """(height, width, 3) of what people call a picture.

    Raises:
        RoadmaskError: it is none, and how to make one of it.
    """
    if "PIL.Image" in sys.modules and isinstance(picture, sys.modules["PIL.Image"].Image):
        picture = _of_pil(picture, bgr)
    if not hasattr(picture, "__array__") and not hasattr(picture, "__array_interface__"):
        raise RoadmaskError(
            f"{type(picture).__name__}: no picture; give an array (height, width, 3) of uint8, a PIL image or a path"
        )
    try:
        array = np.asarray(picture)
    except (RuntimeError, TypeError, ValueError) as exc:  # a tensor's that is on a GPU, or has a gradient
        raise RoadmaskError(f"{type(picture).__name__}: cannot be seen as an array ({exc})") from exc
    named = f"array of shape {array.shape}"
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        hint = "; channels come last: array.transpose(1, 2, 0)" if first else ""
        raise RoadmaskError(f"{named}: not (height, width, 3){hint}")
    if array.dtype != np.uint8:
        is_unit = array.dtype.kind == "f" and bool(array.size) and array.max() <= 1
        scaled = "(array * 255).astype('uint8')" if is_unit else "array.clip(0, 255).astype('uint8')"
        hint = scaled if array.dtype.kind == "f" else "scale it to 0..255"
        raise RoadmaskError(f"array of {array.dtype}: not uint8; {hint}")
    if not array.size:
        raise RoadmaskError(f"{named}: has no pixels")
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    return np.ascontiguousarray(array[..., :3])


def _of_pil(picture: Any, bgr: bool) -> NDArray[Any]:
    from PIL import ImageOps

    try:
        upright = ImageOps.exif_transpose(picture)
        deep = upright.mode.startswith(("I", "F"))  # more than 8 bits, which would be cut off
        pixels = np.asarray(upright if deep else upright.convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError) as exc:  # it reads its file now
        raise SourceError(f"PIL image: cannot be read ({exc}); is its file whole, and open?") from exc
    return pixels[..., ::-1] if bgr and not deep else pixels


class _Tools(local):
    """What keeps tables and working memory from one picture to the next of its size; each thread has its own."""

    def __init__(self, class_count: int) -> None:
        self.reformatter, self.decider = VideoReformatter(), Decider(class_count)


def _frame_of(
    array: NDArray[np.uint8],
    spec: ModelSpec,
    reformatter: VideoReformatter,
    *,
    bgr: bool,
    index: int = 0,
    time: Fraction | None = None,
) -> Frame:
    """As the decoder of a file gives it."""
    height, width = array.shape[:2]
    picture = av.VideoFrame.from_ndarray(array, format="bgr24" if bgr else "rgb24")
    info = VideoInfo(
        width=width,
        height=height,
        rate=None,
        frame_count=None,
        duration=None,
        time_base=_TICK,
        rotation=0,
        sample_aspect_ratio=Fraction(1),
        codec="rawvideo",
        pixel_format=picture.format.name,
        has_audio=False,
        live=False,
    )
    small = network_input(picture, spec.input_size(height, width), reformatter)
    return Frame(index, round((time or 0) / _TICK), _TICK, picture, small, info)


def _of_file(path: Path, model: Model) -> SegmentedFrame:
    if os.path.isdir(path):  # noqa: PTH112 - which knows names that are too long
        raise SourceError(f"{path}: is a folder, not a picture; give a list of its files")
    if is_picture(path):
        settings = SegmentSettings(path, picture=True, smooth=False, max_pixels=MAX_PICTURE_PIXELS)
        return next(results_of(settings, model))
    frames = list(segment_video(path, model=model, max_frames=2, smooth=False))
    if len(frames) > 1:
        raise SourceError(f"{path}: a video; its frames come one by one from model.stream({str(path)!r})")
    return frames[0]


def _seconds(value: float | Fraction | None, name: str) -> Fraction | None:
    if value is None:
        return None
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ArgumentError(f"{name} is {value!s:.40}: not a number of seconds")
    exact = value if isinstance(value, Fraction) else Fraction(float(value))
    return exact.limit_denominator(_TICK.denominator)
