"""uvicorn on a thread of its own, which ends within a second whatever its viewers do."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from ..errors import OutputError

_START_S = 10.0
_GOODBYE_S = 0.1  # for answers to end by themselves; what does not read is cut off then
_JOIN_S = 2.0
_MOST_CONNECTIONS = 256


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
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="error",
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
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
            raise OutputError(f"--serve: the server did not start within {_START_S:.0f} s")

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
