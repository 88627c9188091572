"""Where a run is looked at while it runs: a page, a window, standard output, a server that passes it on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ..camera.status import CameraState, CameraStatus
from ..errors import OutputError
from ..frames import Sink
from ..network.model import Model
from ..run.outputs import overlay_of
from ..run.settings import SegmentSettings
from ..system.stop import Stop
from .publisher import is_published, parse_target
from .stream_sink import StreamFormat, StreamSink
from .window_sink import WindowSink, refuse_no_window

if TYPE_CHECKING:
    from .feed import CameraFeed, RunFacts
    from .live_view import LiveView

log = logging.getLogger(__name__)

STDOUT = "-"


@dataclass(frozen=True, slots=True)
class Views:
    """What the command's options ask for; all are made of the overlay as the settings have it."""

    address: str | None = None  # of the page in a browser
    token: str | None = field(default=None, repr=False)  # that the page asks for
    window: bool = False
    stream: str | None = field(default=None, repr=False)  # "-" or a URL to publish to, password and all
    stream_format: StreamFormat = "mpegts"  # on standard output
    timeout_s: float = 10.0  # of a server that is published to

    @property
    def any(self) -> bool:
        return bool(self.address or self.window or self.stream)

    @property
    def are_enough(self) -> bool:
        """Whether a file's run makes nothing else, unless it is asked to; the page only shows what it makes."""
        return bool(self.window or self.stream)

    def refuse_bad(self, jobs: Sequence[SegmentSettings]) -> None:
        """Say before the work what cannot be.

        Raises:
            OutputError: several sources for one stream, an address that nothing can be sent to, no window, or a page
                that lacks a package or is open to everybody.
        """
        if self.stream and len(jobs) > 1:
            raise OutputError(f"{len(jobs)} sources cannot go into one stream; run them apart")
        if self.stream and self.stream != STDOUT:
            parse_target(self.stream, timeout_s=self.timeout_s)
        if self.window:
            refuse_no_window()
        if self.address is not None:
            from .live_view import parse_address, refuse_no_page

            refuse_no_page(parse_address(self.address), self.token)

    @contextmanager
    def places(self, job: SegmentSettings, model: Model, run: RunFacts, count: int) -> Iterator[Places]:
        """The page of a run of files, drawn as this one is, with so many of them at a time."""
        with self.page(job, model, run) as page:
            if page:
                log.info("%s", page.invitation)
            yield Places(page, count)

    def page(
        self, job: SegmentSettings, model: Model, run: RunFacts | None = None
    ) -> AbstractContextManager[LiveView | None]:
        """Of all cameras, drawn as this one is; or of files, of which `run` is asked how they are."""
        if self.address is None:
            return nullcontext()
        from .live_view import LiveView, parse_address  # and asyncio, for which no other run should wait

        classes = job.palette.colored(model.spec.classes)
        return LiveView(parse_address(self.address), classes, style=job.style, token=self.token, run=run)

    def sinks(self, job: SegmentSettings, model: Model, stop: Stop) -> list[Sink]:
        """The window and the stream of one source; where there is nothing else to run for, their end is the run's."""
        sinks: list[Sink] = []
        if self.window:
            sinks.append(WindowSink(job.name, overlay_of(job, model).render, on_close=stop.set))
        is_all = not job.outputs and not self.window and self.address is None
        if self.stream == STDOUT:
            sinks.append(
                StreamSink(
                    overlay_of(job, model).render,
                    format=self.stream_format,
                    on_gone=stop.set if is_all else None,
                    stop=stop,
                    encoding=job.encoding(model.device),
                )
            )
        elif self.stream:
            from .publish_sink import PublishSink

            sinks.append(
                PublishSink(
                    self.stream,
                    overlay_of(job, model).render,
                    timeout_s=self.timeout_s,
                    must_arrive=is_all and job.file is not None,
                    stop=stop,
                    encoding=job.encoding(model.device),
                )
            )
        return sinks


class Places:
    """Where files that are at work are shown on a page: their names are numbers from 1.

    Args:
        page: `None` for none.
        count: so many at a time.
    """

    def __init__(self, page: LiveView | None, count: int) -> None:
        self._free: SimpleQueue[CameraFeed | None] = SimpleQueue()
        for number in range(count):
            self._free.put(page.add(CameraStatus(str(number + 1), page.tell)) if page else None)

    @contextmanager
    def taken(self, name: str) -> Iterator[CameraFeed | None]:
        """One, while a file of this name is at work; where there is no page, none."""
        place = self._free.get()
        try:
            if place:
                place.status.change(CameraState.CONNECTING, name)
            yield place
        finally:
            if place:
                place.status.change(CameraState.ENDED, name)
            self._free.put(place)


def is_stream(output: str | None) -> bool:
    """Whether `-o` names a stream, and no file or folder."""
    return output is not None and (output == STDOUT or is_published(output))
