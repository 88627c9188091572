"""Whether `--show` can open a window. Most machines need none, so that it cannot is no fault."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
from av.video.frame import VideoFrame

from ..errors import OutputError
from ..frames import SegmentedFrame
from ..live.window_sink import WindowSink
from .doctor import Finding, first_line


def examine() -> Iterator[Finding]:
    try:
        with WindowSink("roadmask doctor", _picture):
            pass
    except OutputError as exc:
        reason, _, advice = first_line(exc).removeprefix("--show: ").partition("; ")
        yield Finding("--show", "ok", f"not to be had: {reason}", advice)
    else:
        yield Finding("--show", "ok", f"opens a window ({cv2.currentUIFramework() or 'of the system'})")


def _picture(result: SegmentedFrame) -> VideoFrame:
    return result.frame.picture
