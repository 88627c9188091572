"""From the words of a command line to videos and pictures: files, folders, patterns and lists of them."""

from __future__ import annotations

import glob
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import av
from av.container import InputContainer

from ..archive.manifest import CLASSES_NAME, MANIFEST_NAME
from ..decode.opening import is_sequence, open_file, pictures_of
from ..decode.picture import is_picture
from ..decode.video_stream import Track, tracks_of
from ..errors import SourceError
from .footage import Kind, footage_among, in_sequences, is_result, is_video, told
from .summary import SUMMARY_NAME, is_summary

log = logging.getLogger(__name__)

# Folders that Windows and storage boxes keep beside people's own: what was deleted, thumbnails.
_OF_SYSTEMS = frozenset({"$recycle.bin", "system volume information", "#recycle", "@eadir", "lost+found"})
_HEAD_BYTES = 1 << 16  # of a list, in which it shows to be no text
_MOST_BYTES = 1 << 25  # of a list: 300,000 names


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A video or picture, and where among the results its own belong."""

    path: Path
    folder: Path = (
        Path()
    )  # below that of all results: as the video lies below the folder, pattern or list that was named
    named: bool = True  # by its own name; otherwise it was found
    picture: bool = False  # by itself
    stream: int | None = None  # which of its video streams; `None` for the default one
    label: str = ""  # in the names of its results, where the file's own name is not enough

    @property
    def name(self) -> str:
        return self.path.name


def find_sources(words: list[str], results: Path | None = None, kind: Kind = "auto") -> list[VideoFile]:
    """Files as named, what a folder and those in it hold, the matches of a pattern, the lines of `@list.txt`.

    In order, without doubles. Of folders, hidden files and folders, those of systems, what a run left unfinished or
    has made, small copies of recordings, and the folders of results are left out; a line tells how much that is.

    A list has a word as these on each line; empty lines and those that begin with # say nothing. Paths are relative to
    the list's own folder, those of `@-`, which is standard input, to the working directory.

    Args:
        words: of the command line.
        results: the folder that the results will go to.
        kind: what pictures are taken for; that of folders, where it is not told, is said.

    Raises:
        SourceError: a word names nothing, a folder holds neither video nor picture, or a list cannot be read.
    """
    found: dict[str, VideoFile] = {}
    passed: Counter[str] = Counter()
    for word in words:
        for video in _named_by(word, results, kind, passed):
            found.setdefault(os.path.realpath(video.path), video)  # which takes loops of links as they are
    if passed:
        log.info("%s", told(passed))
    if kind == "auto" and (count := sum(video.picture and not video.named for video in found.values())):
        log.info("%d %s each by itself (--as video: numbered ones as a video)", count, "picture" + "s" * (count > 1))
    return list(found.values())


def _named_by(word: str, results: Path | None, kind: Kind, passed: Counter[str]) -> Iterator[VideoFile]:
    # By os.path: to pathlib a name that the system does not take, as it is too long, is an error.
    if os.path.isdir(word):  # noqa: PTH112
        yield from _in_folder(Path(word), results, kind, passed)
    elif os.path.exists(word):  # noqa: PTH110
        yield from _named(Path(word), kind)
    elif word.startswith("@"):
        yield from _in_list(word, results, kind, passed)
    elif glob.has_magic(word):
        yield from _matching(word, results, kind, passed)
    else:
        yield from _named(Path(word), kind)  # missing: one among many must not keep the others from their turn


def _named(path: Path, kind: Kind) -> list[VideoFile]:
    if kind != "pictures":
        return [VideoFile(path, picture=kind == "auto" and _is_alone(path))]
    if is_video(path):
        raise SourceError(f"{path}: a video, which is no picture; leave --as pictures away")
    pictures = pictures_of(path) if is_sequence(path) else [path]
    return [VideoFile(item, named=item == path, picture=True) for item in pictures]


def _in_folder(folder: Path, results: Path | None, kind: Kind, passed: Counter[str]) -> list[VideoFile]:
    here: Counter[str] = Counter()
    walked = folders_of(folder, results, set(), _tell_closed)
    paths = sorted(footage_among((at / name for at, names in walked for name in names), here, is_result, kind))
    found = in_sequences(paths, kind, here)
    if not found:
        raise SourceError(
            f"{folder}: no videos in this folder, nor pictures{f', {told(here)}' if here else ''}; "
            "a file of any name is taken where it is named itself"
        )
    passed.update(here)
    return [
        VideoFile(path, path.parent.relative_to(folder), named=False, picture=_is_alone(path), label=label)
        for path, label in found
    ]


def _is_alone(path: Path) -> bool:
    return is_picture(path) and not is_sequence(path)


def folders_of(
    folder: Path, results: Path | None, seen: set[str], on_closed: Callable[[OSError], None]
) -> Iterator[tuple[Path, list[str]]]:
    """It and all folders below it, with the names of the files in each; through links, too, but through none twice.

    Args:
        folder: to begin with.
        results: the folder that the results go to; it is left out, and so is what else holds results.
        seen: folders that were visited, and are not again; those that are, are added.
        on_closed: told of each that cannot be looked into.
    """
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=on_closed):
        here, real = Path(parent), os.path.realpath(parent)
        if (here != folder and _is_of_results(here, names, results)) or real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not (name.startswith(".") or name.lower() in _OF_SYSTEMS))
        yield here, names


def _tell_closed(exc: OSError) -> None:
    log.warning("%s: cannot be looked into (%s); what is in it is left out", exc.filename, exc.strerror)


def _is_of_results(folder: Path, names: list[str], results: Path | None) -> bool:
    """Where the results go or went, or an archive of masks."""
    with suppress(OSError):  # it has just gone
        if results is not None and results.exists() and folder.samefile(results):
            return True
    is_archive = CLASSES_NAME in names and MANIFEST_NAME in names
    return is_archive or (SUMMARY_NAME in names and is_summary(folder / SUMMARY_NAME))


def _matching(pattern: str, results: Path | None, kind: Kind, passed: Counter[str]) -> list[VideoFile]:
    """A pattern that says nothing of the suffix matches videos alone."""
    paths = sorted(Path(match) for match in glob.glob(pattern, recursive=True))  # noqa: PTH207 - takes absolute patterns too
    paths = [path for path in paths if os.path.isfile(path)]  # noqa: PTH113 - as in `_named_by`
    parts = Path(pattern).parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    if results is not None and not Path(*parts[:fixed]).resolve().is_relative_to(results.resolve()):
        paths = [path for path in paths if results.resolve() not in path.resolve().parents]
    suffix = Path(pattern).suffix
    here: Counter[str] = Counter()
    if not suffix or glob.has_magic(suffix) or is_picture(Path(pattern)):
        paths = footage_among(paths, here, is_result, kind)
    if not paths:
        raise SourceError(f"{pattern}: no file matches{f' but {told(here)}' if here else ''}")
    passed.update(here)
    return [
        VideoFile(path, Path(*path.parts[fixed:-1]), named=False, picture=kind != "video" and is_picture(path))
        for path in paths
    ]


def _in_list(word: str, results: Path | None, kind: Kind, passed: Counter[str]) -> list[VideoFile]:
    path = Path(word[1:])
    base = Path() if word == "@-" else path.parent
    videos: list[VideoFile] = []
    for number, line in enumerate(_lines_of(word, path), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            raise SourceError(f"{path}, line {number}: {line}: a list cannot name another; name both to the command")
        try:
            videos += [_of_list(video, line) for video in _named_by(str(base / line), results, kind, passed)]
        except SourceError as exc:
            raise SourceError(f"{path}, line {number}: {exc}") from exc
    if not videos:
        raise SourceError(f"{path}: this list names no video; write one a line")
    return videos


def _lines_of(word: str, path: Path) -> list[str]:
    """Names of files are bytes on most systems, and need not be UTF-8."""
    try:
        with nullcontext(sys.stdin.buffer) if word == "@-" else path.open("rb") as file:
            content = file.read(_HEAD_BYTES)
            if b"\0" in content:
                raise SourceError(f"{path}: not a list of videos: it is no text; a video is named without @")
            content += file.read(_MOST_BYTES)
    except OSError as exc:
        raise SourceError(f"{path}: this list cannot be read ({exc.strerror or exc})") from exc
    if len(content) > _MOST_BYTES:
        raise SourceError(f"{path}: not a list of videos: it is longer than {_MOST_BYTES >> 20} MiB; name a folder")
    if b"\0" in content:
        raise SourceError(f"{path}: not a list of videos: it is no text; a video is named without @")
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="surrogateescape")
    return [line.strip() for line in text.split("\n")]


def _of_list(video: VideoFile, line: str) -> VideoFile:
    """A file that a list names by a path below its own folder keeps the folders of that path."""
    path = Path(line)
    is_below = video.named and not path.is_absolute() and ".." not in path.parts
    return replace(video, folder=path.parent if is_below else video.folder, named=False)


def some_pictures(files: list[VideoFile], stride: int, most: int | None) -> list[VideoFile]:
    """Where all are pictures, these are the frames: every n-th, and so many at most. Else the files as they are."""
    return files[::stride][:most] if all(file.picture for file in files) else files


def by_stream(
    videos: Sequence[VideoFile],
    wanted: int | Literal["all"],
    opened: Callable[[Path], AbstractContextManager[InputContainer]] = open_file,
) -> list[VideoFile]:
    """The files, each with the stream of that number; or each once for each video in it, without cover pictures.

    A stream has a label where it is not the file's default one, or the file is done more than once. What cannot be
    `opened` says so when it has its turn.
    """
    result: list[VideoFile] = []
    for video in videos:
        tracks: list[Track] = []
        if not video.picture and not is_sequence(video.path):
            with suppress(SourceError, av.FFmpegError), opened(video.path) as container:
                tracks = tracks_of(container, video.path)
        result += _streams(video, wanted, tracks)
    return result


def _streams(video: VideoFile, wanted: int | Literal["all"], tracks: Sequence[Track]) -> list[VideoFile]:
    if video.picture or is_sequence(video.path):
        return [video]
    if wanted == "all":
        several = tracks if len(tracks) > 1 else []
        return [replace(video, stream=track.number, label=track.label) for track in several] or [video]
    labels = {track.number: "" if track.is_default else track.label for track in tracks}
    return [replace(video, stream=wanted, label=labels.get(wanted, f"stream{wanted}" if tracks else ""))]
