"""Show the overlay in a window while it is made: the newest picture, whatever the window's own speed."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import cv2
from av.video.frame import VideoFrame

from ..decode.pixels import color_range, converted, matrix
from ..errors import OutputError
from ..frames import SegmentedFrame, Sink
from ..system.helper_process import HelperGone, HelperProcess
from .window_process import HEAD

log = logging.getLogger(__name__)

_START_S = 20.0  # for a toolkit to load and to find its display
_FINISH_S = 0.5  # for the window to close by itself


class WindowSink(Sink):
    """A `Sink` with a window in a process of its own; `write` only remembers the result.

    Args:
        title: of the window.
        render: draws a result; called on a thread of this sink, so it shares no `Overlay` with another one.
        on_close: called once, on another thread, where the user closes the window or presses q or Esc in it.

    Raises:
        OutputError: the installed OpenCV has no windows, or there is no display. Also on entering.
    """

    def __init__(
        self,
        title: str,
        render: Callable[[SegmentedFrame], VideoFrame],
        *,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        refuse_no_window()
        self._title = title
        self._render = render
        self._on_close = on_close
        self._newest: SegmentedFrame | None = None
        self._changed = threading.Condition()
        self._is_over = False
        self._settled = threading.Event()  # whether there is a window is known
        self._is_ready = self._was_closed = False
        self._reason = "no display answers"
        self._thread = threading.Thread(target=self._draw, name=f"window {title}", daemon=True)

    def write(self, result: SegmentedFrame) -> None:
        with self._changed:
            self._newest = None if self._is_over else result
            self._changed.notify()

    def _draw(self) -> None:
        while (result := self._next()) is not None:
            picture = self._render(result)
            shown = converted(picture, "bgr24", of=(matrix(picture), color_range(picture)))
            with suppress(HelperGone):  # `_end` tells it
                self._helper.send(HEAD.pack(shown.height, shown.width) + shown.to_ndarray().tobytes())

    def _next(self) -> SegmentedFrame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._is_over)
            result, self._newest = self._newest, None
            return None if self._is_over else result

    def _hear(self, words: dict[str, Any]) -> None:
        """On the thread that listens to the process."""
        self._is_ready = self._is_ready or words["event"] == "ready"
        self._reason = words.get("reason", self._reason)
        self._settled.set()
        if words["event"] == "closed":
            self._was_closed = True
            log.info("%s: the window was closed", self._title)
            if self._on_close:
                self._on_close()

    def _end(self) -> None:
        """There is no window any more; or never was."""
        if self._is_ready and not self._was_closed and not self._is_over:
            log.warning("%s: the window is gone, as its display is; the run goes on", self._title)
        self._settled.set()
        self._stop()

    def _stop(self) -> None:
        with self._changed:
            self._is_over, self._newest = True, None
            self._changed.notify()

    def __enter__(self) -> Self:
        self._helper = HelperProcess("live.window_process", {"title": self._title}, self._hear, on_end=self._end)
        try:
            self._helper.start()
            self._settled.wait(_START_S)
        except HelperGone:
            self._settled.set()
        if not self._is_ready:
            self._helper.__exit__(None, None, None)
            raise OutputError(f"--show: no window can be opened ({self._reason}); --serve shows it in a browser")
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._stop()
        self._thread.join(_FINISH_S)  # it may be waiting for a window that takes nothing
        if self._thread.is_alive():
            self._helper.kill()
            self._thread.join(_FINISH_S)
        self._helper.finish(_FINISH_S)
        self._helper.__exit__(kind, exc, at)


def refuse_no_window() -> None:
    """Look whether a window can be had, before anything is opened.

    Raises:
        OutputError: it cannot, and what to do.
    """
    if re.search(r"GUI:\s+NONE", cv2.getBuildInformation()):
        raise OutputError(
            "--show: the installed OpenCV has no windows; "
            "pip uninstall opencv-python-headless, then pip install opencv-python; or take --serve"
        )
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise OutputError("--show: there is no display here (DISPLAY is not set); use ssh -X, or --serve")
