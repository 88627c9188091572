"""Addresses as people write them, with passwords in them: split, written for programs, shown without what is secret.

A password may hold what ends a host in an address (/ ? #), or an @. Where there is one way to read it, it is read so;
where there are two, its user is told how to write it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Final, TypeAlias
from urllib.parse import quote, unquote

_DEFAULT_PORTS: Final = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935, "rtmps": 443}
_AUTHORITY_ENDS = re.compile(r"[/?#]|$")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%\w]+\]|[^\s/?#@:\[\]]*)(?::(\d{1,5})?)?")
_LARGEST_PORT = 65535
# A name in front of a value that is nobody's business: user=..., pwd=..., loginpas=..., access_token=...
_SECRET = re.compile(
    r"(?<=[/?&;_,#])([^/?&;_,#=]*(?:pas|pw|psw|usr|user|login|token|key|secret|auth|sig|credential)[^=&]*?=)"
    r".*?(?=[&;,]\w+=|_[a-z]+=|$)",
    re.IGNORECASE,
)
_IN_TEXT = re.compile(r"([A-Za-z][\w+.-]*):/{1,2}([^\s/'\"][^\s'\"]*)")
_HIDDEN, _TO_HIDDEN = "***", r"\1***"
_SURELY = 2
_Reading: TypeAlias = "tuple[int, tuple[str, int | None]]"  # where the host begins, itself, and its port


class UnclearUrl(ValueError):  # noqa: N818 - what it is
    """What it says holds nothing of the address, for which part of it is the password is not known."""

    def __init__(self) -> None:
        super().__init__(
            "cannot be split into user, password, host and path: its port is no number from 0 to 65535, or the "
            "password is to be percent-encoded (/ is %2F, ? %3F, # %23, @ %40, : %3A; so is an @ behind the host)"
        )


@dataclass(frozen=True, slots=True)
class Url:
    """A URL in its parts."""

    scheme: str  # in lower case
    user: str = field(repr=False)  # as it is written: special letters may be percent-encoded
    password: str = field(repr=False)
    host: str  # of IPv6 with its brackets
    port: int | None
    rest: str = field(repr=False)  # path and query

    @property
    def origin(self) -> tuple[str, int | None]:
        """Who is asked: host and port; HTTPS at its own port is the server of HTTP at its own."""
        port = self.port or _DEFAULT_PORTS.get(self.scheme)
        return self.host.lower(), 80 if (self.scheme, port) == ("https", 443) else port

    @property
    def connect_to(self) -> tuple[str, int]:
        """For a socket."""
        return self.host.strip("[]"), self.port or _DEFAULT_PORTS[self.scheme]

    @property
    def credentials(self) -> tuple[str, str]:
        """User and password themselves."""
        return unquote(self.user), unquote(self.password)

    def without_credentials(self) -> Url:
        return replace(self, user="", password="")

    def __str__(self) -> str:
        """For programs: what would end the host is percent-encoded in user and password."""
        user, password = (quote(part, safe="!$&'()*+,;=~-._%@:") for part in (self.user, self.password))
        who = f"{user}:{password}@" if password else f"{user}@" if user else ""
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{who}{self.host}{port}{self.rest}"


def parse_url(url: str) -> Url:
    """The parts of `scheme://user:password@host:port/path?query`.

    Raises:
        UnclearUrl: it can be read in more than one way, or in none.

    >>> parse_url("rtsp://admin:pa#ss@10.0.0.7/live").host
    '10.0.0.7'
    """
    scheme, _, after = url.partition("://")
    end = _end_of_authority(after, 0)
    usual = after[:end].rfind("@") + 1
    readings = [(usual, found)] if (found := _host(after, usual)) else []
    # A password that ends the host of the usual reading: each @ behind that may be the one before the host.
    if ":" in after[:end]:
        inner = re.search(r"[/?#].*?://", after[end:])  # an address within the query has a password of its own
        behind = after[end : end + inner.start()] if inner else after[end:]
        others = [end + at.end() for at in re.finditer("@", behind)]
        readings += [(start, found) for start in others if (found := _host(after, start)) and found[0]]
    start, (host, port) = _clear(readings, usual)
    user, _, password = after[: max(start - 1, 0)].partition(":")
    rest = after[_end_of_authority(after, start) :]
    return Url(scheme.lower(), user, password, host, port, rest)


def _clear(readings: list[_Reading], usual: int) -> _Reading:
    """The one that is meant: it looks more like a host than any other, and the unusual one like nothing else.

    Raises:
        UnclearUrl: there is none.
    """
    if not readings:
        raise UnclearUrl
    best, *others = sorted(readings, key=lambda reading: _rank(reading[1]), reverse=True)
    if others and _rank(others[0][1]) == _rank(best[1]):
        raise UnclearUrl
    if best[0] != usual and _rank(best[1]) < _SURELY and any(start == usual for start, _ in others):
        raise UnclearUrl
    return best


def _end_of_authority(after: str, start: int) -> int:
    found = _AUTHORITY_ENDS.search(after, start)
    assert found
    return found.start()


def _host(after: str, start: int) -> tuple[str, int | None] | None:
    """Host and port that stand there, up to the path."""
    found = _HOST.fullmatch(after, start, _end_of_authority(after, start))
    if not found or (found[2] and int(found[2]) > _LARGEST_PORT):
        return None
    return found[1], int(found[2]) if found[2] else None


def _rank(host_and_port: tuple[str, int | None]) -> int:
    """How much it looks like a host: `_SURELY` for what is nothing else, 1 for a name with dots."""
    host = host_and_port[0]
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return _SURELY if host.lower() == "localhost" else int("." in host)
    return _SURELY


def redacted(url: str) -> str:
    """`front=rtsp://user:secret@host/path?token=x` to `front=rtsp://host/path?token=***`."""
    head, mark, after = url.rpartition("://") if url.count("://") == 1 else url.partition("://")
    if not mark:
        return url
    name, scheme = re.fullmatch(r"(.*?)([\w+.-]*)", head, re.DOTALL).groups()  # type: ignore[union-attr]
    try:
        address = parse_url(f"{scheme}://{after}")
    except UnclearUrl:
        return f"{name}{scheme}://{_HIDDEN}"
    rest = re.sub(r"(?<=://)[^/?#&]*@", "", address.rest)  # of an address within the query
    rest = _SECRET.sub(_TO_HIDDEN, rest)
    if rest == address.rest and not address.user and not address.password:
        return url
    return f"{name}{replace(address.without_credentials(), scheme=scheme, rest=rest)}"


def is_secret(url: str) -> bool:
    """Whether anything of the URL must not be shown."""
    return redacted(url) != url


def name_of(url: str) -> str:
    """A short name for a camera, fit for a file name: `rtsp://user:secret@host:554/live/1` to `host_554_live_1`."""
    shown = re.sub(r"^.*?://|[?#].*$", "", redacted(url))
    shown = re.sub(r"[^/;&_]*=\*+_?", "", shown)
    return re.sub(r"[^\w.-]+", "_", shown).strip("_.") or "camera"


def without_secrets(text: str) -> str:
    """Any text, where addresses in it are shown as they may be; a path made of one has lost a slash."""
    if ":/" not in text:
        return text
    return _IN_TEXT.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    """An address in a text, and a colon behind it, which ends no port."""
    colon = found[2].endswith(":")
    url = f"{found[1]}://{found[2].removesuffix(':')}"
    return redacted(url) + ":" * colon if is_secret(url) else found[0]
