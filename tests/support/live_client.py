"""Reads the live view as its page does, with sockets and nothing else."""

from __future__ import annotations

import http.client
import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from roadmask.stream.live.live_view import LiveView


@dataclass(frozen=True, slots=True)
class Message:
    """A picture with its mask, as the page gets them."""

    header: dict[str, Any]
    picture: NDArray[np.uint8]  # (height, width, 3) BGR
    mask: NDArray[np.uint8]


def connection_to(view: LiveView) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", int(view.url.rstrip("/").rpartition(":")[2]), timeout=10)


def get(view: LiveView, path: str, headers: dict[str, str] | None = None) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, headers and body."""
    connection = connection_to(view)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


class Viewer:
    """One long response, as a context manager."""

    def __init__(self, view: LiveView, path: str = "/pictures") -> None:
        self._connection = connection_to(view)
        self._connection.request("GET", path)
        self.response = self._connection.getresponse()

    def message(self) -> Message:
        """The next picture."""
        while not any(lengths := struct.unpack(">3I", self._take(12))):
            pass  # nothing new: the server only looks who is still there
        header, picture, mask = (self._take(length) for length in lengths)
        content = json.loads(header)
        changes = np.frombuffer(zlib.decompress(mask), np.uint8).reshape(content["height"], content["width"])
        decoded = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        return Message(content, decoded, np.bitwise_xor.accumulate(changes, axis=0))

    def event(self) -> tuple[str, dict[str, Any]]:
        """The next of the server-sent events: its name and data."""
        fields = dict(self._line().split(": ", 1) for _ in range(3))
        assert not self._line()
        return fields["event"], json.loads(fields["data"])

    def _line(self) -> str:
        return self.response.readline().decode().rstrip("\n")

    def _take(self, count: int) -> bytes:
        content = self.response.read(count)
        if len(content) < count:
            raise EOFError
        return content

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()
        self._connection.close()
