"""What exporting tells its user in one line."""

from __future__ import annotations


class ExportError(Exception):
    """The message is for the user: what was wrong, and what to do."""

    def __init__(self, message: str = "", *, usage: bool = False) -> None:
        """`usage`: it is the fault of a word of the command, whatever files and devices there are."""
        super().__init__(message)
        self.usage = usage
