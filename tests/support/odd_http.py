"""An HTTP server that answers as some cameras do: with bytes that a test writes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

_JOIN_S = 5.0
Answer = Callable[[str], Iterable[bytes]]


class OddServer:
    """Gives each who connects what `answer` makes of his request, and hangs up; with `lasts` it stays connected."""

    def __init__(self, answer: Answer, host: str) -> None:
        self.requests: list[str] = []  # whole heads
        self.stopping = threading.Event()
        self._answer = answer
        self._listener = socket.create_server((host, 0))
        self._listener.settimeout(0.05)
        self.url = f"http://{host}:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._run)]
        self._threads[0].start()

    def _run(self) -> None:
        while not self.stopping.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(client,)))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.settimeout(_JOIN_S)
            request = b""
            while b"\r\n\r\n" not in request and (piece := client.recv(4096)):
                request += piece
            self.requests.append(request.decode())
            for piece in self._answer(request.decode()):
                client.sendall(piece)
                if self.stopping.is_set():
                    return

    def close(self) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join(_JOIN_S)
        self._listener.close()


@contextmanager
def odd_server(answer: Answer, host: str = "127.0.0.1") -> Iterator[OddServer]:
    server = OddServer(answer, host)
    try:
        yield server
    finally:
        server.close()


def head(status: str = "200 OK", **fields: str) -> bytes:
    """Of an answer."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
