"""What a run is to make, where, and what became of it; and what makes two runs the same run."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from fractions import Fraction
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

from ..camera.camera import Camera
from ..decode.deinterlace import Deinterlace
from ..decode.opening import MAX_PIXELS
from ..encode.h264 import DEFAULT_CRF, DEFAULT_PRESET, EncoderChoice, Encoding, Preset
from ..encode.legend import LegendPlace
from ..encode.overlay import Style
from ..encode.palette import CLEAR, Palette
from ..errors import ArgumentError, SourceError
from ..masks.carry import Every
from ..masks.familiar import warning_of
from ..masks.ignore import Ignored
from ..network.model import Model
from ..spec import Renamed
from ..stats.stats import PictureRow
from ..system.talk import number_of

# Since this version the same run gives the same bytes, and notes in the same way how far it is; to be raised with
# either change. A run that another version has begun is gone on with where this is the same, and else refused.
SAME_SINCE = "2.0.0"
_ENDS = 1 << 20  # bytes of a file's beginning and of its end that are compared


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a job's file and results really are."""

    source: str = ""  # URL of the file; empty where it is here
    folder: str = ""  # URL of the results' folder; empty where it is here
    base: Path = Path()  # what stands for that folder in the names of the job's outputs

    def url_of(self, output: Path) -> str:
        return f"{self.folder}/{output.relative_to(self.base).as_posix()}"


@dataclass(frozen=True, slots=True)
class SegmentSettings:
    """What to make of one video or camera. An output that is `None` is not made.

    Raises:
        RoadmaskError: a number that means nothing, a ValueError, too; it names which.

    >>> from fractions import Fraction
    >>> import roadmask
    >>> settings = roadmask.SegmentSettings("drive.mp4", masks="few.zip", stride=2, end=Fraction(1))  # one second
    >>> print(roadmask.process_video(settings, roadmask.Model.load()))
    2 frames, ... s, ... fps, 0 dropped, 0 undecodable...
    """

    source: Path | Camera  # paths may be given as text, here and below
    overlay: Path | None = None  # .mp4, .mov or .mkv
    masks: Path | None = None  # a folder, .zip or .mkv
    stats: Path | None = None  # .csv or .parquet
    alpha: float = 0.5  # share of the class colour in the overlay
    classes: tuple[str, ...] = ()  # drawn in the overlay; empty for all
    exclude: tuple[str, ...] = ()  # not drawn
    palette: Palette = CLEAR
    style: Style = "fill"
    legend: LegendPlace = "off"
    ignore: Ignored | None = None  # what is left out of every picture; nothing, where it is none
    blur: tuple[str, ...] = ()  # classes that are hidden in the pictures
    renamed: Renamed = ()  # classes in the statistics
    stream: int | None = None  # which of the file's video streams, from 0; None: the default one
    label: str = ""  # of that stream, for people, where the file has several
    picture: bool = False  # the source is a picture: its overlay is one, too, and its mask a PNG
    picture_rate: Fraction | None = None  # of numbered pictures, a second; None: 25
    start: Fraction | None = None  # seconds from the first frame
    end: Fraction | None = None
    stride: int = 1  # every n-th frame
    max_frames: int | None = None
    batch: int | None = None  # frames a call of the network; None: by the device
    smooth: bool = True  # blend the scores over time, so that masks are steady
    reuse: bool = False  # keep a mask while the picture stays as it is, for a second at most
    every: Every | None = None  # how often the network sees a frame; masks between are carried along. None: each
    max_pixels: int = MAX_PIXELS  # of a picture; larger ones are not decoded
    deinterlace: Deinterlace = "auto"  # pictures that say that they are interlaced, all or none
    decode: str = "auto"  # in software or hardware, as `decoder_for` takes it
    encoder: EncoderChoice = "auto"  # of the overlay, as `Encoding` has it, and the two below
    crf: int = DEFAULT_CRF
    preset: Preset = DEFAULT_PRESET
    segment_s: float | None = None  # seconds after which a camera's outputs begin a new part
    keep_s: float | None = None  # seconds after which parts are deleted; None keeps them all
    remote: Remote | None = None  # where its file and outputs really are, if not here
    resume: bool = False  # go on from what an earlier run of this job left
    overwrite: bool = False
    keep_times: bool = False  # outputs get the file's own, once they are whole
    metadata: bool = True  # overlays keep the file's tags, chapters, subtitles and data; those of pictures their EXIF
    held: bool = False  # its outputs are: see `claimed`
    noted: bool = False  # so is what becomes of it, by the call that it is one of many of

    def __post_init__(self) -> None:
        for name in ("source", "overlay", "masks", "stats"):
            if isinstance(path := getattr(self, name), str):
                object.__setattr__(self, name, Path(path))
        least = {"stride": 1, "max_frames": 1, "batch": 1, "max_pixels": 1, "stream": 0, "start": 0, "end": 0}
        for name, limit in least.items():
            value = getattr(self, name)
            if value is None:
                continue
            kind: type[Any] = Real if name in ("start", "end") else Integral
            if not isinstance(value, kind):
                raise ArgumentError(f"{name} is {value!r:.40}; it must be a{' whole' * (limit == 1)} number")
            if not value >= limit:
                raise ArgumentError(f"{name} is {value}; it must be {limit} or more")
        if self.end is not None and self.end <= (self.start or 0):
            raise ArgumentError(f"end is {self.end}; it must be more than start, which is {self.start or 0}")

    @property
    def is_endless(self) -> bool:
        """Whether it goes on until somebody ends it."""
        return isinstance(self.source, Camera) and self.source.endless

    def encoding(self, device: str) -> Encoding:
        """Of overlays, beside a network on that device."""
        return Encoding(self.encoder, self.crf, self.preset, device)

    @property
    def name(self) -> str:
        """Of the source, for people."""
        return self.source.name

    @property
    def title(self) -> str:
        """The same, with the stream where the file has several."""
        return f"{self.name} ({self.label})" if self.label else self.name

    @property
    def file(self) -> Path | None:
        """The source, where it is a file."""
        return self.source if isinstance(self.source, Path) else None

    @property
    def address(self) -> str:
        """Where the source is, for people: of a file, its path or URL."""
        return (self.remote and self.remote.source) or str(self.file or self.name)

    @property
    def outputs(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.overlay, self.masks, self.stats) if path is not None)


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a run.

    >>> import roadmask
    >>> report = roadmask.process_video(roadmask.SegmentSettings("drive.mp4"), roadmask.Model.load())
    >>> report.frames, report.state, report.lost, report.seconds > 0
    (3, 'done', '', True)
    """

    frames: int  # in every output
    dropped: int  # discarded to keep up with a live source; always 0 for files
    undecodable: int  # damaged pictures that gave no frame
    seconds: float
    interrupted: bool
    processor_s: dict[str, float] = field(default_factory=dict)  # a core's time by stage, without libraries' threads
    reused: int = 0  # frames, of those worked out, that took the mask of the frame before
    carried: int = 0  # frames, of those worked out, whose masks were carried along
    resumed: int = 0  # frames, of all, that an earlier run had worked out
    failure: str | None = None  # why a camera was given up; the outputs are whole up to there
    damaged: int = 0  # frames, of all, that a decoder has patched up
    missing_s: float = 0.0  # that a file declares at its end, and does not hold
    sound: str = ""  # what became of it, in words; empty where it is as it was
    unlike: float | None = None  # share of the frames that look unlike what the model has learnt; None: not known
    before: bool = False  # all of it was done by an earlier run, and this one has done nothing
    picture: PictureRow | None = None  # of a picture

    @property
    def state(self) -> Literal["done", "partial", "interrupted"]:
        return "interrupted" if self.interrupted else "partial" if self.lost else "done"

    @property
    def lost(self) -> str:
        """What of a file could not be had, in words; empty where everything that it holds has come out."""
        counts = [(self.undecodable, "undecodable packet"), (self.damaged, "damaged frame")]
        parts = [number_of(count, what) for count, what in counts if count]
        if self.missing_s:
            parts.append(f"ends {self.missing_s:.1f} s before the length that it declares")
        return ", ".join(parts)

    @property
    def fps(self) -> float:
        """Of the frames that this run has worked out."""
        return (self.frames - self.resumed) / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        if self.before:
            return f"{number_of(self.frames, 'frame')}, done before" + self._concerns
        if self.picture:
            return f"{self.seconds:.2f} s" + self._concerns
        return (
            f"{number_of(self.frames, 'frame')}, "
            + (f"{self.resumed} of them from before, " if self.resumed else "")
            + f"{self.seconds:.1f} s, {self.fps:.1f} fps, "
            f"{self.dropped} dropped, {self.undecodable} undecodable"
            + (f", {self.reused} reused" if self.reused else "")
            + (f", {self.carried} carried along" if self.carried else "")
            + (", interrupted" if self.interrupted else "")
            + (f"; sound: {self.sound}" if self.sound else "")
            + self._concerns
        )

    @property
    def _concerns(self) -> str:
        unlike = warning_of(self.unlike, of_picture=self.picture is not None)
        return (f"; partial: {self.lost}" if self.lost else "") + (f"; {unlike}" if unlike else "")


def run_identity(settings: SegmentSettings, model: Model) -> dict[str, Any]:
    """Names and values, as users know them, of all that changes a byte of the outputs.

    The batch, threads, workers and devices of one kind do not. Values are as JSON has them.
    """
    assert settings.file is not None
    return {
        "roadmask": SAME_SINCE,
        "model": f"{model.path.name} ({model.sha256[:12]})",
        "device": model.placement.kind,
        "--size": model.spec.size,
        "source": f"{settings.file.name} ({source_identity(settings.file)})",
        "outputs": ", ".join(output.name for output in settings.outputs),
        "--stream": settings.stream,
        "--input-rate": in_json(settings.picture_rate),
        "--start": in_json(settings.start),
        "--end": in_json(settings.end),
        "--stride": settings.stride,
        "--max-frames": settings.max_frames,
        "--deinterlace": settings.deinterlace,
        "--ignore": in_json(settings.ignore),
        "--smooth": settings.smooth,
        "--reuse": settings.reuse,
        "--every": in_json(settings.every),
        "--alpha": settings.alpha,
        "--classes": list(settings.classes),
        "--exclude": list(settings.exclude),
        "--legend": settings.legend,
        **({"--palette": str(settings.palette), "--style": settings.style} if settings.overlay else {}),
        **({"--no-metadata": not settings.metadata} if settings.overlay else {}),
        "--blur": list(settings.blur),
        "--map": ["=".join(pair) for pair in settings.renamed],
        "--encoder": settings.encoder,
        "--crf": settings.crf,
        "--preset": settings.preset,
    }


def in_json(value: object) -> object:
    """Fractions as numbers: 60, 90.5; a palette as what tells it from others, what is left out as its text."""
    if isinstance(value, Ignored | Palette | Every):
        return str(value)
    if not isinstance(value, Fraction):
        return value
    return int(value) if value.denominator == 1 else float(value)


def source_identity(path: Path) -> str:
    """Its length and a checksum of its ends: the same for a copy elsewhere, and quick for any length.

    Of numbered pictures, how many there are, and a checksum of their names and lengths.

    Raises:
        SourceError: they cannot be read.
    """
    try:
        if not path.is_file():
            pictures = sorted(path.parent.glob(f"*{path.suffix}"))
            names = "".join(f"{item.name} {item.stat().st_size}\n" for item in pictures)
            return f"{len(pictures)} pictures, {zlib.crc32(names.encode(errors='surrogateescape')):08x}"
        size = path.stat().st_size
        with path.open("rb") as file:
            checksum = zlib.crc32(file.read(_ENDS))
            file.seek(max(size - _ENDS, 0))
            checksum = zlib.crc32(file.read(_ENDS), checksum)
    except OSError as exc:
        raise SourceError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    return f"{size} bytes, {checksum:08x}"


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Which cluster, and what its workers are."""

    address: str  # "local", "auto", "HOST:PORT", "ray://HOST:PORT"; or "", for what $RAY_ADDRESS says or is here
    workers: int = 0  # 0 for as many as the cluster has room for
    cpus: int = 1  # of each
