"""What training tells its user in one line.

TrainingError
├── DataError        a data set or one of its files cannot be used
└── CheckpointError  a checkpoint cannot be read, or does not fit
"""

from __future__ import annotations

MAKE_ROOM = "make room, then go on with --resume"  # where a file of a run cannot be written


class TrainingError(Exception):
    """The message is for the user: what was wrong, and what to do."""

    def __init__(self, message: str = "", *, usage: bool = False) -> None:
        """`usage`: it is the fault of a word of the command, whatever files and devices there are."""
        super().__init__(message)
        self.usage = usage


class DataError(TrainingError):
    """A data set or one of its files cannot be used."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be read, or does not fit what was asked."""


def first_line(exc: BaseException) -> str:
    """What an exception of a library says, in one line and never empty."""
    return next((line.strip() for line in str(exc).splitlines() if line.strip()), type(exc).__name__)
