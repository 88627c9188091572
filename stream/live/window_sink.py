"""Show the overlay in a window while it is made: the newest picture, whatever the window's own speed.

A toolkit wants the main thread of its process on some systems, and ends the process when its display goes away: so the
window has a process of its own, in which `main` runs.
"""

from __future__ import annotations

import logging
import os
import re
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, BinaryIO, Self

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ..decode.pixels import color_range, converted, matrix
from ..errors import OutputError
from ..frames import SegmentedFrame, Sink
from ..system.helper_process import HelperGone, HelperProcess, say, take_orders

log = logging.getLogger(__name__)

_START_S = 20.0  # for a toolkit to load and to find its display
_FINISH_S = 0.5  # for the window to close by itself
_HEAD = struct.Struct(">II")  # height and width of a BGR picture, whose bytes follow
_KEYS = (ord("q"), ord("Q"), 27)  # 27 is Esc
_LOOK_MS = 15  # between two looks at the keyboard, and for a newer picture


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
                self._helper.send(_HEAD.pack(shown.height, shown.width) + shown.to_ndarray().tobytes())

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
        self._helper = HelperProcess("live.window_sink", {"title": self._title}, self._hear, on_end=self._end)
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


def main() -> None:
    """In that process: reads orders and pictures until there are no more, and shows the newest.

    Says `ready` when there is a window, `failed` with a reason if there cannot be one, `closed` when its user has
    closed it.
    """
    orders, pipe = take_orders()
    title = orders["title"]
    try:
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
    except cv2.error as exc:
        say(event="failed", reason=exc.err)
        return
    say(event="ready")
    newest = _Newest(pipe)
    if _show(title, newest):
        say(event="closed")


def _show(title: str, newest: _Newest) -> bool:
    """Returns whether its user has closed it, when there is nothing to show any more."""
    shown: NDArray[np.uint8] | None = None
    while not newest.ended:
        picture = newest.picture
        if picture is not None and picture is not shown:
            cv2.imshow(title, picture)
            if shown is None or picture.shape != shown.shape:
                cv2.resizeWindow(title, picture.shape[1], picture.shape[0])
            shown = picture
        if cv2.waitKey(_LOOK_MS) & 0xFF in _KEYS or cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) < 1:
            return True
    return False


class _Newest:
    """The last picture that came, taken from the pipe by a thread of its own."""

    def __init__(self, pipe: BinaryIO) -> None:
        self.picture: NDArray[np.uint8] | None = None
        self.ended = False
        threading.Thread(target=self._read, args=(pipe,), daemon=True).start()

    def _read(self, pipe: BinaryIO) -> None:
        while len(head := pipe.read(_HEAD.size)) == _HEAD.size:
            height, width = _HEAD.unpack(head)
            content = pipe.read(height * width * 3)
            if len(content) < height * width * 3:
                break
            self.picture = np.frombuffer(content, np.uint8).reshape(height, width, 3)
        self.ended = True
