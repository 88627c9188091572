"""What roadmask tells its user in one line; and the wish to end, which is no error.

RoadmaskError
├── SourceError  a video cannot be opened or decoded
├── ModelError   a model file cannot be used
├── DeviceError  a device that was named is not there, fails, or has too little memory
├── OutputError  an output cannot be written, or must not be
├── ArchiveError a mask archive cannot be read
└── ArgumentError a number of Python's means nothing; a ValueError, too
Stopped          the run is to end early, but well
"""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path


class RoadmaskError(Exception):
    """The message is for the user, in one line: what was wrong, with the value, and what to do.

    >>> import roadmask
    >>> try:
    ...     roadmask.load("camvid-lite")
    ... except roadmask.RoadmaskError as exc:  # a ModelError
    ...     print(exc)
    camvid-lite: no such model file, and the box has only ...; did you mean camvid-lite0?
    """

    def __init__(self, message: str = "", *, usage: bool = False) -> None:
        """`usage`: it is the fault of a word of the command, whatever files and devices there are."""
        super().__init__(message)
        self.usage = usage

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows (IPython asks for it): the reader's own lines that led here, without those below."""
        from traceback import extract_tb, format_list  # for which nothing else waits

        rooms = str(Path(__file__).parent)
        frames = [frame for frame in extract_tb(self.__traceback__) if "interactiveshell" not in frame.filename]
        own = list(takewhile(lambda frame: not frame.filename.startswith(rooms), frames))
        return [*(line.rstrip("\n") for line in format_list(own)), f"{type(self).__name__}: {self}"]


class SourceError(RoadmaskError):
    """A video cannot be opened or decoded."""


class ModelError(RoadmaskError):
    """A model file cannot be used."""


class DeviceError(RoadmaskError):
    """A device that was named is not there, fails, or has too little memory."""


class OutputError(RoadmaskError):
    """An output cannot be written, or must not be."""


class ArchiveError(RoadmaskError):
    """A mask archive cannot be read."""


class ArgumentError(RoadmaskError, ValueError):
    """An argument means nothing; its name is told."""


class Stopped(BaseException):
    """The run is to end early, but well: outputs are whole up to there.

    No `Exception`, as `KeyboardInterrupt` is none: what catches failures lets it pass.
    """


def first_line(exc: BaseException) -> str:
    """What an exception of a library or the system says, in one line and never empty."""
    said = str(getattr(exc, "strerror", None) or exc)  # FFmpeg's and the system's words, without number and call
    return next((line.strip() for line in said.splitlines() if line.strip()), type(exc).__name__)


def is_failure(exc: BaseException | None) -> bool:
    """Whether what ends with `exc` has failed; not where it is done, or was stopped.

    Ctrl-C counts as a stop wherever nobody has turned it into one: sinks may be used without a run.
    """
    return exc is not None and not isinstance(exc, Stopped | KeyboardInterrupt)
