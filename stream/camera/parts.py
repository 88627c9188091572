"""Record a stream that never ends in parts, each a file (or a folder of masks) of its own, under the time it began.

    with PartsSink(Path("results/front_overlay.mp4"), make, segment_time_s=600, keep_s=48 * 3600) as sink:
        for result in results:
            sink.write(result)

`make` is what makes the sink of one part: `lambda path, info: OverlayVideoSink(path, info, render)`. A part is called
`front_overlay_2026-11-23_05-28-04Z.mp4`: the time is that of its first frame, in UTC, so names sort as the parts came,
and no hour comes twice when the clocks go back.
"""

from __future__ import annotations

import errno
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from ..archive.manifest import CLASSES_NAME
from ..errors import OutputError
from ..frames import Frame, SegmentedFrame, Sink, VideoInfo
from ..system.disk import partial_path, sync_output, writing
from ..system.hold import Taken, hold

log = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TIME = "%Y-%m-%d_%H-%M-%SZ"
_UNFINISHED = "unfinished"


class PartsSink(Sink):
    """A `Sink` that gives its frames to one sink after the other.

    A part begins where the picture changes its size or codec (`frame.info` is another object then), and where the one
    before is `segment_time_s` long. Times begin at 0 in each part; frames keep their index. A part that is whole is
    synced to disk, while the next one is written. Parts left in progress by a run that was killed are renamed on
    entering, never written over. One process at a time records under a name.

    Args:
        path: where to, and what the parts are called, each with its time in UTC put behind: see `PartNames`.
        make: a sink for a path that nothing has, and the video it is of.
        segment_time_s: how long a part is; None for as long as the picture stays as it is.
        keep_s: parts of this name that ended longer ago are deleted when a new one begins; None to keep all.

    Raises:
        OutputError: also where the disk is full: what is written up to there can be played.
    """

    def __init__(
        self,
        path: Path,
        make: Callable[[Path, VideoInfo], Sink],
        *,
        segment_time_s: float | None = None,
        keep_s: float | None = None,
    ) -> None:
        self.parts = 0  # begun
        self._path = path
        self._names = PartNames(path)
        self._make = make
        self._length = None if segment_time_s is None else Fraction(segment_time_s)
        self._keep_s = keep_s
        self._part: Sink | None = None
        self._sound = ""
        self._stack = ExitStack()  # holds the part, and nothing else
        self._lock = ExitStack()
        self._cleaning: threading.Thread | None = None
        self._whole: SimpleQueue[Path | None] = SimpleQueue()  # parts to be synced, and None after the last
        self._syncing = threading.Thread(target=_sync_all, args=(self._whole,), daemon=True)

    def write(self, result: SegmentedFrame) -> None:
        with _fullness_explained(self._path):
            part = self._part_for(result.frame)
            # Of one place in time for every kind of output: a part's own beginning.
            part.write(replace(result, frame=replace(result.frame, pts=result.frame.pts - self._first_pts)))
            self._sound = part.sound

    @property
    def sound(self) -> str:
        return self._sound

    def _part_for(self, frame: Frame) -> Sink:
        if self._part is not None and not self._is_over(frame):
            return self._part
        self._part = None
        self._stack.close()  # the part before is whole now
        self._info, self._first_pts, self._first_time = frame.info, frame.pts, frame.time
        path = self._names.new(_began(frame))
        part = self._make(path, frame.info)
        self._stack.callback(self._whole.put, path)
        self._part = self._stack.enter_context(part)
        self.parts += 1
        self._delete_old()
        return self._part

    def _is_over(self, frame: Frame) -> bool:
        if frame.info is not self._info:
            return True
        return self._length is not None and frame.time - self._first_time >= self._length

    def _delete_old(self) -> None:
        """On a thread: ten minutes of masks are 15,000 files, and frames would be lost meanwhile."""
        if self._keep_s is None or (self._cleaning and self._cleaning.is_alive()):
            return
        self._cleaning = threading.Thread(target=self._names.delete_old, args=(self._keep_s,), daemon=True)
        self._cleaning.start()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._take(stack)
            self._names.rescue()
            if self._keep_s is not None:
                self._names.delete_old(self._keep_s)
            self._lock = stack.pop_all()
        self._syncing.start()
        return self

    def _take(self, stack: ExitStack) -> None:
        """The folder, and the name in it."""
        with writing(self._path):
            self._names.folder.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(hold(self._path.with_name(f".{self._path.name}.lock")))
            except Taken as exc:
                raise OutputError(
                    f"{self._path}: is being recorded by another roadmask; name another folder or file, "
                    "or give the camera another name: front=rtsp://..."
                ) from exc

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        try:
            with self._lock, _fullness_explained(self._path):
                self._stack.__exit__(kind, exc, at)
        finally:
            self._whole.put(None)
            self._syncing.join()
            if self._cleaning:
                self._cleaning.join(timeout=1)


def _sync_all(parts: SimpleQueue[Path | None]) -> None:
    """Each as it is whole, on a thread: a disk may take seconds for what ten minutes have left in memory."""
    while path := parts.get():
        try:
            sync_output(path, inside=True)
        except FileNotFoundError:
            pass  # deleted meanwhile, or it never came to a part
        except OSError as exc:
            log.warning("%s: may be lost in a power cut, as it cannot be synced (%s)", path, exc.strerror or exc)


def _began(frame: Frame) -> float:
    """When the frame came, in seconds since the epoch."""
    now = time.time()
    return now if frame.arrived is None else now - (time.monotonic() - frame.arrived)


@contextmanager
def _fullness_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OutputError as exc:
        if getattr(exc.__cause__, "errno", None) not in _FULL:
            raise
        raise OutputError(
            f"{path}: the disk is full; what was recorded up to here can be played. "
            "Free some space and start again, with --keep for a time that fits"
        ) from exc


class PartNames:
    """The parts of one output: files or folders beside `path` that have its name and a time.

    Args:
        path: the name without a time: `results/front_overlay.mp4`.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self._stem, self._suffix = path.stem, path.suffix
        self._ours = re.compile(
            rf"{re.escape(path.stem)}_(?P<time>\d{{4}}-\d\d-\d\d_\d\d-\d\d-\d\dZ)(?P<number>_\d+)?"
            rf"(?P<state>_{_UNFINISHED}(?:_\d+)?|\.partial)?{re.escape(path.suffix)}"
        )

    def new(self, began: float) -> Path:
        """A name that nothing has, for a part whose first frame came `began` seconds after the epoch."""
        return self._free(datetime.fromtimestamp(began, UTC).strftime(_TIME))

    def rescue(self) -> None:
        """Give what a killed run left in progress a name of its own: it stays playable, and nothing writes over it.

        Raises:
            OutputError: it cannot be renamed.
        """
        for path, found in list(self._parts()):
            if found["state"] != ".partial":
                continue
            if path.is_file() and not path.stat().st_size:
                path.unlink()
                continue
            rescued = self._free(f"{found['time']}{found['number'] or ''}_{_UNFINISHED}")
            try:
                path.rename(rescued)
            except OSError as exc:
                raise OutputError(f"{path}: left by an earlier run, cannot be renamed ({exc.strerror})") from exc
            log.warning("%s: left by a run that did not end well; it is called %s now", path, rescued.name)

    def delete_old(self, keep_s: float) -> None:
        """Delete the parts that ended longer ago. One that cannot be deleted is a warning: the recording goes on."""
        for path, found in list(self._parts()):
            try:
                if found["state"] != ".partial" and _ended(path, found["time"]) < time.time() - keep_s:
                    _delete(path)
            except OSError as exc:
                log.warning("%s: is older than --keep, but cannot be deleted (%s)", path, exc.strerror or exc)

    def _parts(self) -> Iterator[tuple[Path, re.Match[str]]]:
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            found = self._ours.fullmatch(path.name)
            if found and _is_time(found["time"]) and not path.is_symlink() and self._is_kind(path):
                yield path, found

    def _is_kind(self, path: Path) -> bool:
        """A folder of masks, or a file: whichever this output makes."""
        if path.is_dir():
            return (path / CLASSES_NAME).is_file()
        return path.is_file() and self._suffix != ""

    def _free(self, name: str) -> Path:
        number, path = 1, self._named(name)
        while path.exists() or partial_path(path).exists():
            number += 1
            path = self._named(f"{name}_{number}")
        return path

    def _named(self, name: str) -> Path:
        return self.folder / f"{self._stem}_{name}{self._suffix}"


def _ended(path: Path, began: str) -> float:
    """When its last frame was written; a file's own time alone may be that of a copy, or of a clock set wrong."""
    return max(_began_at(began), path.stat().st_mtime)


def _is_time(text: str) -> bool:
    """Whether it is one of the calendar's: no run has called a part after the 31st of February."""
    try:
        _began_at(text)
    except ValueError:
        return False
    return True


def _began_at(text: str) -> float:
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp()


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
