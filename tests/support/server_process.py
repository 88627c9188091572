"""The RTSP server as a process of its own, to be killed and stopped while a client watches."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.own_process import python

_SERVER = "from tests.support.rtsp_server import main; main()"


def a_free_port() -> int:
    """On loopback; nothing holds it, so it may be taken."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


class ServerProcess:
    """Starts on entering; `start` it again after `kill`, at the same port.

    Args:
        log: takes the numbers of the frames sent, and when; survives kills.
        settings: as `--set` takes them.
        clip: what the pictures show.
    """

    def __init__(self, log: Path, *settings: str, clip: Path | None = None) -> None:
        self.port = a_free_port()
        self.url = f"rtsp://127.0.0.1:{self.port}/camera"
        self._log = log
        words = [word for setting in settings for word in ("--set", setting)]
        self._command = [*python(_SERVER), *([str(clip)] if clip else []), *words]
        self._command += ["--port", str(self.port), "--log", str(log)]
        self._process: subprocess.Popen[str] | None = None

    @property
    def sent(self) -> list[int]:
        """The numbers of the frames sent whole to the one client, over all its connections."""
        return [number for number, _ in self.sent_at]

    @property
    def sent_at(self) -> list[tuple[int, float]]:
        """Those numbers, each with its time on `time.monotonic`'s clock, which all processes share on Linux."""
        if not self._log.exists():
            return []
        lines = self._log.read_text().splitlines()
        return [(int(number), float(at)) for number, at in (line.split() for line in lines if " " in line)]

    def start(self) -> None:
        """Returns when it takes connections."""
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        assert self._process.stdout.readline().strip() == self.url

    def set(self, words: str) -> None:
        """A NAME=VALUE."""
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(f"{words}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """The system closes its connections."""
        if self._process:
            self._process.kill()
            with self._process:
                self._process = None

    def stop(self) -> None:
        """It stands still; the system goes on taking connections for it."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
