"""JPEGs as cameras send them over HTTP, each a part of one long answer."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.numbered_camera import CLOCK, Film, NumberedCamera
from tests.support.odd_http import head


def pictures(number: int = 40) -> list[bytes]:
    camera = NumberedCamera(Film(rate=25, codec="mjpeg"))
    try:
        return [camera.shoot(index, pts=index * CLOCK // 25).bytes for index in range(number)]
    finally:
        camera.close()


PICTURES = pictures()


def part(boundary: str, length: int | None = None, line_end: str = "\r\n", picture: bytes = b"") -> bytes:
    lines = [
        boundary,
        "Content-Type: image/jpeg",
        *([f"Content-Length: {length}"] if length is not None else []),
        "",
        "",
    ]
    return line_end.join(lines).encode() + picture + line_end.encode()


def in_parts(boundary: str, length: Callable[[bytes], int | None] = len, line_end: str = "\r\n") -> list[bytes]:
    return [part(boundary, length(picture), line_end, picture) for picture in PICTURES]


def mixed(boundary: str) -> bytes:
    return head(Content_Type=f"multipart/x-mixed-replace; boundary={boundary}")
