"""Keep passwords out of the list of processes, which every user of a machine can read."""

from __future__ import annotations

import sys

from setproctitle import setproctitle

from .redact import is_secret, redacted


def hide_arguments(urls: list[str], token: str | None) -> None:
    """Where a URL or the token is secret, the process shows its command without it."""
    secrets = {url: redacted(url) for url in urls if is_secret(url)}
    if token:
        secrets |= {token: "***", f"--token={token}": "--token=***"}
    if any(argument in secrets for argument in sys.argv):
        setproctitle(" ".join(["roadmask", *(secrets.get(argument, argument) for argument in sys.argv[1:])]))
