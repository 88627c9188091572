"""Folders that are watched: which of their videos are whole and still to be done, for as long as anybody wants.

Nobody tells when a copy is over or a recording has ended, least of all a share of another machine. So the folders are
looked at again and again. A video is whole when its size and its time have been still for a while and, if it is an MP4
or a MOV, its index is there. One that changes later is done again; one that has failed is left alone until it changes.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import nsmallest
from pathlib import Path
from threading import Event
from typing import Any, Literal, NamedTuple, Self

from ..decode.boxes import FIRST_KINDS, INDEX, boxes
from ..encode.video_sink import SUFFIXES
from ..errors import SourceError
from .footage import footage_among, is_result, is_video, told
from .video_files import VideoFile, folders_of

log = logging.getLogger(__name__)

_EVERY_S = 2.0  # between two looks, at least, and
_SHARE = 0.01  # of the time is spent on them at most
_LONGEST_S = 30.0  # but no longer
_PATIENCE_S = 600.0  # with what is still and lacks its index; then it has its turn, and fails as it should
_TAKEN_S = 60.0  # until what another run is writing is tried again
_IDLE_S = 0.2  # how often it is asked for a file that is whole, while there is none
_JOIN_S = 1.0  # a share that hangs holds nobody up

Stage = Literal["waiting", "whole", "running", "over", "failed"]


class Look(NamedTuple):
    """What changes while a file is written."""

    size: int
    time_ns: int
    blocks: int  # a copy may have its size long before its content
    mode: int  # who may read it


@dataclass(slots=True)
class _Root:
    path: Path
    device: int  # that it is on
    problem: str = ""  # why it cannot be looked into
    is_back: bool = False  # it could not the time before
    closed: set[str] = field(default_factory=set)  # folders below it that cannot


@dataclass(slots=True)
class _Seen:
    """A video that is there."""

    root: _Root
    look: Look
    since: float  # it has looked so
    stage: Stage = "waiting"

    def is_as(self, look: Look) -> bool:
        """Whether nothing has come of looking at it again; one at work is looked at when it has had its turn."""
        if self.stage == "over":
            return self.look[:2] == look[:2]
        return self.stage == "running" or self.look == look


class Watch:
    """Looks at folders, on a thread of its own from entering to leaving.

    Args:
        folders: to watch.
        results: the folder that the results go to; nothing in it is a source.
        settle_s: for how long a file must be still.
        is_done: whether nothing is left to do of a video that looks so; asked once of each look that is still.
        on_new: told of a video that has come, or has changed since it had its turn, and of what is the matter with it.

    Raises:
        SourceError: a folder is none.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        results: Path,
        *,
        settle_s: float,
        is_done: Callable[[VideoFile, Look], bool],
        on_new: Callable[[Path, str], None],
    ) -> None:
        self._roots = [_Root(folder, _device(folder)) for folder in folders]
        self._results = results
        self._settle_s = settle_s
        self._is_done = is_done
        self._on_new = on_new
        self._seen: dict[str, _Seen] = {}
        self._waiting: dict[str, _Seen] = {}  # of them, those that wait, whole or not
        self._running: dict[Path, str] = {}
        self._listings: dict[Path, tuple[list[str], list[str]]] = {}  # of each folder: all names, those of videos
        self._passed: Counter[str] = Counter()  # over, at the first look
        self._has_looked = False
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="watching", daemon=True)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def first(self, count: int) -> list[str]:
        """Names of the next that have their turn."""
        with self._lock:
            found = nsmallest(count, self._waiting.items(), key=lambda item: (item[1].stage != "whole", _age(item)))
        return [os.path.basename(path) for path, _ in found]  # noqa: PTH119 - thousands, each second

    def folders(self) -> list[dict[str, Any]]:
        """Each, and what is the matter with it, if anything."""
        return [{"folder": str(root.path), "problem": root.problem} for root in self._roots]

    def files(self, stop: Event) -> Iterator[VideoFile]:
        """Videos that are whole, the oldest first, as they come; until `stop` is set."""
        while not stop.is_set():
            if file := self._take():
                yield file
            else:
                stop.wait(_IDLE_S)

    def _take(self) -> VideoFile | None:
        with self._lock:
            whole = [item for item in self._waiting.items() if item[1].stage == "whole"]
            if not whole:
                return None
            path, seen = min(whole, key=_age)
            seen.stage = "running"
            del self._waiting[path]
            file = _file(path, seen)
            self._running[file.path] = path
        return file

    def ended(self, path: Path, stage: Literal["waiting", "over", "failed"]) -> None:
        """It has had its turn; one that waits has another later, as somebody else is at it."""
        with self._lock:
            key = self._running.pop(path)
            seen = self._seen[key]
            seen.stage = stage
            if stage == "waiting":
                seen.since = time.monotonic() + _TAKEN_S - self._settle_s
                self._waiting[key] = seen

    def check(self) -> None:
        """Raises what has ended the watching, if anything has."""
        if self._fault:
            raise self._fault

    def look(self) -> None:
        """Once at everything."""
        present: dict[str, tuple[_Root, Look]] = {}
        visited: set[str] = set()
        listings: dict[Path, tuple[list[str], list[str]]] = {}
        for root in self._roots:
            self._look_into(root, present, visited, listings)
        self._listings = listings
        new = self._compare(present)
        for path, what in new if self._has_looked else ():
            self._on_new(Path(path), what)
        if not self._has_looked:
            self._tell_first()
        self._passed.clear()
        with self._lock:
            waiting = sorted(self._waiting.items(), key=_age)
        before = sum([self._examine(path, seen) for path, seen in waiting])
        if before:
            log.info("%d video%s done before", before, "" if before == 1 else "s")

    def _look_into(
        self,
        root: _Root,
        present: dict[str, tuple[_Root, Look]],
        visited: set[str],
        listings: dict[Path, tuple[list[str], list[str]]],
    ) -> None:
        problems: dict[str, str] = {}  # by folder

        def on_closed(exc: OSError) -> None:
            problems[os.fspath(exc.filename)] = exc.strerror or str(exc)

        before = len(present)
        for folder, names in folders_of(root.path, self._results, visited, on_closed):
            listing = self._listings.get(folder)
            if listing is None or listing[0] != names:
                footage = footage_among(map(Path, names), self._passed, lambda _: False)
                listing = (names, [path.name for path in footage if is_video(path)])
                if pictures := len(footage) - len(listing[1]):
                    self._passed["pictures"] += pictures
            listings[folder] = listing
            parent = os.fspath(folder)
            for name in listing[1]:
                path = os.path.join(parent, name)  # noqa: PTH118 - as paths, ten thousand take three times as long
                with suppress(OSError):  # it has just gone, or is a link to nothing
                    found = os.stat(path)  # noqa: PTH116
                    if stat.S_ISREG(found.st_mode):
                        blocks = getattr(found, "st_blocks", 0)  # Windows has none
                        look = Look(found.st_size, found.st_mtime_ns, blocks, found.st_mode)
                        present.setdefault(path, (root, look))
        problem = problems.pop(os.fspath(root.path), "")
        _tell_root(root, problem, is_empty=len(present) == before)
        for closed in sorted(problems.keys() - root.closed):
            log.warning("%s: cannot be looked into (%s); what is in it is left out", closed, problems[closed])
        root.closed = set(problems)

    def _compare(self, present: dict[str, tuple[_Root, Look]]) -> list[tuple[str, str]]:
        """With what was there before: what is new, and why."""
        now, new = time.monotonic(), []
        with self._lock:
            for path in self._seen.keys() - present.keys():
                if self._seen[path].stage != "running":
                    del self._seen[path]
                    self._waiting.pop(path, None)
            for path, (root, look) in present.items():
                seen = self._seen.get(path)
                if seen is None:
                    new += [] if root.is_back else [(path, "")]
                elif seen.is_as(look):
                    continue
                elif seen.stage in ("over", "failed"):
                    new.append((path, "it has changed"))
                self._seen[path] = self._waiting[path] = _Seen(root, look, now)
        return new

    def _tell_first(self) -> None:
        self._has_looked = True
        names = ", ".join(str(root.path) for root in self._roots)
        count = len(self._waiting)
        videos = f"{count} video{'' if count == 1 else 's'} there"
        log.info("watching %s: %s; each has its turn when it has been still for %g s", names, videos, self._settle_s)
        if self._passed:
            log.info("%s", told(self._passed))

    def _examine(self, path: str, seen: _Seen) -> bool:
        """One that waits, which it need not any more where it is still and whole; whether it was done before."""
        still_s = time.monotonic() - seen.since
        if seen.stage == "whole" or still_s < self._settle_s:
            return False
        file = _file(path, seen)
        is_done = self._is_done(file, seen.look)
        is_over = is_done or (file.path.suffix.lower() in SUFFIXES and is_result(file.path))
        if is_over or still_s > _PATIENCE_S or is_whole(file.path):
            with self._lock:
                seen.stage = "over" if is_over else "whole"
                if is_over:
                    del self._waiting[path]
        return is_done

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                began = time.monotonic()
                self.look()
                spent_s = time.monotonic() - began
                self._over.wait(min(max(min(_EVERY_S, self._settle_s / 2), spent_s / _SHARE), _LONGEST_S))
        except BaseException as exc:  # noqa: BLE001 - carried to the thread that waits for files
            self._fault = exc

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_JOIN_S)


def is_whole(path: Path) -> bool:
    """Whether an MP4 or a MOV has its index and all boxes that it begins; other kinds do not tell: they need a byte."""
    with suppress(OSError), path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        box, has_index = None, False
        for box in boxes(file, 0, size):
            if not box.begin and box.kind not in FIRST_KINDS:
                return True
            has_index |= box.kind == INDEX
        if box is None:
            return size > 0
        return has_index and (box.end <= size or not box.is_sound)
    return True  # who opens it says what is wrong


def watched_folders(words: Sequence[str]) -> list[Path]:
    """Raises `SourceError`."""
    for word in words:
        if not os.path.isdir(word):  # noqa: PTH112 - to pathlib a name that is too long is an error
            is_there = os.path.exists(word)  # noqa: PTH110
            raise SourceError(f"{word}: {'is no folder' if is_there else 'no such folder'}; --watch is for folders")
    return [Path(word) for word in words]


def _device(folder: Path) -> int:
    try:
        return folder.stat().st_dev
    except OSError as exc:
        raise SourceError(f"{folder}: cannot be looked into ({exc.strerror})") from exc


def _tell_root(root: _Root, problem: str, *, is_empty: bool) -> None:
    """A disk that is taken away leaves nothing, or an empty folder of another disk."""
    with suppress(OSError):
        device = root.path.stat().st_dev
        if not problem and device != root.device and is_empty:
            problem = "its disk is not mounted"
        elif not problem:
            root.device = device
    if problem and not root.problem:
        log.warning("%s: cannot be looked into (%s); tried again until it can", root.path, problem)
    root.is_back = bool(root.problem and not problem)
    if root.is_back:
        log.info("%s: is back", root.path)
    root.problem = problem


def _file(path: str, seen: _Seen) -> VideoFile:
    return VideoFile(Path(path), Path(path).parent.relative_to(seen.root.path), named=False)


def _age(item: tuple[str, _Seen]) -> tuple[int, str]:
    return item[1].look.time_ns, item[0]
