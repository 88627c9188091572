"""An HTTP server that answers as some cameras do: with bytes that a test writes."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_JOIN_S = 5.0
Answer = Callable[[str], Iterable[bytes]]


class OddServer:
    """Gives each who connects what `answer` makes of his request, and hangs up."""

    def __init__(self, answer: Answer, host: str, *, tls: bool = False) -> None:
        self._tls = self_signed() if tls else None
        self.requests: list[str] = []  # whole heads
        self.stopping = threading.Event()
        self._answer = answer
        self._listener = socket.create_server((host, 0))
        self._listener.settimeout(0.05)
        self.url = f"http{'s' if tls else ''}://{host}:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._run)]
        self._threads[0].start()

    def _run(self) -> None:
        while not self.stopping.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(client,)))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(_JOIN_S)
        with suppress(OSError), self._tls.wrap_socket(client, server_side=True) if self._tls else client as client:
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
def odd_server(answer: Answer, host: str = "127.0.0.1", *, tls: bool = False) -> Iterator[OddServer]:
    server = OddServer(answer, host, tls=tls)
    try:
        yield server
    finally:
        server.close()


def self_signed() -> ssl.SSLContext:
    """For a server whose key everybody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).with_name("self_signed.pem"))
    return context


def head(status: str = "200 OK", **fields: str) -> bytes:
    """Of an answer."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
