"""Where the live view listens. Needs no package of an extra, as every run reads its options."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from ipaddress import ip_address

from ..errors import OutputError

_LARGEST_PORT = 65535
# What may wait for one viewer: some pictures. The system's own choice of megabytes would show a slow one the past.
_SEND_BUFFER = 1 << 18


@dataclass(frozen=True, slots=True)
class Address:
    """A host, by name or number and without brackets, and a port; 0 for any that is free."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it. Of names this is believed of `localhost` alone."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def url(self) -> str:
        """For a browser; where it listens on every address of the machine, by the machine's name."""
        everywhere = self.host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
        return f"http://{Address(socket.gethostname(), self.port) if everywhere else self}/"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`HOST:PORT`, or a port alone, which is on 127.0.0.1.

    Raises:
        OutputError: it is neither.
    """
    match = re.fullmatch(r"(?:(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^:\[\]/@\s]+)):)?(?P<port>[0-9]{1,5})", text)
    if not match or int(match["port"]) > _LARGEST_PORT:
        raise OutputError(
            f"--serve {text}: is no address; name one like 127.0.0.1:8080, [::1]:8080 or 8080", usage=True
        )
    return Address(match["v6"] or match["name"] or "127.0.0.1", int(match["port"]))


def listen(address: Address) -> socket.socket:
    """A socket that takes connections from now on.

    Raises:
        OutputError: the address is in use, not of this machine, or not for this user.
    """
    try:
        family, _, _, _, name = _resolved(address)
        listener = socket.create_server((name[0], name[1]), family=family)
    except OSError as exc:
        # Of the system's errors without what Python adds, which says the address again; of names not found as it is.
        reason = os.strerror(exc.errno) if exc.errno and not isinstance(exc, socket.gaierror) else exc.strerror
        raise OutputError(f"--serve {address}: cannot be listened on ({reason}); name another HOST:PORT") from exc
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    return listener


def _resolved(address: Address) -> tuple[socket.AddressFamily, int, int, str, tuple[object, ...]]:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return min(found, key=lambda item: item[0] != socket.AF_INET)  # `localhost` is 127.0.0.1 to most who type it
