"""Reaching a camera, being let in, and where it may send us: passwords go to nobody but the host that they are for."""

from __future__ import annotations

import base64
import errno
import hashlib
import re
import secrets
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from http.client import HTTPException
from urllib.parse import urljoin

import av

from ..errors import SourceError
from ..system.url import UnclearUrl, Url, parse_url

MOST_REDIRECTS = 5
_HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
_CHALLENGE = re.compile(r"(Basic|Digest)\s+(.*?)(?=,\s*(?:Basic|Digest)\s|$)", re.IGNORECASE | re.DOTALL)
_FIELD = re.compile(r'([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


def sent_on(address: Url, location: str, *, allow: bool) -> Url:
    """The address that a server names in place of `address`; with the same password where it is the same server.

    Args:
        address: that was asked for.
        location: whole, or relative to it.
        allow: follow it to another host.

    Raises:
        SourceError: it may not be followed.
    """
    try:
        there = parse_url(urljoin(str(address.without_credentials()), location))
    except (UnclearUrl, ValueError):
        raise SourceError("it sends us on to an address that cannot be read; name the one it is at") from None
    if there.scheme.rstrip("s") != address.scheme.rstrip("s"):
        raise SourceError(f"it sends us on to {there.scheme}://, which is not followed; name the address it is at")
    if there.origin == address.origin and there.scheme >= address.scheme:  # not from https to http
        return replace(there, user=address.user, password=address.password)
    if not allow:
        host = f"{there.host}{'' if there.port is None else f':{there.port}'}"
        raise SourceError(f"it sends us on to another host, {host}; --allow-redirects follows it, without the password")
    return there


@cache
def unverified() -> ssl.SSLContext:
    """Cameras sign their certificates themselves, and many are old; it is enough that nobody reads along."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def connected(address: Url, timeout_s: float | None) -> socket.socket:
    """A connection, over TLS where the scheme says so; to connect may take so long. Raises `OSError`."""
    host, port = address.connect_to
    with ExitStack() as stack, naming_failures():
        server = stack.enter_context(socket.create_connection((host, port), timeout_s))
        if address.scheme.endswith("s"):
            server = stack.enter_context(unverified().wrap_socket(server, server_hostname=host))
        server.settimeout(None)
        stack.pop_all()
        return server


@contextmanager
def naming_failures() -> Iterator[None]:
    """What fails while one connects and asks, as errors that `reason_of` knows."""
    try:
        yield
    except UnicodeError as exc:
        raise OSError(errno.EHOSTUNREACH, "no name of a host") from exc
    except ssl.SSLError as exc:
        raise OSError(errno.EIO, "TLS failed") from exc
    except HTTPException as exc:
        if isinstance(exc, OSError):
            raise
        if str(exc).startswith("RTSP/"):
            raise SourceError("what answers speaks RTSP: write rtsp:// in place of http://") from None
        raise av.error.InvalidDataError(0, "no HTTP") from None


class Login:
    """Answers a server's question for a password (RFC 7617 and RFC 7616), by the best way of those that it offers.

    Args:
        address: with user and password, or without.
    """

    def __init__(self, address: Url) -> None:
        self.is_known = bool(address.user or address.password)
        self._user, self._password = address.credentials
        self._kind, self._fields = "", dict[str, str]()
        self._count = 0

    def ask(self, challenges: Sequence[str]) -> bool:
        """Take in the `WWW-Authenticate` headers; whether there is something to answer.

        Raises:
            SourceError: it asks in no way that is known here.
        """
        asked = [(kind.lower(), _fields(text)) for header in challenges for kind, text in _CHALLENGE.findall(header)]
        if not self.is_known or not challenges:
            return False
        known = [(kind, fields) for kind, fields in asked if kind == "basic" or _hash_of(fields)]
        if not known:
            ways = (
                " or ".join(f"{kind} {fields.get('algorithm', '')}".strip() for kind, fields in asked) or "another way"
            )
            raise SourceError(
                f"it asks for the password by {ways}, which is not supported; allow Digest or Basic in it"
            )
        self._kind, self._fields = next((item for item in known if item[0] == "digest"), known[0])
        self._count = 0
        return True

    def header(self, method: str, uri: str) -> str | None:
        """The value of `Authorization` for a request; `None` where nothing was asked."""
        if self._kind == "basic":
            return basic(self._user, self._password)
        if self._kind != "digest":
            return None
        self._count += 1
        fields, name = self._fields, _hash_of(self._fields)
        assert name

        def hashed(*parts: str) -> str:
            return hashlib.new(name, ":".join(parts).encode()).hexdigest()

        nonce, own, count = fields.get("nonce", ""), secrets.token_hex(8), f"{self._count:08x}"
        known = hashed(self._user, fields.get("realm", ""), self._password)
        is_session = fields.get("algorithm", "").lower().endswith("-sess")
        if is_session:
            known = hashed(known, nonce, own)
        asked, quality = hashed(method, uri), ["auth"] if "qop" in fields else []
        proof = hashed(known, nonce, *([count, own, *quality] if quality else []), asked)
        given = {
            "username": self._user,
            "realm": fields.get("realm", ""),
            "nonce": nonce,
            "uri": uri,
            "response": proof,
        }
        given |= {"opaque": fields["opaque"]} if "opaque" in fields else {}
        given |= {"cnonce": own} if quality or is_session else {}
        text = ", ".join(f'{name}="{value}"' for name, value in given.items())
        text += f", algorithm={fields['algorithm']}" if "algorithm" in fields else ""
        return f"Digest {text}" + (f", qop=auth, nc={count}" if quality else "")


def basic(user: str, password: str) -> str:
    """The value of `Authorization` by the plain way (RFC 7617), of servers and of proxies."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _fields(text: str) -> dict[str, str]:
    return {name.lower(): quoted or bare for name, quoted, bare in _FIELD.findall(text)}


def _hash_of(fields: dict[str, str]) -> str | None:
    """Hashlib's name of what a digest is made with; `None` where that is not known, or more than it is asked for."""
    if "qop" in fields and "auth" not in re.split(r"[\s,]+", fields["qop"].lower()):
        return None
    name = _HASHES.get(re.sub(r"-sess$", "", fields.get("algorithm", "MD5"), flags=re.IGNORECASE).upper())
    return name if name in hashlib.algorithms_available else None
