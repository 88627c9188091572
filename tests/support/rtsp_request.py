"""What a client asks of the RTSP server, and whether it knows the password."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Literal

Scheme = Literal["digest", "basic", "SHA-256", "SHA-256 first", "SHA-1"]

_REALM = "numbers"


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request; none that clients send to us has a body."""

    method: str
    url: str
    headers: dict[str, str]  # names in lower case

    def proves(self, scheme: Scheme, user: str, password: str, nonce: str) -> bool:
        """Whether its sender is `user`, and has answered the last challenge."""
        given = self.headers.get("authorization", "")
        if scheme == "basic":
            return given == "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        fields = {name: quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', given)}
        hashed = _sha256 if scheme.startswith("SHA-256") else _md5
        known, asked = hashed(f"{user}:{_REALM}:{password}"), hashed(f"{self.method}:{fields.get('uri')}")
        quality = [fields.get(name, "") for name in ("nc", "cnonce", "qop")] if scheme == "SHA-256" else []
        proof = hashed(":".join([known, nonce, *quality, asked]))
        return fields.get("username") == user and fields.get("response") == proof


def challenges(scheme: Scheme, nonce: str) -> list[str]:
    """The headers that ask for a password."""
    digest = f'WWW-Authenticate: Digest realm="{_REALM}", nonce="{nonce}"'
    return {
        "basic": [f'WWW-Authenticate: Basic realm="{_REALM}"'],
        "digest": [digest],
        "SHA-256": [f'{digest}, algorithm=SHA-256, qop="auth-int, auth"'],
        "SHA-256 first": [f"{digest}, algorithm=SHA-256", f"{digest}, algorithm=MD5"],
        "SHA-1": [f"{digest}, algorithm=SHA-1"],
    }[scheme]


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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
