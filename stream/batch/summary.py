"""`summary.json`: what became of every source, for programs, and for the next call, which does only what is missing.

It holds what earlier calls into the same folder have made, too. It is written whole when a call begins and when it
ends: after each of thousands of jobs, that would be most of what goes to the disk. In between, what becomes of a job is
a line in `.summary.json.journal`, on disk before anything relies on it; who reads a summary reads both. Beside it lies
a lock, too, while a call goes on.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ..errors import OutputError
from ..network.model import Model
from ..run.settings import SegmentSettings, run_identity
from ..system.disk import AppendedFile, fitting, replace_file, writing
from ..system.hold import Taken, hold
from ..system.talk import utc_text
from .batch import STATES, Outcome, State

SUMMARY_NAME = "summary.json"
_SCHEMA = 1
_OUTPUTS = ("overlay", "masks", "stats")
_MOST_REFUSED = 1000  # of a call that may go on for months

Look = Sequence[int]  # size and time (ns) of a file or folder: what changes with it


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one source."""

    source: str  # absolute
    state: Literal["running"] | State  # "running" of one that was killed, too
    outputs: Mapping[str, str]  # overlay, masks, stats; from the summary's folder
    reason: str | None = None  # why it is not done
    frames: int | None = None
    resumed: int | None = None  # frames, of these, that an earlier call had worked out
    reused: int | None = None  # that took the mask of the frame before
    carried: int | None = None  # whose masks were carried along
    undecodable: int | None = None  # packets
    damaged: int | None = None  # frames
    missing_s: float | None = None  # that the file declares and does not hold
    unlike: float | None = None  # share of the frames that look unlike what the model has learnt
    seconds: float | None = None
    fps: float | None = None
    processor_s: Mapping[str, float] = field(default_factory=dict)  # a core's time by stage
    started: str | None = None  # UTC
    ended: str | None = None
    picture: Mapping[str, Any] = field(default_factory=dict)  # what the table of pictures tells of it
    identity: Mapping[str, Any] = field(default_factory=dict)  # of all that changes a byte; empty where none was begun
    looks: Mapping[str, Look] = field(default_factory=dict)  # of the source at the beginning, of outputs at the end
    traceback: str | None = None  # where it failed by a fault of roadmask's


class Summary:
    """A summary that is being written; from `open_summary`. Any thread may call."""

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        self._facts = dict(facts)
        self._started = utc_text(datetime.now(UTC))
        self._counts: dict[str, int] = dict.fromkeys(STATES, 0)
        self._refused: deque[dict[str, str]] = deque(maxlen=_MOST_REFUSED)
        self._identities: dict[str, Mapping[str, Any]] = {}  # of what is running
        self._entries = _read(path)  # as text: a call that goes on for months has many
        self._journal: AppendedFile | None = None
        self._lock = threading.Lock()

    @contextmanager
    def journal(self) -> Iterator[None]:
        """Within, what is told is on disk; before and after, all of it is in the summary itself.

        Raises:
            OutputError: one of the two cannot be written.
        """
        self.write()  # a place that cannot be written to is found before the work
        path = _journal_path(self.path)
        with writing(self.path):
            self._journal = AppendedFile(path)
        try:
            yield
        finally:
            with self._lock:
                self._journal.close()
                self._journal = None
                self.write()
            path.unlink()  # if it could be written: else it stays, and is read with what was there before

    def entry(self, job: SegmentSettings) -> Entry | None:
        """What is known of the job from before."""
        with self._lock:
            return self._entry(job)

    def _entry(self, job: SegmentSettings) -> Entry | None:
        text = self._entries.get(self._key(job))
        return _known(json.loads(text)) if text else None

    def begin(self, job: SegmentSettings, identity: Mapping[str, Any]) -> None:
        """To be told before the first of its files is touched: from then on they are its own.

        Raises:
            OutputError: the summary cannot be written.
        """
        started = utc_text(datetime.now(UTC))
        with self._lock:
            self._identities[self._key(job)] = identity
            looks = looks_of(job, job.file)
            entry = Entry(absolute(job), "running", self._outputs(job), started=started, identity=identity, looks=looks)
            self._set(job, entry)

    def end(self, outcome: Outcome, identity: Mapping[str, Any] | None = None) -> None:
        """To be told what became of each job; `identity` where it was not begun here.

        Raises:
            OutputError: the summary cannot be written.
        """
        with self._lock:
            self._counts[outcome.state] += 1
            if identity is not None:
                self._identities[self._key(outcome.job)] = identity
            self._note(outcome)

    def _note(self, outcome: Outcome) -> None:
        identity = self._identities.pop(self._key(outcome.job), None)
        if identity is None and outcome.state == "failed":
            self._refused.append({"source": absolute(outcome.job), "reason": outcome.why})
            known = self._entry(outcome.job)
            if known is not None and known.identity:
                return  # it was not begun: what an earlier call has made of it is as it was
        if outcome.state != "done_before":  # it is as it was
            before = self._entry(outcome.job)
            source = before.looks.get("source") if before else None
            looks = looks_of(outcome.job, None) | ({"source": source} if source else {})
            self._set(outcome.job, _entry(outcome, self._outputs(outcome.job), identity or {}, looks))

    def catch_up(self) -> None:
        """Write it whole where the journal is ahead, for those who read it while a call goes on for months.

        Raises:
            OutputError: it cannot be written.
        """
        with self._lock:
            if self._journal and self._journal.size:
                self.write()
                with writing(self.path):
                    self._journal.close()
                    self._journal = AppendedFile(self._journal.path)

    def write(self) -> None:
        call = {
            "started": self._started,
            "ended": utc_text(datetime.now(UTC)),
            **self._counts,
            "refused": [*self._refused],
        }
        head = json.dumps(self._facts | {"last_call": call}, indent=1)
        entries = ",\n".join(self._entries.values())
        with writing(self.path):
            replace_file(self.path, f'{head[:-2]},\n "sources": [\n{entries}\n ]\n}}\n'.encode())

    def _set(self, job: SegmentSettings, entry: Entry) -> None:
        self._entries[self._key(job)] = text = _text(entry)
        if self._journal:
            with writing(self.path):
                self._journal.append(f"{text}\n".encode())
                self._journal.sync()

    def _key(self, job: SegmentSettings) -> str:
        return _key_of(self._outputs(job))

    def _outputs(self, job: SegmentSettings) -> dict[str, str]:
        """From the summary's folder, so that all of it can be moved."""
        named = {name: getattr(job, name) for name in _OUTPUTS}
        return {name: Path(os.path.relpath(path, self.path.parent)).as_posix() for name, path in named.items() if path}


@contextmanager
def open_summary(path: Path, facts: Mapping[str, Any]) -> Iterator[Summary]:
    """The summary at `path`, which no other call writes at the same time.

    Args:
        path: of the file, which an earlier call may have written.
        facts: what it is to say of this call.

    Raises:
        OutputError: the file is something else, cannot be written, or another call is writing it.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with hold(path.with_name(f".{path.name}.lock")):
            summary = Summary(path, _with_schema(facts))
            with summary.journal():
                yield summary
    except Taken as exc:
        raise OutputError(
            f"{path}: another run is writing its results there; wait for its end, or name another folder"
        ) from exc


def record_run(path: Path, facts: Mapping[str, Any], model: Model, outcome: Outcome) -> None:
    """Write the summary of one source alone. That of results which a failure has left as they were is left, too.

    Args:
        path: of the file.
        facts: as of `open_summary`.
        model: of the run; what else it is of, a later call must agree with.
        outcome: of the run.

    Raises:
        OutputError: it cannot be written.
    """
    if outcome.state == "failed" and (path.exists() or not path.parent.is_dir()):
        return
    with writing(path):
        path.unlink(missing_ok=True)
    job = outcome.job
    is_known = outcome.report is not None and job.file is not None and job.file.is_file()
    summary = Summary(path, _with_schema(facts))
    summary.end(outcome, run_identity(job, model) if is_known else None)
    summary.write()


def _with_schema(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {"roadmask": facts["roadmask"], "schema": _SCHEMA} | dict(facts)


def refuse_other_file(path: Path) -> None:
    """Raises `OutputError` where what is to be replaced by a summary is none."""
    _read(path)


def recorded(path: Path, job: SegmentSettings) -> Entry | None:
    """What the file at `path` tells of the job; `None` where it tells nothing, or is none of ours."""
    if not is_summary(path):
        return None
    return Summary(path, {}).entry(job)


def entries_of(path: Path) -> list[Entry]:
    """All that a summary and its journal tell. Raises `OutputError` where it is none."""
    return [_known(json.loads(text)) for text in _read(path).values()]


def noted_model(path: Path) -> tuple[str, str] | None:
    """Name without suffix, and device, of the model of the call that has written a summary."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        model = json.loads(path.read_text(encoding="utf-8"))["model"]
        return Path(model["file"]).stem, str(model["device"])
    return None


def is_summary(path: Path) -> bool:
    """Whether a file is a summary of ours."""
    try:
        _read(path)
    except OutputError:
        return False
    return path.is_file()


def _key_of(outputs: Mapping[str, str]) -> str:
    return "\n".join(sorted(outputs.values()))


def _read(path: Path) -> dict[str, str]:
    """Its entries by their outputs; none where there is no file."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if (schema := content["schema"]) != _SCHEMA:
            raise OutputError(f"{path}: of another roadmask (schema {schema}); name another file: --summary FILE")
        entries = map(_known, (*content["sources"], *_lines(_journal_path(path))))
        return {_key_of(entry.outputs): _text(entry) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise OutputError(
            f"{path}: not a summary that roadmask wrote; move it away, or name another file: --summary FILE"
        ) from exc


def _journal_path(path: Path) -> Path:
    return path.with_name(fitting(f".{path.name}.journal"))


def _lines(journal: Path) -> Iterator[dict[str, Any]]:
    """Those that are whole of what a call that was killed left; a torn one is the last."""
    with suppress(FileNotFoundError, ValueError):
        for line in journal.read_bytes().splitlines():
            yield json.loads(line)


def _known(entry: Mapping[str, Any]) -> Entry:
    """Without what only a later roadmask would know."""
    names = {item.name for item in fields(Entry)}
    return Entry(**{name: entry[name] for name in entry if name in names})


def looks_of(job: SegmentSettings, source: Path | None) -> dict[str, Look]:
    """Of a job's outputs that are there, and of its `source` where that is wanted, too."""
    looks: dict[str, Look] = {}
    for name, path in {"source": source, **{name: getattr(job, name) for name in _OUTPUTS}}.items():
        with suppress(OSError):
            if path is not None:
                found = path.stat()
                looks[name] = [found.st_size, found.st_mtime_ns]
    return looks


def _entry(
    outcome: Outcome, outputs: Mapping[str, str], identity: Mapping[str, Any], looks: Mapping[str, Look]
) -> Entry:
    told: dict[str, Any] = {}
    if report := outcome.report:
        plain = ("frames", "resumed", "reused", "carried", "undecodable", "damaged", "unlike")
        told = {name: getattr(report, name) for name in plain}
        told |= {"missing_s": round(report.missing_s, 3), "seconds": round(report.seconds, 3)}
        told |= {"fps": round(report.fps, 2), "picture": asdict(report.picture) if report.picture else {}}
        told["processor_s"] = {name: round(spent, 3) for name, spent in report.processor_s.items()}
    return Entry(
        absolute(outcome.job),
        outcome.state,
        outputs,
        reason=outcome.why or None,
        started=utc_text(outcome.started),
        ended=utc_text(outcome.ended),
        identity=identity,
        looks=looks,
        traceback=outcome.traceback,
        **told,
    )


def _text(entry: Entry) -> str:
    return json.dumps({name: value for name, value in asdict(entry).items() if value not in (None, {})})


def absolute(job: SegmentSettings) -> str:
    """The source of a job, as `Entry.source` has it."""
    if job.remote and job.remote.source:
        return job.remote.source
    return os.path.abspath(job.file) if job.file else job.name  # noqa: PTH100 - a link stays what it is called
