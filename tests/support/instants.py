"""Every call by which a process changes what is on disk, counted: it can be killed at any, or find the disk full.

FFmpeg's own are among them: what it writes goes through a file of ours.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import gc
import io
import os
import sys
import traceback
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import av

KILLED = 9
OUTPUT_ERROR = 1
_CALLS = ("mkdir", "rmdir", "rename", "replace", "unlink", "remove", "truncate", "ftruncate", "fsync", "write")
_CHANGE_NOTHING = ("fsync",)  # that a kill would leave: killed before one is killed before the next call
_NEED_NO_ROOM = ("rmdir", "unlink", "remove", "truncate", "ftruncate", "flock")
_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}

Act = Callable[[str], None]  # told the name of a call before it is made


def kill_at(instant: int) -> Act:
    """Killed at the call of this number, from 0, of those that change something."""
    numbers = count()

    def act(name: str) -> None:
        if name not in _CHANGE_NOTHING and next(numbers) == instant:
            os._exit(KILLED)

    return act


def full_from(instant: int) -> Act:
    """The disk is full from there on, of those that need room."""
    numbers = count()

    def act(name: str) -> None:
        if name not in _NEED_NO_ROOM and next(numbers) >= instant:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return act


def in_fork(work: Callable[[], object], act: Act | None = None) -> int:
    """The exit code of a process that does this work; 0 where it came to its end."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        gc.disable()  # codecs that wait here to be collected have their threads in the other process
        try:
            _count_calls(act or (lambda _: None))
            work()
            os._exit(0)
        except BaseException as exc:  # noqa: BLE001 - whatever it was, this process ends here
            if act is None or type(exc).__name__ != "OutputError":
                traceback.print_exc()
                sys.stderr.flush()
            os._exit(OUTPUT_ERROR if type(exc).__name__ == "OutputError" else 70)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _count_calls(act: Act) -> None:
    """In this process, for good."""
    calls = _Calls(act)
    for name in _CALLS:
        setattr(os, name, calls.counted(getattr(os, name), name))
    fcntl.flock = calls.counted(fcntl.flock, "flock")
    os.open, io.open, av.open = calls.os_open(os.open), calls.io_open(io.open), calls.av_open(av.open)
    builtins.open = io.open


class _Calls:
    """What stands in for functions, and counts their calls."""

    def __init__(self, act: Act) -> None:
        self._act = act
        counted = self.counted

        class File(io.FileIO):
            write = counted(io.FileIO.write, "write")
            truncate = counted(io.FileIO.truncate, "truncate")

        self._file = File

    def counted(self, function: Any, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self._act(name)
            return function(*arguments, **named)

        return call

    def os_open(self, real: Any) -> Any:
        def opened(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self._act("open")
            return int(real(path, flags, *arguments, **named))

        return opened

    def io_open(self, real: Any) -> Any:
        def opened(file: Any, mode: str = "r", buffering: int = -1, *text: Any, **named: Any) -> Any:
            if not set("wax+") & set(mode):
                return real(file, mode, buffering, *text, **named)
            self._act("open")
            raw = self._file(file, mode.replace("b", "").replace("t", ""))
            if buffering == 0:
                return raw
            buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffer if "b" in mode else io.TextIOWrapper(buffer, *text, **named)

        return opened

    def av_open(self, real: Any) -> Any:
        def opened(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            if mode != "w":
                return real(file, mode, *arguments, **named)
            self._act("open")
            return real(self._file(file, "w+"), mode, *arguments, format=_FORMATS[Path(file).suffix], **named)

        return opened
