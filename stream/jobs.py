"""From the words of a command line to one `SegmentSettings` a video."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from .camera import Camera
from .errors import OutputError, SourceError
from .frames import VideoInfo
from .segment import SegmentSettings

VIDEO_SUFFIXES = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".ts",
        ".m2ts",
        ".mts",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".3gp",
        ".ogv",
        ".h264",
        ".h265",
        ".hevc",
        ".mjpeg",
    ]
)
OVERLAY_SUFFIXES = (".mp4", ".mov", ".mkv")


def find_sources(words: list[str]) -> list[Path]:
    """Files as named, the videos of a folder, the matches of a pattern; in order, without doubles.

    Raises:
        SourceError: a word names nothing, or a folder holds no video.
    """
    found: dict[Path, None] = {}
    for word in words:
        path = Path(word)
        if path.is_dir():
            videos = sorted(item for item in path.iterdir() if item.suffix.lower() in VIDEO_SUFFIXES)
            if not videos:
                raise SourceError(f"{word}: no videos in this folder ({', '.join(sorted(VIDEO_SUFFIXES))})")
        elif path.exists() or not glob.has_magic(word):
            videos = [path]
        else:
            videos = sorted(Path(match) for match in glob.glob(word, recursive=True))  # noqa: PTH207 - takes absolute patterns too
            if not videos:
                raise SourceError(f"{word}: no file matches")
        found.update(dict.fromkeys(videos))
    return list(found)


def plan(
    sources: Sequence[Path | Camera], output: str | None, template: SegmentSettings, *, default_overlay: bool = True
) -> list[SegmentSettings]:
    """One job a source.

    Args:
        sources: from `find_sources`, or cameras.
        output: a folder (ending in a slash, or existing) takes overlay, masks and statistics under each source's
            name; a file takes the overlay of the one source; `None` without other outputs puts a file's overlay
            into the working directory; a camera's is never recorded unasked.
        template: everything else, for all of them.
        default_overlay: write a file's overlay where no output is named.

    Raises:
        OutputError: several sources for one file, sources of one name for one folder, or a suffix that is no video.
        SourceError: cameras of one name.
    """
    _refuse_equal_cameras(sources)
    folder = _folder(output)
    if folder is not None:
        jobs = [_into_folder(source, folder, template) for source in sources]
        _refuse_equal_names(jobs)
        return jobs
    if output is not None:
        template = replace(template, overlay=Path(output))
    if not template.outputs:
        jobs = [
            replace(template, source=source, overlay=_beside(source) if default_overlay else None) for source in sources
        ]
        _refuse_equal_names(jobs)
        return jobs
    if len(sources) > 1:
        raise OutputError(f"{len(sources)} sources cannot go into one file; name a folder: -o DIR/")
    if template.overlay is not None and template.overlay.suffix.lower() not in OVERLAY_SUFFIXES:
        raise OutputError(
            f"{template.overlay}: overlay videos are {', '.join(OVERLAY_SUFFIXES)}; for a folder write {output}/"
        )
    return [replace(template, source=source) for source in sources]


def parse_time(text: str) -> Fraction:
    """Seconds from "90", "1:30", "00:01:30.5".

    Raises:
        ValueError: it is not such a time.
    """
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text.strip()):
        raise ValueError(f"{text!r} is not a time; write seconds (90) or 00:01:30")
    seconds = Fraction(0)
    for part in text.strip().split(":"):
        seconds = seconds * 60 + Fraction(part)
    return seconds


def expected_frames(info: VideoInfo, settings: SegmentSettings) -> int | None:
    """How many frames a run will write, as far as the container's header can be believed."""
    if info.frame_count is None:
        return None
    count = info.frame_count
    if info.rate is not None:
        last = count if settings.end is None else min(count, round(settings.end * info.rate))
        first = 0 if settings.start is None else round(settings.start * info.rate)
        count = max(last - first, 0)
    count = -(-count // settings.stride)
    return count if settings.max_frames is None else min(count, settings.max_frames)


def _folder(output: str | None) -> Path | None:
    if output is None:
        return None
    is_folder = output.endswith(("/", "\\")) or Path(output).is_dir()
    return Path(output) if is_folder else None


def _beside(source: Path | Camera) -> Path | None:
    return None if isinstance(source, Camera) else Path(f"{source.stem}_overlay.mp4")


def _into_folder(source: Path | Camera, folder: Path, template: SegmentSettings) -> SegmentSettings:
    """Outputs that were named one by one keep their names."""
    stem = source.name if isinstance(source, Camera) else source.stem
    return replace(
        template,
        source=source,
        overlay=template.overlay or folder / f"{stem}_overlay.mp4",
        masks=template.masks or folder / f"{stem.replace('.', '_')}_masks",  # after a dot would be the kind of archive
        stats=template.stats or folder / f"{stem}_stats.csv",
    )


def _refuse_equal_cameras(sources: Sequence[Path | Camera]) -> None:
    counts = Counter(source.name for source in sources if isinstance(source, Camera))
    for name, count in counts.items():
        if count > 1:
            raise SourceError(f"{count} cameras are called {name}; give them names: left=rtsp://... right=rtsp://...")


def _refuse_equal_names(jobs: list[SegmentSettings]) -> None:
    by_output: dict[Path, str] = {}
    for job in jobs:
        for output in job.outputs:
            if output in by_output:
                raise OutputError(f"{job.name} and {by_output[output]} would both write {output}; run them apart")
            by_output[output] = job.name
