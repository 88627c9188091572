"""The process that shows pictures in a window. `main` runs in it; `WindowSink` starts it.

A toolkit wants the main thread of its process on some systems, and ends the process when its display goes away: here
that is nobody else's.
"""

from __future__ import annotations

import struct
import threading
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from ..system.helper_process import say, take_orders

HEAD = struct.Struct(">II")  # height and width of a BGR picture, whose bytes follow
_KEYS = (ord("q"), ord("Q"), 27)  # 27 is Esc
_LOOK_MS = 15  # between two looks at the keyboard, and for a newer picture


def main() -> None:
    """Reads orders and pictures until there are no more, and shows the newest.

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
        while len(head := pipe.read(HEAD.size)) == HEAD.size:
            height, width = HEAD.unpack(head)
            content = pipe.read(height * width * 3)
            if len(content) < height * width * 3:
                break
            self.picture = np.frombuffer(content, np.uint8).reshape(height, width, 3)
        self.ended = True
