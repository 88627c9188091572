"""What is said: logs and progress on standard error, names that are safe to print, commands without their secrets.

Names of files and in archives come from anywhere, and may hold what a terminal obeys. A list of processes is read by
every user of a machine. And nobody may be listening any more, as behind `| head`: that ends no run.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from .url import is_secret, redacted, without_secrets

if TYPE_CHECKING:
    from rich.progress import Progress

log = logging.getLogger(__name__)

LogFormat = Literal["text", "json"]

# Control characters, line ends, changes of direction, and bytes of a name that are no text.
_NOT_SHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FORMULA = re.compile("(^|[;,|])(?=\\s*[=+@\\-\uff1d\uff0b\uff20\uff0d])")  # in a spreadsheet; some split cells at ;
_NAME_WIDTH, _BAR_WIDTH = 36, 30  # of a line of progress
_NOBODY = (errno.EPIPE, errno.EIO)  # has the other end of a pipe, of a terminal


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
        return printable(without_secrets(super().formatMessage(record)))


class _Json(logging.Formatter):
    """An object with `time` (UTC), `level`, `message`, and the fields of the dataclass `extra={"facts": ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": utc_text(record.created),
            "level": record.levelname.lower(),
            "message": without_secrets(record.getMessage()),
        }
        facts = getattr(record, "facts", None)
        if is_dataclass(facts) and not isinstance(facts, type):
            entry |= {name: value for name, value in asdict(facts).items() if name not in entry}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def utc_text(moment: datetime | float) -> str:
    """A time of day as all JSON here has it: 2026-11-28T10:00:00.000Z; a number is of seconds since the epoch."""
    when = moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def number_of(count: int, what: str) -> str:
    """As in "1 frame", "2 frames"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def printable(text: object) -> str:
    """On one line; what is not shown is as Python writes it, as an escape."""
    return _NOT_SHOWN.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def install_command(extra: str = "") -> str:
    """For people: what installs this roadmask with an extra from where it came; it need not be on an index."""
    name = f"[{extra}]" if extra else ""
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").is_file():
        return f"pip install -e '{checkout}{name}'"
    from importlib.metadata import PackageNotFoundError, distribution  # 40 ms that only a hint should pay

    try:
        origin = json.loads(distribution("roadmask").read_text("direct_url.json") or "{}")  # PEP 610
    except (PackageNotFoundError, ValueError):
        origin = {}
    vcs = origin.get("vcs_info")
    url = f"{vcs['vcs']}+{origin['url']}@{vcs['commit_id']}" if vcs else origin.get("url", "")
    return f"pip install 'roadmask{name}{f' @ {url}' if url else ''}'"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """What to add to a message about a word that is none of those known; nothing where none is like it."""
    spelled = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), spelled, n=1)
    return f"; did you mean {spelled[close[0]]}?" if close else ""


def cell_text(name: str) -> str:
    """A name as it stands in a CSV: with ' where a spreadsheet would take it for a formula, which may do anything."""
    return _FORMULA.sub(r"\1'", name)


def write_result(path: Path) -> None:
    """What was made, on standard output: as it is for programs, printable on a terminal."""
    sys.stdout.write(f"{printable(path) if sys.stdout.isatty() else path}\n")


def write_talk(text: str) -> None:
    """A line for people, on standard error."""
    sys.stderr.write(f"{printable(text)}\n")


def progress_bar(*fields: str, quiet: bool = False) -> Progress:
    """A context manager that draws a line for each task it is given, and takes them away at the end.

    Args:
        fields: of each task, texts to show behind its bar; without, how much of it is done, and the time left.
        quiet: draw nothing; nothing is drawn where standard error is no terminal, either.
    """
    from rich.console import Console  # 40 ms that `roadmask --help` should not pay
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    console = Console(stderr=True, highlight=False)
    name = Column(max_width=_NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    texts: list[ProgressColumn] = [
        TextColumn(f"{{task.fields[{field}]}}", justify="right", markup=False, table_column=Column(no_wrap=True))
        for field in fields
    ]
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=name),
        BarColumn(bar_width=_BAR_WIDTH),
        *(texts or [MofNCompleteColumn(), TimeRemainingColumn()]),
        console=console,
        disable=quiet or not console.is_terminal,
        refresh_per_second=5,
        redirect_stdout=sys.stdout.isatty(),  # where results go to the terminal, too, they are written above
        transient=True,
    )


def counted(progress: Progress, name: str) -> Callable[[int, int], None]:
    """A line called `name`; what is returned is told how many are done, and of how many."""
    task = progress.add_task(name, total=None)
    return lambda done, total: progress.update(task, completed=done, total=total)


def hide_arguments(urls: list[str], token: str | None) -> None:
    """Where a URL or the token is secret, the process shows its command without it, or that it cannot is told."""
    secrets = {url: redacted(url) for url in urls if is_secret(url)} | ({token: "***"} if token else {})
    shown = sys.argv[1:]
    for secret, harmless in secrets.items():
        shown = [argument.replace(secret, harmless) for argument in shown]
    if shown == sys.argv[1:]:
        return
    try:
        from setproctitle import setproctitle  # it looks into the process on being imported
    except ImportError:
        log.warning(
            "the password in the command is shown to all users of this machine, in the list of processes; "
            "to hide it: %s",
            install_command("serve"),
        )
    else:
        setproctitle(" ".join(["roadmask", *shown]))


class _Unheard(io.FileIO):
    """Says to nobody what it is told; of other failures, as of a full disk, it keeps the first."""

    failure: OSError | None = None

    def write(self, content: object) -> int:
        try:
            return super().write(content)  # type: ignore[arg-type]
        except OSError as exc:
            if exc.errno not in _NOBODY:
                self.failure = self.failure or exc
            return len(memoryview(content))  # type: ignore[arg-type]


def unwritten_results() -> OSError | None:
    """Why what was said on standard output is not all there, if so."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.failure if isinstance(raw, _Unheard) else None


@contextmanager
def harmless_streams() -> Iterator[None]:
    """Within, to write to `sys.stdout` and `sys.stderr` never fails, unless they are somebody else's.

    Those that are closed, as by `2>&-`, lead nowhere, for the whole process: else the next file that is opened, an
    output perhaps, would have their number, and what libraries write there would go into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        yield
        return
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_harmless, before, (1, 2))
    try:
        yield
    finally:
        after = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = before
        for stream in after:
            stream.flush()


def _harmless(stream: TextIO | None, number: int) -> TextIO:
    """The same descriptor, text encoded as before; the one of that number where Python found it closed."""
    stream = stream or open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - none of ours to close
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Unheard(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors="surrogateescape" if stream.errors == "strict" else stream.errors,  # names may be no text
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
