"""`roadmask suggest-ignore`: a mask for `--ignore` from what never moves in a drive, and a picture to judge it by."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from ..archive.png import png
from ..decode.source import open_source
from ..errors import RoadmaskError
from ..frames import VideoInfo
from ..masks.unmoving import LEAST, Unmoving, Watcher
from ..system.disk import PartialOutput, writing
from ..system.hold import held_to_make
from ..system.stop import end_if_set, stop_on_signal
from ..system.talk import progress_bar, write_result, write_talk
from . import options as of

_LONGEST_S = 300  # that is looked at, where the user does not say
# Between two pictures that are looked at: by then a street has moved on. Of a short video it is half of that.
_EVERY_S = Fraction(1, 2)
_SHORT_S = 120
_SIDE = 960  # of the pictures that are looked at, the longer one: lines are then found to a pixel or two
_TINT = np.array((60, 60, 255))  # BGR, over what is left out
_QUALITY = 90  # of a JPEG


def suggest_ignore(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A drive; some minutes tell most.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The mask, a PNG; default: VIDEO_ignore.png here.")
    ] = None,
    start: of.Start = None,
    end: of.End = None,
    stream: Annotated[
        int | None, typer.Option(min=0, help="Which video stream of a file, from 0; default: the file's own default.")
    ] = None,
    overwrite: of.Overwrite = False,
    quiet: of.Quiet = False,
) -> None:
    """Find what never moves in a drive: the own bonnet, a dashboard, a time stamp, black bars.

    It is written as a mask for `run --ignore`, white where it is to be left out, and shown red in a picture beside it.
    Look at that, and paint over the mask where it is wrong. Five minutes are looked at, or what --start and --end say.

    \b
    roadmask suggest-ignore drive.mp4 -o bonnet.png
    roadmask run drive.mp4 --ignore bonnet.png
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are
    of.refuse_empty_part(start, end)
    output = output or Path(f"{video.stem}_ignore.png")
    if output.suffix.lower() != ".png":
        raise typer.BadParameter(f"{output}: a mask is a PNG; name it {output.with_suffix('.png')}", param_hint="-o")
    cv2.setNumThreads(1)
    shown = output.with_name(f"{output.stem}_preview.jpg")
    mask_file, shown_file = (PartialOutput(path, overwrite=overwrite) for path in (output, shown))
    with held_to_make([output, shown], video), mask_file, shown_file:
        with open_source(video, stream=stream) as source:
            info = source.info
        begin = start or Fraction(0)
        watcher = _watched(video, info, begin, begin + _LONGEST_S if end is None else end, quiet=quiet)
        found = _found(watcher, video)
        assert watcher.example is not None
        with writing(output):
            size = (info.width, info.height)
            whole = cv2.resize(found.pixels, size, interpolation=cv2.INTER_NEAREST_EXACT)
            mask_file.path.write_bytes(png(np.asarray(whole, np.uint8)))
            shown_file.path.write_bytes(_tinted(watcher.example, found, info))
        mask_file.used = shown_file.used = True
    if not quiet:
        write_talk(f"{video.name}: {watcher.counted} pictures of driving; {found} never moves, red in {shown}")
        if 2 * np.count_nonzero(found.pixels) > found.pixels.size:
            write_talk(f"{video.name}: that is more than half; is it a drive? Look at {shown} before using {output}")
    write_result(output)


def _watched(video: Path, info: VideoInfo, begin: Fraction, end: Fraction, *, quiet: bool) -> Watcher:
    length_s = min(end, info.duration or end) - begin
    every_s = _EVERY_S / 2 if length_s < _SHORT_S else _EVERY_S
    stride = max(round((info.rate or 25) * every_s), 1)
    watcher = Watcher()
    with (
        stop_on_signal() as stop,
        progress_bar(quiet=quiet) as progress,
        open_source(video, start=begin, end=end, stride=stride, stream=info.stream) as source,
    ):
        task = progress.add_task(video.name, total=None)
        for done, frame in enumerate(source.frames(_size), 1):
            watcher.add(frame.input)
            progress.update(task, completed=done)
            end_if_set(stop)
    return watcher


def _size(info: VideoInfo) -> tuple[int, int]:
    scale = min(Fraction(_SIDE, max(info.height, info.width)), Fraction(1))
    return max(round(info.height * scale), 1), max(round(info.width * scale), 1)


def _found(watcher: Watcher, video: Path) -> Unmoving:
    if watcher.counted < LEAST:
        raise RoadmaskError(
            f"{video}: the scene moves on in {watcher.counted} of the {watcher.looked_at} pictures looked at, "
            f"and {LEAST} are needed; take some minutes of driving, with --start TIME from where it begins"
        )
    if (found := watcher.found()) is None:
        raise RoadmaskError(
            f"{video}: nothing stays in place in {watcher.counted} pictures of driving, so there is no mask to write; "
            "if there is a bonnet, name it as in --ignore bottom:12%"
        )
    return found


def _tinted(picture: NDArray[np.uint8], found: Unmoving, info: VideoInfo) -> bytes:
    """A JPEG, with square pixels."""
    seen = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    fixed = found.pixels > 0
    seen[fixed] = (seen[fixed] // 2 + _TINT // 2).astype(np.uint8)
    height, width = seen.shape[:2]
    shown_width = max(round(width * info.sample_aspect_ratio), 1)
    _, content = cv2.imencode(".jpg", cv2.resize(seen, (shown_width, height)), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return content.tobytes()
