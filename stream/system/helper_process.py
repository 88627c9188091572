"""A process of our own beside this one, for what may hang or crash: it is given work through a pipe, and can be killed.

Its command line shows nothing but the name of its module: what it has to know comes through the pipe, so no password
is seen in a list of processes. It ends when this process does, however that ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self

from ... import __file__ as roadmask_file
from .stop import STOPPING

# Not `-m`, and `-P`: a folder named `roadmask` where the user stands is not to be taken for ours.
_START = "import sys; sys.path.append(sys.argv[1]); from roadmask.stream.{module} import main; main()"
_PR_SET_PDEATHSIG = 1  # prctl(2)


class HelperGone(Exception):  # noqa: N818 - what happened, not what went wrong
    """The process takes no more."""


class HelperProcess:
    """Starts on being made; leaving it kills what is left. One thread sends, any may `kill`.

    Linux ends it with the thread that made it, so that is to be one which stays until it is left.

    Args:
        module: below `stream`, whose `main` reads `take_orders` and speaks by `say`.
        orders: what it has to know, for JSON.
        on_word: told what it says, on a thread of its own.
        on_end: called there when it has ended.
    """

    def __init__(
        self,
        module: str,
        orders: Mapping[str, Any],
        on_word: Callable[[dict[str, Any]], None],
        *,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        root = str(Path(roadmask_file).parents[1])
        self._on_word = on_word
        self._on_end = on_end
        self._process = subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
            [sys.executable, "-P", "-c", _START.format(module=module), root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,  # a `say` a line; a library may print there, too
            stderr=subprocess.DEVNULL,  # FFmpeg and Qt have a lot to say, passwords among it
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for us: it is told to end when we have ended
        )
        self._orders = json.dumps(dict(orders)).encode() + b"\n"
        self._listener = threading.Thread(target=self._listen, name=module, daemon=True)
        self._listener.start()

    @property
    def has_ended(self) -> bool:
        """Nothing will be said any more."""
        return not self._listener.is_alive()

    @property
    def exit_code(self) -> int | None:
        """Negative for the signal that ended it; known after leaving it."""
        return self._process.returncode

    def start(self, content: bytes = b"") -> None:
        """Give it its orders, and what belongs to them.

        Raises:
            HelperGone: it has ended.
        """
        self.send(self._orders + content)

    def send(self, content: bytes) -> None:
        """Returns when it has all of that, or the pipe to it.

        Raises:
            HelperGone: it has ended.
        """
        assert self._process.stdin
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[self._process.stdin.write(rest) or 0 :]
        except (BrokenPipeError, ValueError) as exc:
            raise HelperGone from exc

    def finish(self, timeout_s: float) -> None:
        """Say that there is no more, and wait for it to end, as long as that."""
        assert self._process.stdin
        self._process.stdin.close()
        self._listener.join(timeout_s)

    def kill(self) -> None:
        """End it at once; whoever is sending to it gets `HelperGone`."""
        self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        with self._process:  # closes the pipes and waits
            self._listener.join()

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if words := _said(line):
                self._on_word(words)
        if self._on_end:
            self._on_end()


def _said(line: bytes) -> dict[str, Any] | None:
    """The words of a `say`; `None` for what a library has printed in between."""
    try:
        words = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return words if isinstance(words, dict) and "event" in words else None


def take_orders() -> tuple[dict[str, Any], BinaryIO]:
    """What was ordered, and the pipe that more comes from until its end, which is the order to end."""
    for number in STOPPING:  # meant for the process that started it, which will say so
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        # A process that is killed cannot say so. The pipe's end would do, but not while FFmpeg hangs in a write.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    pipe = os.fdopen(0, "rb", closefd=False)
    line = pipe.readline()
    if not line:
        sys.exit()
    orders: dict[str, Any] = json.loads(line)
    return orders, pipe


def say(**words: object) -> None:
    """Tell the process that started this one, if it still is."""
    try:
        # A line of its own, whatever has been printed before.
        os.write(1, b"\n%b\n" % json.dumps(words).encode())
    except BrokenPipeError:
        sys.exit()
