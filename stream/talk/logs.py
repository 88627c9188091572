"""How roadmask talks on standard error: lines for people, or a JSON object a line for programs."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from .printable import printable

LogFormat = Literal["text", "json"]


def set_up_logs(kind: LogFormat, *, level: int = logging.WARNING) -> None:
    """Write records of `level` and above in that format, ours already from INFO on unless `level` is higher yet."""
    handler = lines_for_people()
    if kind == "json":
        handler.setFormatter(_Json())
    logging.basicConfig(handlers=[handler], level=level, force=True)


def lines_for_people() -> logging.Handler:
    """A handler that writes a line a record."""
    handler = _Handler()
    handler.setFormatter(_Lines("roadmask: %(message)s"))
    return handler


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to what is standard error at the time: a progress display takes its place for a while."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        pass


class _Lines(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        return printable(super().formatMessage(record))


class _Json(logging.Formatter):
    """An object with `time` (UTC), `level`, `message`, and the fields of the dataclass `extra={"facts": ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry: dict[str, Any] = {"time": time, "level": record.levelname.lower(), "message": record.getMessage()}
        facts = getattr(record, "facts", None)
        if is_dataclass(facts) and not isinstance(facts, type):
            entry |= {name: value for name, value in asdict(facts).items() if name not in entry}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)
