"""The live view's addresses, and uvicorn, which serves them and ends within a second whatever its viewers do.

/                                the page
/pictures?camera=NAME            pictures and masks for the page, of one or several cameras, without end
/events                          what happens, as server-sent events
/cameras/NAME/overlay.mjpg       the overlay, for players
/cameras/NAME/snapshot.jpg       one picture at full size, or .png; ?alpha=0.4&classes=road,car&style=outline
/healthz, /metrics               for machines
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..encode.overlay import STYLES
from ..errors import OutputError, RoadmaskError
from ..spec import select_classes
from .events import Journal
from .feed import Bell, CameraFeed, OnView, Rendition
from .guard import Guard
from .health import CameraCollector, RunCollector, exposition, health, run_health
from .live_view import Address
from .pictures import snapshot

_PAGE = Path(__file__).parent / "page"
_IDLE_S = 5.0  # without a picture, after which something is sent, to find out who has gone
_LOOK_S = 1.0  # after which a viewer asks again, should what it asked for have come to nothing
_IDLE_MESSAGE = bytes(12)  # three empty parts
_BOUNDARY = b"--picture\r\n"
_NO_BUFFERING = {"X-Accel-Buffering": "no"}  # what proxies hold back comes late
_START_S = 10.0
_GOODBYE_S = 0.1  # for answers to end by themselves; what does not read is cut off then
_JOIN_S = 2.0
_MOST_SILENT = 256  # connections without a whole request
_REQUEST_S = 5.0  # for a request to be whole, once it was seen that it is not


class ViewApp:
    """Answers requests; `is_open` turns false when the view is left, and every stream ends then."""

    def __init__(self, view: OnView, journal: Journal, bell: Bell, *, is_open: Callable[[], bool]) -> None:
        self._view = view
        self._journal = journal
        self._bell = bell
        self._is_open = is_open
        self._snapshots = asyncio.Lock()  # one at a time: however many are asked for, the run keeps the other cores
        self._registry = CollectorRegistry()
        self._registry.register(RunCollector(view.run) if view.run else CameraCollector(view))

    def asgi(self, address: Address, token: str | None) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self._page),
                Mount("/page", StaticFiles(directory=_PAGE)),
                Route("/pictures", self._pictures),
                Route("/events", self._events),
                Route("/cameras/{name:path}/overlay.mjpg", self._overlay),
                Route("/cameras/{name:path}/snapshot.jpg", self._snapshot),
                Route("/cameras/{name:path}/snapshot.png", self._snapshot),
                Route("/healthz", self._healthz),
                Route("/metrics", self._metrics),
            ],
            middleware=[Middleware(Guard, address=address, token=token)],
            exception_handlers={HTTPException: _plainly},
        )

    async def _page(self, _: Request) -> Response:
        return FileResponse(_PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    async def _pictures(self, request: Request) -> Response:
        names = request.query_params.getlist("camera")
        feeds = [self._feed(name) for name in names] or list(self._view.feeds)
        renditions = [(feed, feed.pictures) for feed in feeds]
        return _endless(request, self._made(renditions, idle=_IDLE_MESSAGE), "application/octet-stream")

    async def _overlay(self, request: Request) -> Response:
        feed = self._feed(request.path_params["name"])
        kind = "multipart/x-mixed-replace; boundary=picture"
        return _endless(request, _parts(self._made([(feed, feed.overlays)], idle=None)), kind)

    async def _events(self, request: Request) -> Response:
        return _endless(request, self._journal.stream(self._is_open), "text/event-stream")

    async def _snapshot(self, request: Request) -> Response:
        feed = self._feed(request.path_params["name"])
        newest = feed.newest
        if newest is None:
            raise HTTPException(503, f"{feed.name}: no picture has come yet; try again when it is running")
        try:
            alpha = float(request.query_params.get("alpha", "0.5"))
            names = [name for name in request.query_params.get("classes", "").split(",") if name]
            drawn = select_classes(self._view.classes, only=names)
            style = request.query_params.get("style", self._view.style).replace(" ", "+")  # which + means in a URL
        except (ValueError, RoadmaskError) as exc:
            raise HTTPException(400, str(exc)) from exc
        if not 0 <= alpha <= 1:
            raise HTTPException(400, f"alpha {alpha:g} is not between 0 and 1")
        if style not in STYLES:
            raise HTTPException(400, f"style {style!r:.40} is none of {', '.join(STYLES)}")
        suffix = Path(request.url.path).suffix
        async with self._snapshots:
            content = await run_in_threadpool(
                snapshot, newest, self._view.classes, alpha=alpha, style=style, drawn=drawn, suffix=suffix
            )
        return Response(content, media_type="image/jpeg" if suffix == ".jpg" else "image/png")

    async def _healthz(self, _: Request) -> Response:
        is_well, report = run_health(self._view.run()) if self._view.run else health(tuple(self._view.feeds))
        return JSONResponse(report, 200 if is_well else 503)

    async def _metrics(self, request: Request) -> Response:
        content, content_type = exposition(self._registry, request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": content_type})

    def _feed(self, name: str) -> CameraFeed:
        for feed in self._view.feeds:
            if feed.name == name:
                return feed
        known = ", ".join(feed.name for feed in self._view.feeds)
        raise HTTPException(404, f"no camera is called {name}; there are {known or 'none'}")

    async def _made(
        self, renditions: Sequence[tuple[CameraFeed, Rendition]], *, idle: bytes | None
    ) -> AsyncIterator[bytes]:
        """The newest of each, whenever it is newer than the one sent before; the last ones again where nothing comes.

        Whoever takes these waits for the viewer, so a slow one asks for fewer and leaves none waiting anywhere.
        """
        sent = [0] * len(renditions)
        last_sent = time.monotonic()
        while self._is_open():
            for position, (_, rendition) in enumerate(renditions):
                number, content = rendition.made
                if number != sent[position]:
                    sent[position] = number
                    yield content
                    last_sent = time.monotonic()
            if all(rendition.made[0] == number for (_, rendition), number in zip(renditions, sent, strict=True)):
                for feed, rendition in renditions:
                    feed.want(rendition)
                if time.monotonic() - last_sent > _IDLE_S:
                    if idle is None:
                        sent = [0] * len(renditions)
                    else:
                        yield idle
                    last_sent = time.monotonic()
                else:
                    await self._bell.wait(_LOOK_S)


async def _parts(pictures: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """As multipart; each part's end is sent with it, as browsers show a part only when it has ended."""
    yield _BOUNDARY
    async for picture in pictures:
        yield b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n%b" % (len(picture), picture, _BOUNDARY)


def _endless(request: Request, content: AsyncIterator[bytes] | AsyncIterator[str], media_type: str) -> Response:
    if request.method == "HEAD":
        return Response(media_type=media_type)
    return StreamingResponse(content, media_type=media_type, headers=_NO_BUFFERING)


async def _plainly(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    return PlainTextResponse(f"{exc.detail}\n", exc.status_code, exc.headers)


class _Connection(H11Protocol):
    """Those who connect and ask for nothing are sent away, the first who came first: they shut nobody out."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.began, self._seen_silent_in = self.loop.time(), object()
        silent = [each for each in self.connections if isinstance(each, _Connection) and each.is_silent]
        if len(silent) > _MOST_SILENT:
            min(silent, key=lambda each: each.began).transport.abort()
        self.loop.call_later(_REQUEST_S, self._look)

    @property
    def is_silent(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        if self.is_silent and self._seen_silent_in is self.cycle:
            self.transport.abort()
            return
        self._seen_silent_in = self.cycle if self.is_silent else object()
        self.loop.call_later(_REQUEST_S, self._look)


class ViewServer:
    """Serves `app` on `listener`, which it closes in the end.

    Args:
        app: to serve.
        listener: a socket that listens.
        on_start: called on the event loop before the first request.
        on_stop: called on the event loop when it shall end; endless answers are to end then.
    """

    def __init__(
        self, app: ASGIApp, listener: socket.socket, *, on_start: Callable[[], None], on_stop: Callable[[], None]
    ) -> None:
        config = uvicorn.Config(
            app,
            http=_Connection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="error",
            proxy_headers=False,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._listener = listener
        self._on_start = on_start
        self._on_stop = on_stop
        self._started = threading.Event()
        self._ending = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="live view: server", daemon=True)

    def start(self) -> None:
        """Returns when it takes requests.

        Raises:
            OutputError: it does not start.
        """
        self._thread.start()
        if not self._started.wait(_START_S):
            raise OutputError(f"--serve: the server did not start within {_START_S:.0f} s; try again, or another port")

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        with self._listener, asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._on_start()
        serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        self._started.set()  # the socket listens already: who connects now is answered in a moment
        await asyncio.wait([serving, asyncio.create_task(self._ending.wait())], return_when=asyncio.FIRST_COMPLETED)
        self._on_stop()
        if self._server.server_state.tasks:
            await asyncio.sleep(_GOODBYE_S)
        for connection in tuple(self._server.server_state.connections):
            connection.transport.abort()
        self._server.should_exit = True
        await serving
