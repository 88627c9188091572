"""Where a stream can be published to, and what FFmpeg has to know for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit, urlunsplit

from ..errors import OutputError
from ..system.talk import redacted

_MUXERS = {"rtsp": "rtsp", "rtsps": "rtsp", "rtmp": "flv", "rtmps": "flv", "udp": "mpegts"}
_DATAGRAM_BYTES = 7 * 188  # packets of MPEG-TS that fit an Ethernet frame; FFmpeg's own would be split


@dataclass(frozen=True, slots=True)
class PublishTarget:
    """A server, or a port, that takes a stream."""

    name: str  # in messages; holds no user name, password or stream key
    url: str = field(repr=False)
    format: str  # FFmpeg's name of the muxer
    options: tuple[tuple[str, str], ...]  # the muxer's


def is_published(word: str) -> bool:
    """Whether an output is a URL, and not a file."""
    return "://" in word


def parse_target(url: str, *, timeout_s: float) -> PublishTarget:
    """The target that a URL means.

    Args:
        url: rtsp://, rtsps://, rtmp://, rtmps:// or udp://, user name and password included.
        timeout_s: after which a server that does not answer is given up.

    Raises:
        OutputError: nothing can be published there.
    """
    parts = urlsplit(url)
    name, scheme = _name(parts), parts.scheme.lower()
    if scheme == "srt":
        raise OutputError(
            f"{name}: this FFmpeg has no SRT; publish to rtsp:// or udp://, from where a server passes it on"
        )
    if scheme not in _MUXERS:
        raise OutputError(f"{name}: cannot publish to {scheme}://; known are {', '.join(_MUXERS)}")
    if not parts.hostname or (scheme == "udp" and not _port(parts, name)):
        raise OutputError(f"{name}: an address to publish to has a host{' and a port' if scheme == 'udp' else ''}")
    options = {"flush_packets": "1"}
    if _MUXERS[scheme] == "rtsp":
        # Over TCP: what is published is passed on by a server, which would pass on the gaps as well.
        options |= {"rtsp_transport": "tcp", "timeout": str(round(timeout_s * 1e6))}
    elif _MUXERS[scheme] == "flv":
        options |= {"flvflags": "no_duration_filesize"}  # which would be written at the end, where none can go back to
    elif "pkt_size" not in parts.query:
        query = "&".join(item for item in (parts.query, f"pkt_size={_DATAGRAM_BYTES}") if item)
        url = urlunsplit(parts._replace(query=query))
    return PublishTarget(name, url, _MUXERS[scheme], tuple(options.items()))


def _name(parts: SplitResult) -> str:
    """The last word of an RTMP address is the key that lets one publish there."""
    folder, _, key = parts.path.rpartition("/")
    if parts.scheme.lower().startswith("rtmp") and key:
        parts = parts._replace(path=f"{folder}/***", query="")
    return redacted(urlunsplit(parts))


def _port(parts: SplitResult, name: str) -> int | None:
    try:
        return parts.port
    except ValueError as exc:
        raise OutputError(f"{name}: its port is no number from 0 to 65535") from exc
