"""From the words of a command line to video files: files, folders, patterns and lists of them."""

from __future__ import annotations

import glob
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from ..archive.manifest import CLASSES_NAME, MANIFEST_NAME
from ..errors import SourceError
from .footage import is_result, told, videos_among
from .summary import SUMMARY_NAME, is_summary

log = logging.getLogger(__name__)

_HEAD_BYTES = 1 << 16  # of a list, in which it shows to be no text
_MOST_BYTES = 1 << 25  # of a list: 300,000 names


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

    In order, without doubles. Of folders, hidden files and folders, what a run left unfinished, has made, or records
    as a small copy, and the folders of results are left out; a line tells how much that is.

    A list has a word as these on each line; empty lines and those that begin with # say nothing. Paths are relative to
    the list's own folder, those of `@-`, which is standard input, to the working directory.

    Args:
        words: of the command line.
        results: the folder that the results will go to.

    Raises:
        SourceError: a word names nothing, a folder holds no video, or a list cannot be read.
    """
    found: dict[str, VideoFile] = {}
    passed: Counter[str] = Counter()
    for word in words:
        for video in _named_by(word, results, passed):
            found.setdefault(os.path.realpath(video.path), video)  # which takes loops of links as they are
    if passed:
        log.info("%s", told(passed))
    return list(found.values())


def _named_by(word: str, results: Path | None, passed: Counter[str]) -> Iterator[VideoFile]:
    # By os.path: to pathlib a name that the system does not take, as it is too long, is an error.
    if os.path.isdir(word):  # noqa: PTH112
        yield from _in_folder(Path(word), results, passed)
    elif os.path.exists(word):  # noqa: PTH110
        yield VideoFile(Path(word))
    elif word.startswith("@"):
        yield from _in_list(word, results, passed)
    elif glob.has_magic(word):
        yield from _matching(word, results, passed)
    else:
        yield VideoFile(Path(word))  # missing: one among many must not keep the others from their turn


def _in_folder(folder: Path, results: Path | None, passed: Counter[str]) -> list[VideoFile]:
    here: Counter[str] = Counter()
    paths = sorted(videos_among(_walk(folder, results), here, is_result))
    if not paths:
        raise SourceError(
            f"{folder}: no videos in this folder{f', {told(here)}' if here else ''}; "
            f"a sequence of pictures is {folder}/%05d.png, and a file of any name is taken where it is named itself"
        )
    passed.update(here)
    return [VideoFile(path, path.parent.relative_to(folder), named=False) for path in paths]


def _walk(folder: Path, results: Path | None) -> Iterator[Path]:
    """All files below it; through links, too, but through none twice."""
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_tell_closed):
        here, real = Path(parent), os.path.realpath(parent)
        if (here != folder and _is_of_results(here, names, results)) or real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (here / name for name in names)


def _tell_closed(exc: OSError) -> None:
    log.warning("%s: cannot be looked into (%s); what is in it is left out", exc.filename, exc.strerror)


def _is_of_results(folder: Path, names: list[str], results: Path | None) -> bool:
    """Where the results go or went, or an archive of masks."""
    if results is not None and results.exists() and folder.samefile(results):
        return True
    is_archive = CLASSES_NAME in names and MANIFEST_NAME in names
    return is_archive or (SUMMARY_NAME in names and is_summary(folder / SUMMARY_NAME))


def _matching(pattern: str, results: Path | None, passed: Counter[str]) -> list[VideoFile]:
    """A pattern that says nothing of the suffix matches videos alone."""
    paths = sorted(Path(match) for match in glob.glob(pattern, recursive=True))  # noqa: PTH207 - takes absolute patterns too
    paths = [path for path in paths if os.path.isfile(path)]  # noqa: PTH113 - as in `_named_by`
    parts = Path(pattern).parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    if results is not None and not Path(*parts[:fixed]).resolve().is_relative_to(results.resolve()):
        paths = [path for path in paths if results.resolve() not in path.resolve().parents]
    suffix = Path(pattern).suffix
    here: Counter[str] = Counter()
    if not suffix or glob.has_magic(suffix):
        paths = videos_among(paths, here, is_result)
    if not paths:
        raise SourceError(f"{pattern}: no file matches{f' but {told(here)}' if here else ''}")
    passed.update(here)
    return [VideoFile(path, Path(*path.parts[fixed:-1]), named=False) for path in paths]


def _in_list(word: str, results: Path | None, passed: Counter[str]) -> list[VideoFile]:
    path = Path(word[1:])
    base = Path() if word == "@-" else path.parent
    videos: list[VideoFile] = []
    for number, line in enumerate(_lines_of(word, path), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            raise SourceError(f"{path}, line {number}: {line}: a list cannot name another; name both to the command")
        try:
            videos += [_of_list(video, line) for video in _named_by(str(base / line), results, passed)]
        except SourceError as exc:
            raise SourceError(f"{path}, line {number}: {exc}") from exc
    if not videos:
        raise SourceError(f"{path}: this list names no video")
    return videos


def _lines_of(word: str, path: Path) -> list[str]:
    """Names of files are bytes on most systems, and need not be UTF-8."""
    try:
        with nullcontext(sys.stdin.buffer) if word == "@-" else path.open("rb") as file:
            content = file.read(_HEAD_BYTES)
            if b"\0" in content:
                raise SourceError(f"{path}: not a list of videos: it is no text")
            content += file.read(_MOST_BYTES)
    except OSError as exc:
        raise SourceError(f"{path}: this list cannot be read ({exc.strerror or exc})") from exc
    if len(content) > _MOST_BYTES:
        raise SourceError(f"{path}: not a list of videos: it is longer than {_MOST_BYTES >> 20} MiB; name a folder")
    if b"\0" in content:
        raise SourceError(f"{path}: not a list of videos: it is no text")
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="surrogateescape")
    return [line.strip() for line in text.split("\n")]


def _of_list(video: VideoFile, line: str) -> VideoFile:
    """A file that a list names by a path below its own folder keeps the folders of that path."""
    path = Path(line)
    is_below = video.named and not path.is_absolute() and ".." not in path.parts
    return replace(video, folder=path.parent if is_below else video.folder, named=False)
