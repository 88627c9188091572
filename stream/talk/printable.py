"""Names on a terminal: those of files and in archives come from anywhere, and may hold what a terminal obeys."""

from __future__ import annotations

import re
import sys
from pathlib import Path

# Control characters, line ends, changes of direction, and bytes of a name that are no text.
_NOT_SHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object) -> str:
    """On one line; what is not shown is as Python writes it, as an escape."""
    return _NOT_SHOWN.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def write_result(path: Path) -> None:
    """What was made, on standard output: as it is for programs, printable on a terminal."""
    sys.stdout.write(f"{printable(path) if sys.stdout.isatty() else path}\n")
