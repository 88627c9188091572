"""What a client asks of the RTSP server, and whether it knows the password."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Literal

Scheme = Literal["digest", "basic"]

_REALM, _NONCE = "numbers", "b7c5a1f0"


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request; none that clients send to us has a body."""

    method: str
    url: str
    headers: dict[str, str]  # names in lower case

    def proves(self, scheme: Scheme, user: str, password: str) -> bool:
        """Whether its sender is `user`."""
        given = self.headers.get("authorization", "")
        if scheme == "basic":
            return given == "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        fields = dict(re.findall(r'(\w+)="([^"]*)"', given))
        known, asked = _md5(f"{user}:{_REALM}:{password}"), _md5(f"{self.method}:{fields.get('uri')}")
        return fields.get("username") == user and fields.get("response") == _md5(f"{known}:{_NONCE}:{asked}")


def challenge(scheme: Scheme) -> str:
    """The header that asks for a password."""
    if scheme == "basic":
        return f'WWW-Authenticate: Basic realm="{_REALM}"'
    return f'WWW-Authenticate: Digest realm="{_REALM}", nonce="{_NONCE}"'


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


async def read_request(reader: asyncio.StreamReader) -> Request:
    """The next one; what clients report over RTCP in between is passed over.

    Raises:
        IncompleteReadError: the client is gone.
    """
    while (first := await reader.readexactly(1)) == b"$":
        head = await reader.readexactly(3)
        await reader.readexactly(int.from_bytes(head[1:]))
    lines = (first + await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, url, _ = lines[0].split(" ", 2)
    headers = (line.partition(":") for line in lines[1:] if line)
    return Request(method, url, {name.strip().lower(): value.strip() for name, _, value in headers})
