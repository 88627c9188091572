"""From the words of a command line to video files: files, folders, patterns and lists of them."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import SourceError
from .summary import SUMMARY_NAME, is_summary

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
_UNFINISHED = (".partial", ".earlier")  # before the suffix of what a killed run left


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A video, and where among the results its own belong."""

    path: Path
    folder: Path = (
        Path()
    )  # below that of all results: as the video lies below the folder, pattern or list that was named
    named: bool = True  # by its own name; otherwise it was found

    @property
    def name(self) -> str:
        return self.path.name


def find_sources(words: list[str], results: Path | None = None) -> list[VideoFile]:
    """Files as named, the videos of a folder and of those in it, the matches of a pattern, the lines of `@list.txt`.

    In order, without doubles. Of folders, hidden files and folders, what a run left unfinished and the folders of
    results are left out.

    A list has a word as these on each line; empty lines and those that begin with # say nothing. Paths are relative to
    the list's own folder, those of `@-`, which is standard input, to the working directory.

    Args:
        words: of the command line.
        results: the folder that the results will go to.

    Raises:
        SourceError: a word names nothing, a folder holds no video, or a list cannot be read.
    """
    found: dict[Path, VideoFile] = {}
    for word in words:
        for video in _named_by(word, results):
            found.setdefault(video.path.resolve(), video)
    return list(found.values())


def _named_by(word: str, results: Path | None) -> Iterator[VideoFile]:
    path = Path(word)
    if path.is_dir():
        yield from _in_folder(path, results)
    elif path.exists():
        yield VideoFile(path)
    elif word.startswith("@"):
        yield from _in_list(word, results)
    elif glob.has_magic(word):
        yield from _matching(word, results)
    else:
        yield VideoFile(path)  # missing: one among many must not keep the others from their turn


def _in_folder(folder: Path, results: Path | None) -> list[VideoFile]:
    paths = sorted(path for path in _walk(folder, results) if _is_video(path))
    if not paths:
        raise SourceError(
            f"{folder}: no videos in this folder ({', '.join(sorted(VIDEO_SUFFIXES))}); "
            f"a sequence of pictures is {folder}/%05d.png"
        )
    return [VideoFile(path, path.parent.relative_to(folder), named=False) for path in paths]


def _walk(folder: Path, results: Path | None) -> Iterator[Path]:
    """All files below it; through links, too, but through none twice."""
    seen: set[Path] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        here = Path(parent)
        is_outside = here != folder and (
            _is_same(here, results) or (SUMMARY_NAME in names and is_summary(here / SUMMARY_NAME))
        )
        if is_outside or here.resolve() in seen:
            folders.clear()
            continue
        seen.add(here.resolve())
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (here / name for name in names)


def _is_video(path: Path) -> bool:
    is_whole = not path.name.startswith(".") and not path.stem.endswith(_UNFINISHED)
    return path.suffix.lower() in VIDEO_SUFFIXES and is_whole


def _is_same(folder: Path, other: Path | None) -> bool:
    return other is not None and other.exists() and folder.samefile(other)


def _matching(pattern: str, results: Path | None) -> list[VideoFile]:
    """A pattern that says nothing of the suffix matches videos alone."""
    paths = sorted(Path(match) for match in glob.glob(pattern, recursive=True))  # noqa: PTH207 - takes absolute patterns too
    suffix = Path(pattern).suffix
    if not suffix or glob.has_magic(suffix):
        paths = [path for path in paths if _is_video(path)]
    parts = Path(pattern).parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    if results is not None and not Path(*parts[:fixed]).resolve().is_relative_to(results.resolve()):
        paths = [path for path in paths if results.resolve() not in path.resolve().parents]
    paths = [path for path in paths if path.is_file()]
    if not paths:
        raise SourceError(f"{pattern}: no file matches")
    return [VideoFile(path, Path(*path.parts[fixed:-1]), named=False) for path in paths]


def _in_list(word: str, results: Path | None) -> list[VideoFile]:
    path = Path(word[1:])
    base = Path() if word == "@-" else path.parent
    videos: list[VideoFile] = []
    for number, line in enumerate(_lines_of(word, path), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            raise SourceError(f"{path}, line {number}: {line}: a list cannot name another; name both to the command")
        try:
            videos += [_of_list(video, line) for video in _named_by(str(base / line), results)]
        except SourceError as exc:
            raise SourceError(f"{path}, line {number}: {exc}") from exc
    if not videos:
        raise SourceError(f"{path}: this list names no video")
    return videos


def _lines_of(word: str, path: Path) -> list[str]:
    try:
        # Names of files are bytes on most systems, and need not be UTF-8.
        content = sys.stdin.buffer.read() if word == "@-" else path.read_bytes()
    except OSError as exc:
        raise SourceError(f"{path}: this list cannot be read ({exc.strerror or exc})") from exc
    if b"\0" in content:
        raise SourceError(f"{path}: not a list of videos: it is no text")
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="surrogateescape")
    return [line.strip() for line in text.split("\n")]


def _of_list(video: VideoFile, line: str) -> VideoFile:
    """A file that a list names by a path below its own folder keeps the folders of that path."""
    path = Path(line)
    is_below = video.named and not path.is_absolute() and ".." not in path.parts
    return replace(video, folder=path.parent if is_below else video.folder, named=False)
