"""The live view: a page in the browser that shows what the cameras see, served from a thread of its own.

    with LiveView(parse_address("127.0.0.1:8080"), model.spec.classes) as view:
        status = CameraStatus("front", on_event=view.tell)
        with view.add(status) as sink:
            for result in results:
                sink.write(result)

A run is neither delayed nor ended by what happens here: `write` only remembers the result, and viewers get as many as
they can take.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, Self

from ..camera.status import CameraEvent, CameraStatus
from ..encode.overlay import Style
from ..errors import OutputError
from ..spec import PixelClass
from ..system.talk import install_command
from .events import Journal
from .feed import Bell, CameraFeed, OnView, RunFacts, Studio

if TYPE_CHECKING:
    from .app import ViewServer

_NEEDED = ("starlette", "uvicorn", "prometheus_client")
_SHORTEST_TOKEN = 8
_LARGEST_PORT = 65535
# What may wait for one viewer: some pictures. The system's own choice of megabytes would show a slow one the past.
_SEND_BUFFER = 1 << 18


def refuse_no_page(address: Address, token: str | None) -> None:
    """Raises `OutputError`: it lacks a package, or is open to everybody."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise OutputError(f"--serve needs {missing[0]}: {install_command('serve')}")
    if token is None and not address.is_loopback:
        raise OutputError(
            f"--serve {address}: is open to other machines; pass --token WORD, which viewers then have to know"
        )
    if token is not None and len(token) < _SHORTEST_TOKEN:
        raise OutputError(f"--token: is shorter than {_SHORTEST_TOKEN} characters, which can be guessed")


class LiveView:
    """A context manager that serves the page; cameras may be added before and while it does.

    Args:
        address: where to listen; port 0 takes any that is free, and `url` says which.
        classes: of all cameras' masks, in the colours to draw them in.
        style: what is drawn until a viewer wants it otherwise.
        token: what viewers have to know; None for none, on loopback.
        run: asked how a run of files is, which the page then shows, too; what is added are the places of those at work.

    Raises:
        OutputError: a package is missing, the address is open to other machines and there is no token, or the token is
            too short. On entering: the address is in use.
    """

    def __init__(
        self,
        address: Address,
        classes: Sequence[PixelClass],
        *,
        style: Style = "fill",
        token: str | None = None,
        run: RunFacts | None = None,
    ) -> None:
        refuse_no_page(address, token)
        self._address = address
        self._token = token
        self._view = OnView(tuple(classes), style, run)
        self._pictures_bell, self._news_bell = Bell(), Bell()
        self._journal = Journal(self._view, self._news_bell)
        self._studio = Studio(self._view.feeds, bell=self._pictures_bell, on_second=self._journal.take_stock)
        self._is_open = True
        self._server: ViewServer | None = None

    def add(self, status: CameraStatus) -> CameraFeed:
        """A `Sink` that shows a camera's results under the name of its status.

        Raises:
            OutputError: another camera has that name.
        """
        if any(feed.name == status.name for feed in self._view.feeds):
            raise OutputError(f"{status.name}: two cameras have this name; give each its own: front=rtsp://...")
        view, wake = self._view, self._studio.wake
        feed = CameraFeed(status, view.classes, style=view.style, wake=wake)
        view.feeds.append(feed)
        return feed

    def tell(self, event: CameraEvent) -> None:
        """A camera has changed its state; any thread may say so."""
        self._journal.tell(event)

    @property
    def url(self) -> str:
        """Of the page, without the token."""
        return self._address.url

    @property
    def invitation(self) -> str:
        """The same, and what to know."""
        return f"live view at {self.url}" + (", the first time with ?token=... at its end" if self._token else "")

    def __enter__(self) -> Self:
        try:
            from .app import ViewApp, ViewServer  # these need the packages that are asked for above
        except ModuleNotFoundError as exc:  # which lack one of their own
            raise OutputError(f"--serve needs {exc.name}: {install_command('serve')}") from exc

        listener = listen(self._address)
        self._address = replace(self._address, port=listener.getsockname()[1])
        app = ViewApp(self._view, self._journal, self._pictures_bell, is_open=lambda: self._is_open)
        self._server = ViewServer(
            app.asgi(self._address, self._token), listener, on_start=self._begin, on_stop=self._leave
        )
        self._server.start()
        self._studio.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._studio.stop()
        if self._server:
            self._server.stop()

    def _begin(self) -> None:
        """On the server's loop."""
        for bell in (self._pictures_bell, self._news_bell):
            bell.hang()

    def _leave(self) -> None:
        """On the server's loop: every stream wakes up, and ends."""
        self._is_open = False
        for bell in (self._pictures_bell, self._news_bell):
            bell.ring()
            bell.unhang()


@dataclass(frozen=True, slots=True)
class Address:
    """A host, by name or number and without brackets, and a port; 0 for any that is free."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it. Of names this is believed of `localhost` alone."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def url(self) -> str:
        """For a browser; where it listens on every address of the machine, by one that others know."""
        known = {"0.0.0.0": _own_address, "::": socket.gethostname}.get(self.host)  # noqa: S104 - compared, not bound
        return f"http://{Address(known(), self.port) if known else self}/"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _own_address() -> str:
    """By number, as few phones find a machine by its name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        try:
            own.connect(
                ("192.0.2.1", 9)
            )  # a network that nobody has: the system only looks up its way, and sends nothing
        except OSError:
            return socket.gethostname()
        return str(own.getsockname()[0])


def parse_address(text: str) -> Address:
    """`HOST:PORT`, or a port alone, which is on 127.0.0.1.

    Raises:
        OutputError: it is neither.
    """
    match = re.fullmatch(r"(?:(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^:\[\]/@\s]+)):)?(?P<port>[0-9]{1,5})", text)
    if not match or int(match["port"]) > _LARGEST_PORT:
        raise OutputError(
            f"--serve {text}: is no address; name one like 127.0.0.1:8080, [::1]:8080 or 8080", usage=True
        )
    return Address(match["v6"] or match["name"] or "127.0.0.1", int(match["port"]))


def listen(address: Address) -> socket.socket:
    """A socket that takes connections from now on.

    Raises:
        OutputError: the address is in use, not of this machine, or not for this user.
    """
    try:
        family, _, _, _, name = _resolved(address)
        listener = socket.create_server((name[0], name[1]), family=family)
    except OSError as exc:
        # Of the system's errors without what Python adds, which says the address again; of names not found as it is.
        reason = os.strerror(exc.errno) if exc.errno and not isinstance(exc, socket.gaierror) else exc.strerror
        raise OutputError(f"--serve {address}: cannot be listened on ({reason}); name another HOST:PORT") from exc
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    return listener


def _resolved(address: Address) -> tuple[socket.AddressFamily, int, int, str, tuple[object, ...]]:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return min(found, key=lambda item: item[0] != socket.AF_INET)  # `localhost` is 127.0.0.1 to most who type it
