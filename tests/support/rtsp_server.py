"""An RTSP server to break: python -m tests.support.rtsp_server [CLIP] [--port N] [--set NAME=VALUE]...

It plays numbered frames to any number of clients, over TCP and UDP, and counts what it has sent. In a test it is a
context manager; as a process of its own it can be killed and stopped, reads further settings from standard input, a
NAME=VALUE in a line, and ends where that ends.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.numbered_camera import CLOCK, Film, NumberedCamera, Shot
from tests.support.odd_http import self_signed
from tests.support.rtsp_faults import Faults
from tests.support.rtsp_session import Session

_LIMIT_S = 10.0  # for anything a test asks of the server
_BEHIND_S = 5.0  # a camera that is late by more leaves frames out, as cameras do; no busy machine makes it so late


class RtspServer:
    """The server and its camera, on one thread; its methods may be called from any other.

    Args:
        film: what the camera sees to begin with.
        port: on loopback; 0 for any that is free.
        faults: what goes wrong; its fields may be changed at any time.
        on_sent: told of each frame that a client was sent whole, on the server's thread.
        tls: speak it, with a certificate that nobody vouches for.
    """

    def __init__(
        self,
        film: Film | None = None,
        *,
        port: int = 0,
        faults: Faults | None = None,
        on_sent: Callable[[Shot], None] | None = None,
        tls: bool = False,
    ) -> None:
        self._tls = self_signed() if tls else None
        self.film = film or Film()
        self.faults = faults or Faults()
        self.sessions: list[Session] = []  # of all the clients there have been
        self._on_sent = on_sent
        self._wants_key = False
        self._meetings: set[asyncio.Task[None]] = set()
        self._held: list[Shot] = []
        self._burst_began = 0.0
        self._socket = _listening(port)
        self.port: int = self._socket.getsockname()[1]
        self._running = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="rtsp server")

    @property
    def url(self) -> str:
        return f"rtsp{'s' if self._tls else ''}://127.0.0.1:{self.port}/camera"

    @property
    def playing(self) -> list[Session]:
        return [session for session in self.sessions if session.is_playing]

    @property
    def sent(self) -> list[int]:
        """The numbers of the frames sent whole, to one client after the other."""
        return [number for session in self.sessions for number in session.sent]

    def show(self, **changes: Any) -> None:
        """Another picture from the next frame on: `width`, `height`, `rate`, `codec`."""
        self.film = replace(self.film, **changes)

    def refuse(self) -> None:
        """Let nobody connect any more."""
        self._do(lambda: self._listener.close())

    def accept(self) -> None:
        """Let clients connect again, at the same port."""
        self._socket = _listening(self.port)
        self._await(self._listen())

    def break_off(self, how: Callable[[Session], None]) -> None:
        """Do this to all clients: `Session.close`, `reset`, `say_goodbye`, `send_half`, `send_garbage`."""

        def act() -> None:
            for session in self.sessions:
                if not session.is_over:
                    how(session)

        self._do(act)

    def go_down(self) -> None:
        """Every connection breaks, and nobody can connect: as if the process had been killed."""
        self.refuse()
        self.break_off(Session.reset)

    def jump(self, seconds: float) -> None:
        """Put the RTP clock forward, or back, for those who watch."""
        for session in self.playing:
            session.clock_shift_s += seconds

    def resume(self) -> None:
        """Send frames again that were held up by `faults.stalled`, from one on that can be decoded."""
        self._wants_key = True
        self.faults.stalled = "no"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._running.wait(_LIMIT_S)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_LIMIT_S)
        assert not self._thread.is_alive()

    def _do(self, action: Callable[[], object]) -> None:
        async def act() -> None:
            action()

        self._await(act())

    def _await(self, what: Any) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(_LIMIT_S)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self._listen()
        stopping, filming = asyncio.create_task(self._stop.wait()), asyncio.create_task(self._film())
        self._running.set()
        done, _ = await asyncio.wait((stopping, filming), return_when=asyncio.FIRST_COMPLETED)
        self._listener.close()
        for session in self.sessions:
            session.close()
        await asyncio.gather(*self._meetings)
        if filming in done:
            filming.result()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._meet, sock=self._socket, ssl=self._tls)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(reader, writer, self.faults)
        self.sessions.append(session)
        meeting = asyncio.current_task()
        assert meeting
        self._meetings.add(meeting)
        await session.serve(lambda: self.film, self._want_key)
        self._meetings.remove(meeting)

    def _want_key(self) -> None:
        self._wants_key = self._wants_key or self.faults.joins_at_key

    async def _film(self) -> None:
        """Shoot and send for ever, at the rate of the film as it is then."""
        camera: NumberedCamera | None = None
        number = pts = 0
        due = time.monotonic()
        while True:
            film = self.film
            if self.playing and time.monotonic() - due < _BEHIND_S:
                if camera is None or camera.film != film:
                    camera = NumberedCamera(film)
                key, self._wants_key = self._wants_key, False
                self._send(camera.shoot(number, pts=pts, key=key))
            number, pts = number + 1, pts + CLOCK // film.rate
            due += 1 / (film.rate * self.faults.speed)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _send(self, shot: Shot) -> None:
        self._held.append(shot)
        if time.monotonic() - self._burst_began < self.faults.burst_s:
            return
        shots, self._held, self._burst_began = self._held, [], time.monotonic()
        for held in shots:
            for session in self.playing:
                if session.send(held) and self._on_sent:
                    self._on_sent(held)


def _listening(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))  # with SO_REUSEADDR, where that is harmless


def set_up(server: RtspServer, words: str) -> None:
    """One NAME=VALUE: a field of `Faults` or `Film`, or what to do with all clients: `do=reset`."""
    name, _, value = words.partition("=")
    if name == "do":
        doing: dict[str, Callable[[], None]] = {"refuse": server.refuse, "accept": server.accept}
        doing.get(value, lambda: server.break_off(getattr(Session, value)))()
    elif name in {field.name for field in fields(Film)}:
        server.show(**{name: type(getattr(server.film, name))(value)})
    else:
        setattr(server.faults, name, _as(getattr(Faults, name), value))


def _as(default: object, value: str) -> object:
    """What `value` means where the default is `default`."""
    if isinstance(default, bool):
        return value not in ("", "0", "no", "False")
    if isinstance(default, int | float):
        return type(default)(value)
    return int(value) if value.isdigit() else value or None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", nargs="?", type=Path, help="what the pictures show under their numbers")
    parser.add_argument("--port", type=int, default=8554)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of Film or Faults")
    parser.add_argument("--log", type=Path, help="takes each frame sent: its number, and when (time.monotonic)")
    options = parser.parse_args()
    log = options.log and options.log.open("a", buffering=1)
    server = RtspServer(
        Film(clip=options.clip),
        port=options.port,
        on_sent=(lambda shot: log.write(f"{shot.number} {time.monotonic():.6f}\n")) if log else None,
    )
    with server:
        for words in options.set:
            set_up(server, words)
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        for line in sys.stdin:
            set_up(server, line.strip())


if __name__ == "__main__":
    main()
