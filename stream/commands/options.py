"""Options that more than one command has: one name, one meaning, one way to write it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import av
import typer

from ..decode.deinterlace import Deinterlace
from ..encode.h264 import EncoderChoice, Preset
from ..encode.legend import LegendPlace
from ..encode.overlay import Style
from ..encode.palette import PALETTES, Palette, load_palette
from ..masks.carry import Every, parse_every
from ..masks.ignore import Ignored, parse_ignored
from ..spec import SIZES, Renamed, parse_size

_Value = TypeVar("_Value")

_UNITS_S = (86400, 3600, 60, 1)
_LARGEST_VIDEO = 1 << 26  # pixels
_LEAST_TIMEOUT_S = 0.5
_LONGEST_S = 100 * 366 * 86400.0  # of any time
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def read_by(parse: Callable[[str], _Value]) -> Callable[[str], _Value]:
    """What Typer calls to read an option's value, of a function that raises `ValueError` with what is wrong."""

    def read(text: str) -> _Value:
        try:
            return parse(text)
        except ValueError as exc:
            raise typer.BadParameter(str(exc)) from exc

    return read


def read(parse: Callable[[str], Any], metavar: str, what: str, *names: str, **more: Any) -> Any:
    """An option that `parse` reads, which raises `ValueError` or `typer.BadParameter`; `more` as of `typer.Option`."""
    return typer.Option(*names, parser=read_by(parse), metavar=metavar, help=what, **more)


def _number_or_auto(text: str) -> int:
    """0 stands for "auto"."""
    if text == "auto":
        return 0
    if not re.fullmatch(r"0*[1-9]\d{0,3}", text, re.ASCII):
        raise ValueError(f"{text!r:.40} is neither auto nor a positive number up to 9999")
    return int(text)


def a_number(value: float) -> float:
    """The callback of options with limits: NaN is neither below nor above any."""
    if math.isnan(value):
        raise typer.BadParameter("nan is not a number")
    return value


def number_or_auto(what: str) -> Any:
    """An option whose value is a positive number or "auto", which is 0; its default is given as text."""
    return read(_number_or_auto, "N|auto", what)


def video_size(text: str) -> tuple[int, int]:
    """(height, width) of "1280x720", as sizes are written on a command line.

    Raises:
        typer.BadParameter: it is none.
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text, re.ASCII)
    width, height = map(int, match.groups()) if match else (0, 0)
    if not 0 < width * height <= _LARGEST_VIDEO:
        raise typer.BadParameter(f"{text!r:.40} is no size such as 1280x720")
    return height, width


def stream_or_all(text: str) -> int | Literal["all"]:
    """Raises `ValueError`."""
    if text == "all":
        return "all"
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII):
        raise ValueError(f"{text!r:.40} is neither all nor a number from 0 on")
    return int(text)


def network_size(text: str) -> str:
    """As `Model.load` takes it. Raises `ValueError`."""
    if text != "auto":
        parse_size(text)
    return text


def input_size(text: str) -> str:
    """As FFmpeg takes it, as all of the next three."""
    video_size(text)
    return text


def input_rate(text: str) -> str:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6}|/[1-9]\d{0,5})?", text, re.ASCII) or not Fraction(text):
        raise typer.BadParameter(f"{text!r:.40} is no rate such as 10, 29.97 or 30000/1001")
    return text


def _ffmpeg_s(find: Callable[[str], object], what: str) -> Callable[[str], str]:
    def find_it(text: str) -> str:
        try:
            find(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r:.40} is none of FFmpeg's {what}") from None
        return text

    return find_it


input_pixels = _ffmpeg_s(av.VideoFormat, "pixel formats, as yuv420p, nv12, bgr24")
input_format = _ffmpeg_s(lambda name: av.ContainerFormat(name, "r"), "formats, such as rawvideo, v4l2, mpegts")


def parse_moment(text: str) -> Fraction:
    """Seconds.

    Raises:
        ValueError: it is no such time.
    """
    if not re.fullmatch(r"(\d{1,9}:){0,2}\d{1,9}(\.\d{1,18})?", text.strip(), re.ASCII):
        raise ValueError(f"{text!r:.40} is not a time; write seconds (90) or 00:01:30")
    seconds = Fraction(0)
    for part in text.strip().split(":"):
        seconds = seconds * 60 + Fraction(part)
    return seconds


def parse_duration(text: str) -> float:
    """Seconds, more than 0; a number without a unit means seconds.

    Raises:
        ValueError: it is no such length of time.
    """
    found = _DURATION.fullmatch(text.strip().lower().replace(" ", ""))
    numbers = found.groups("0") if found else ()
    seconds = sum(float(number) * unit_s for number, unit_s in zip(numbers, _UNITS_S, strict=False))
    if not 0 < seconds <= _LONGEST_S:
        raise ValueError(f"{text!r:.40} is no length of time; write 90s, 10m, 1h30m, 48h or 7d")
    return seconds


def parse_timeout(text: str) -> float:
    """Seconds. Raises `ValueError`."""
    seconds = parse_duration(text)
    if not _LEAST_TIMEOUT_S <= seconds <= _UNITS_S[0]:
        raise ValueError(f"{text!r:.40} is not from {_LEAST_TIMEOUT_S}s to 1d")
    return seconds


def with_legend_placed(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command, where `--legend` may have no value: options of Typer's always have one."""
    result = []
    for argument, after in zip(arguments, [*arguments[1:], ""], strict=True):
        result.append(argument)
        # A word that is no place, well or badly spelled, is the next option, or a source: a file, a number, an address.
        if argument == "--legend" and not (re.fullmatch(r"[^\W\d][\w-]*", after) and not Path(after).exists()):
            result.append("auto")
    return result


def names_of(text: str) -> tuple[str, ...]:
    """The names in "road,car". Raises `typer.BadParameter` where a text holds none."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if text and not names:
        raise typer.BadParameter(f"{text!r:.40} names no class; write road,car")
    return names


def ignored_of(words: Sequence[str] | None) -> Ignored | None:
    """What they leave out of one source; None for nothing. Raises `RoadmaskError`."""
    return reduce(or_, map(parse_ignored, words or ()), Ignored()) or None


def renamed_of(text: str) -> Renamed:
    """The pairs in "Car=vehicle,Bicyclist=vehicle". Raises `typer.BadParameter`."""
    pairs = [tuple(word.strip() for word in pair.partition("=")[::2]) for pair in text.split(",") if pair.strip()]
    if any(not all(pair) or "=" in pair[1] for pair in pairs) or (text and not pairs):
        raise typer.BadParameter(f"--map {text!r:.60} is not such as Car=vehicle,Bicyclist=vehicle")
    return tuple((name, called) for name, called in pairs)


def refuse_empty_part(start: Fraction | None, end: Fraction | None) -> None:
    """Raises `typer.BadParameter`."""
    if end is not None and end <= (start or 0):
        raise typer.BadParameter("--end must be later than --start")


def _beginning(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """What a shell is told of how a word may go on."""
    return lambda incomplete: [name for name in names() if name.startswith(incomplete)]


def _models() -> Iterable[str]:
    from ..network.model import bundled_models  # ONNX Runtime with it, which most commands need not wait for

    return bundled_models()


def _devices() -> Iterable[str]:
    from ..network.providers import DEVICES

    return ("auto", *DEVICES)


CLASSES = "CLASS,..."

MaskArchiveFile = Annotated[
    Path, typer.Argument(metavar="MASKS", help="A mask archive: a folder, .zip, .mkv, .npz or .zarr.")
]

ModelFile = Annotated[
    Path | None,
    typer.Option(
        "-m",
        "--model",
        help="Model file, or the name of one in the box; default: of these the one that suits the device.",
        autocompletion=_beginning(_models),
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, openvino, openvino:fp32, cuda, cuda:1, tensorrt, ...", autocompletion=_beginning(_devices)
    ),
]
Batch = Annotated[int, number_or_auto("Frames a network call.")]
Size = Annotated[
    str,
    read(
        network_size,
        "small|default|large|WxH",
        "Of what the network sees; auto: large on a GPU.",
        "--size",
        autocompletion=_beginning(lambda: ("auto", *SIZES)),
    ),
]
Threads = Annotated[int, number_or_auto("The network's, on the CPU; auto: one a core.")]
Workers = Annotated[int, number_or_auto("Network calls at a time; auto: what suits the device.")]
Smooth = Annotated[
    bool, typer.Option("--smooth/--no-smooth", help="Steady masks over time, or decide each frame by itself.")
]

Seen = Annotated[
    Every | None,
    read(
        parse_every,
        "N|TIME",
        "The network sees every n-th frame, or one in 66ms; masks between are carried along.",
        "--every",
    ),
]

Alpha = Annotated[
    float,
    typer.Option(min=0, max=1, callback=a_number, help="Share of the class colour where a class is filled."),
]
Colors = Annotated[
    Palette,
    read(
        load_palette,
        "NAME|FILE.json",
        "clear, cityscapes, camvid (the classes' own), or names and colours.",
        "--palette",
        autocompletion=_beginning(lambda: PALETTES),
    ),
]
DrawnAs = Annotated[Style, typer.Option("--style", help="Fill the classes, or line their edges, or both.")]
DrawnClasses = Annotated[str, typer.Option("--classes", metavar=CLASSES, help="Draw only these: road,car")]
ClassesNotDrawn = Annotated[str, typer.Option("--exclude", metavar=CLASSES, help="Do not draw these: sky")]
Ignoring = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore", metavar="MASK.png|SIDE:N%", help="Leave out what is white in a mask, or a side: bottom:12%."
    ),
]
Legend = Annotated[
    LegendPlace,
    typer.Option("--legend", help="Where to draw the classes' colours and names; without a value, auto."),
]
Blurred = Annotated[str, typer.Option("--blur", metavar=CLASSES, help="Hide these: person,car")]
Mapped = Annotated[
    str,
    typer.Option("--map", metavar="CLASS=NAME,...", help="Call classes otherwise, and merge those of one name."),
]
Encoder = Annotated[EncoderChoice, typer.Option(help="Of the overlay.")]
Crf = Annotated[int, typer.Option(min=0, max=51, help="Quality of the overlay; 0 is lossless.")]
X264Preset = Annotated[Preset, typer.Option("--preset", help="x264's speed.")]

Start = Annotated[Fraction | None, read(parse_moment, "TIME", "From here: seconds or 00:01:30.")]
End = Annotated[Fraction | None, read(parse_moment, "TIME", "Up to here, without it.")]

Deinterlacing = Annotated[Deinterlace, typer.Option(help="auto: pictures that say that they are interlaced.")]

Stride = Annotated[int, typer.Option(min=1, help="Every n-th frame.")]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
NoMetadata = Annotated[
    bool, typer.Option("--no-metadata", help="Overlays keep no date, place, tags, chapters, subtitles and data.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress bar and no talk, errors alone.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
