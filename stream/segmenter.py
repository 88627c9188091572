"""A model for one's own code: a picture of any kind in, a result out that can be looked at. Begin with `load`.

What `roadmask run` does to each frame is done to each picture here, by the same code: the same mask comes out.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from itertools import compress
from pathlib import Path
from threading import Lock, local
from typing import TYPE_CHECKING, Any, overload

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from .camera.camera import Camera, CameraSettings, is_camera, parse_camera
from .decode.picture import MAX_PICTURE_PIXELS, is_picture
from .decode.pixels import network_input
from .encode.legend import LegendPlace, draw_legend
from .encode.overlay import Style, mixed
from .encode.palette import CLEAR, Palette, load_palette
from .encode.picture_sink import PICTURE_SUFFIXES
from .errors import OutputError, RoadmaskError, SourceError
from .frames import Frame, SegmentedFrame, VideoInfo
from .masks.deciding import Decider
from .masks.smooth import Smoother
from .network.model import Model
from .pipeline import Pipeline
from .run.segment import results_of, segment_video
from .run.settings import SegmentSettings
from .spec import ModelSpec, select_classes
from .system.disk import replace_file, writing
from .system.talk import did_you_mean

if TYPE_CHECKING:
    from PIL import Image

    Picture = NDArray[Any] | Image.Image | str | Path  # an array is (height, width, 3) RGB, or (height, width) gray

_TICK = Fraction(1, 1_000_000)  # seconds, of the frames of a session
_SHOWN_WIDTH = 640  # pixels, of a picture in a notebook


def load(model: str | Path | None = None, *, device: str = "auto", bgr: bool = False) -> Segmenter:
    """A model that is ready for pictures.

    Args:
        model: a file that `roadmask export` wrote, the name of a model in the box, or `None` for the best of these.
        device: "auto", or one that must be there: "cpu", "cuda", "cuda:1", ...
        bgr: arrays, given and made, have blue first, as OpenCV's have, and not red.

    Raises:
        ModelError: no such file, or no model.
        DeviceError: a named device is not there.

    >>> import numpy as np
    >>> import roadmask
    >>> model = roadmask.load()
    >>> model.classes[:4], model.device
    (('Sky', 'Building', 'Column_Pole', 'Road'), 'cpu')
    >>> picture = np.zeros((96, 128, 3), np.uint8)
    >>> result = model(picture)
    >>> result.mask.shape, result.mask.dtype, result.plot(alpha=0.5).shape
    ((96, 128), dtype('uint8'), (96, 128, 3))
    """
    # One picture at a time has all threads: the quickest answer. A video has its own, several calls side by side.
    return Segmenter(Model.load(model, device=device, workers=1), bgr=bgr)


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

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names; a mask holds indices into them."""
        return self._model.spec.class_names

    @property
    def device(self) -> str:
        """As users call it: "cpu", "cuda", "cuda:1", ..."""
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

        Raises:
            ValueError: at once, where a number means nothing; it names the argument.
            SourceError: the source cannot be opened, or not one frame of it decoded.
        """
        if isinstance(source, str | int):
            word = str(source)
            source = parse_camera(word) if is_camera(word, CameraSettings()) else Path(word)
        frames = segment_video(
            source,
            model=self._many(),
            start=_seconds(start, "start"),
            end=_seconds(end, "end"),
            stride=stride,
            max_frames=max_frames,
            smooth=smooth,
        )
        return (Result(frame, self._model.spec, bgr=self._bgr) for frame in frames)

    def session(self) -> Session:
        """What takes the frames of one's own loop, one after another, and keeps their masks steady."""
        return Session(self._model, bgr=self._bgr)

    def _results(self, pictures: Sequence[Picture]) -> list[Result]:
        model = self._many()
        with Pipeline() as pipeline:
            results = pipeline.parallel(
                "pictures", partial(self._result, model), pictures, workers=model.workers, depth=1
            )
            return list(results)

    def _result(self, model: Model, picture: Picture) -> Result:
        if isinstance(picture, str | Path):
            return Result(_of_file(Path(picture), model), model.spec, bgr=self._bgr)
        array = as_array(picture, bgr=self._bgr)
        frame = _frame_of(array, model.spec, self._tools.reformatter, bgr=self._bgr)
        mask = self._tools.decider.mask(model.scores(frame.input[None])[0], *array.shape[:2])
        return Result(SegmentedFrame(frame, mask), model.spec, bgr=self._bgr, picture=array)

    def _many(self) -> Model:
        """The model, called by several threads at a time where that gives more results a second."""
        with self._loading:
            if self._for_many is None:
                self._for_many = Model.load(self._model.path, device=self.device)
            return self._for_many


class Session:
    """Frames of one's own loop, as a webcam's, ROS's or GStreamer's, smoothed over time. For one thread.

    >>> import numpy as np
    >>> import roadmask
    >>> session = roadmask.load().session()
    >>> for number in range(2):
    ...     result = session(np.zeros((96, 128, 3), np.uint8), time=number / 25)
    >>> result.time, result.index
    (0.04, 1)
    """

    def __init__(self, model: Model, *, bgr: bool = False) -> None:
        self._model = model
        self._bgr = bgr
        self._smoother = Smoother()
        self._reformatter, self._decider = VideoReformatter(), Decider(len(model.spec.classes))
        self._count = 0

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
        scores = self._smoother.blend(self._model.scores(frame.input[None])[0], frame.input, time=seconds)
        mask = self._decider.mask(scores, *array.shape[:2])
        self._count += 1
        return Result(SegmentedFrame(frame, mask), self._model.spec, bgr=self._bgr, picture=array)

    def reset(self) -> None:
        """The next frame does not follow from the last one."""
        self._smoother.reset()


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
        names = [known.lower() for known in self.classes]
        if name.lower() not in names:
            known = f"of {', '.join(self.classes)}{did_you_mean(name, self.classes)}"
            raise RoadmaskError(f"{name}: no class of this model, {known}")
        return np.asarray(self.mask == names.index(name.lower()), np.bool_)

    def plot(
        self,
        *,
        alpha: float = 0.5,
        classes: Sequence[str] = (),
        exclude: Sequence[str] = (),
        palette: Palette | str = CLEAR,
        style: Style = "fill",
        legend: LegendPlace = "off",
    ) -> NDArray[np.uint8]:
        """(height, width, 3): the picture with the classes' colours over it, in the order of colours of `picture`.

        Args:
            alpha: share of the class colour where a class is filled, from 0, the picture alone, to 1.
            classes: draw only these; all where it is empty.
            exclude: do not draw these.
            palette: of `load_palette`, or what it takes: "clear", "cityscapes", "camvid", a file.
            style: "fill" the classes, draw an "outline", or "fill+outline".
            legend: where to draw a table of colours and names: "off", "auto", "top-left", ...

        Raises:
            RoadmaskError: the model has no such class, there is no such palette, or `alpha` is beyond its limits.
        """
        if not 0 <= alpha <= 1:
            raise RoadmaskError(f"alpha {alpha:g} is not between 0 and 1")
        drawn = select_classes(self._spec.classes, only=classes, exclude=exclude)
        shown = (load_palette(palette) if isinstance(palette, str) else palette).colored(self._spec.classes)
        plotted = mixed(self.picture, self.mask, shown, alpha=alpha, style=style, drawn=drawn, bgr=self._bgr)
        draw_legend(plotted, list(compress(shown, drawn)), legend, bgr=self._bgr)
        return plotted

    def save(
        self,
        path: str | Path,
        *,
        alpha: float = 0.5,
        palette: Palette | str = CLEAR,
        style: Style = "fill",
        legend: LegendPlace = "off",
    ) -> None:
        """Write what `plot` draws as a picture; what is there is replaced.

        Raises:
            OutputError: the name ends in no kind of picture that is known, or it cannot be written.
        """
        plotted = self.plot(alpha=alpha, palette=palette, style=style, legend=legend)
        _write(Path(path), plotted if self._bgr else plotted[..., ::-1], PICTURE_SUFFIXES)

    def save_mask(self, path: str | Path) -> None:
        """Write the mask as a PNG of one channel, whose values are indices into `classes`; what is there is replaced.

        Raises:
            OutputError: the name does not end in .png, or it cannot be written.
        """
        _write(Path(path), self.mask, (".png",))

    def _repr_png_(self) -> bytes:
        """For notebooks."""
        plotted = self.plot(legend="auto")
        if plotted.shape[1] > _SHOWN_WIDTH:
            height = max(round(plotted.shape[0] * _SHOWN_WIDTH / plotted.shape[1]), 1)
            plotted = np.asarray(cv2.resize(plotted, (_SHOWN_WIDTH, height), interpolation=cv2.INTER_AREA), np.uint8)
        return _encoded(plotted if self._bgr else plotted[..., ::-1], ".png")


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
    array = np.asarray(picture)
    named = f"array of shape {array.shape}"
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        hint = "; channels come last: array.transpose(1, 2, 0)" if first else ""
        raise RoadmaskError(f"{named}: not (height, width, 3){hint}")
    if array.dtype != np.uint8:
        scaled = "(array * 255).astype('uint8') of values from 0 to 1"
        hint = scaled if array.dtype.kind == "f" else "scale it to 0..255"
        raise RoadmaskError(f"array of {array.dtype}: not uint8; {hint}")
    if not array.size:
        raise RoadmaskError(f"{named}: has no pixels")
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    return np.ascontiguousarray(array[..., :3])


def _of_pil(picture: Any, bgr: bool) -> NDArray[np.uint8]:
    from PIL import ImageOps

    upright = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    return upright if not bgr else upright[..., ::-1]


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
    if not math.isfinite(value):
        raise RoadmaskError(f"{name} is {value}: not a number of seconds")
    return Fraction(value).limit_denominator(_TICK.denominator)


def _write(path: Path, picture: NDArray[np.uint8], suffixes: Sequence[str]) -> None:
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        raise OutputError(f"{path}: ends in {suffix or 'nothing'}, not in {', '.join(suffixes)}")
    content = _encoded(picture, suffix)
    with writing(path):
        replace_file(path, content)


def _encoded(picture: NDArray[np.uint8], suffix: str) -> bytes:
    return bytes(cv2.imencode(suffix, np.ascontiguousarray(picture))[1])
