"""Many jobs, several at a time: what becomes of one harms no other, and an end comes in order."""

from __future__ import annotations

import errno
import queue
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event
from typing import Literal, get_args

from ..errors import DeviceError, RoadmaskError
from ..run.settings import Report, SegmentSettings
from ..system.machine import is_out_of_memory
from ..system.talk import number_of

_LOOK_S = 0.2  # how often the calling thread wakes up, to take signals

State = Literal["done", "partial", "interrupted", "failed", "done_before"]
STATES: tuple[State, ...] = get_args(State)
RunJob = Callable[[SegmentSettings], Report]  # wherever it runs the job: here, or on another machine

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def run_batch(
    jobs: Iterable[SegmentSettings],
    run_job: RunJob,
    *,
    at_once: int,
    stop: Event,
    on_end: Callable[[Outcome], None],
    on_look: Callable[[], None] | None = None,
) -> None:
    """Run the jobs in their order, until all are over or `stop` is set; a full disk, which is everybody's, sets it.

    Args:
        jobs: what to do; asked for one more, by one thread at a time, when there is room for it.
        run_job: does one, on a thread of its own; it may raise what it likes. When `stop` is set it ends early.
        at_once: so many jobs at a time.
        stop: set it to begin no more.
        on_end: told what became of each, on this thread, as it ends.
        on_look: called several times a second, on this thread.
    """
    waiting, taking, ended = iter(jobs), threading.Lock(), queue.SimpleQueue[Outcome | None]()

    def take() -> SegmentSettings | None:
        with taking:
            return None if stop.is_set() else next(waiting, None)

    def work() -> None:
        try:
            while job := take():
                outcome = run(job, run_job)
                if outcome.is_disk_full:
                    stop.set()  # here, so that this thread begins no other
                ended.put(outcome)
        finally:
            ended.put(None)

    # Daemons: where a second Ctrl-C ends all at once, none of them is waited for.
    threads = [threading.Thread(target=work, name=f"job {number + 1}", daemon=True) for number in range(at_once)]
    for thread in threads:
        thread.start()
    try:
        for outcome in _ends(ended, at_once, on_look):
            on_end(outcome)
    except Exception:
        stop.set()
        _join(threads)  # they finish their files
        raise
    _join(threads)


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.join()


def _ends(
    ended: queue.SimpleQueue[Outcome | None], workers: int, on_look: Callable[[], None] | None
) -> Iterator[Outcome]:
    """What the workers put there, until each has said with a `None` that it has ended."""
    while workers:
        if on_look:
            on_look()
        try:
            outcome = ended.get(timeout=_LOOK_S)
        except queue.Empty:
            continue
        if outcome is None:
            workers -= 1
        else:
            yield outcome


class DoneBefore(Exception):  # noqa: N818 - what is so, not what went wrong
    """Raised by what runs a job: there is nothing to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Of a job that has had its turn."""

    job: SegmentSettings
    state: State
    started: datetime  # UTC
    ended: datetime
    reason: str = ""  # why it is not done, for people
    report: Report | None = None  # of what was done
    error: BaseException | None = None  # that made it fail

    @property
    def why(self) -> str:
        """The reason without the source's name, for who is told that, too."""
        return self.reason.removeprefix(f"{self.job.address}: ")

    @property
    def is_fault(self) -> bool:
        """Whether it failed by what is no fault of file, disk or device."""
        return self.error is not None and not isinstance(self.error, RoadmaskError)

    @property
    def traceback(self) -> str | None:
        """Of a fault, for those who are to mend it."""
        return "".join(traceback.format_exception(self.error)) if self.error and self.is_fault else None

    @property
    def is_disk_full(self) -> bool:
        """Whether others would fail for the same reason."""
        return is_disk_full(self.error)


def run(job: SegmentSettings, run_job: RunJob) -> Outcome:
    """Run it, whatever comes of that."""
    started = datetime.now(UTC)
    try:
        report = run_job(job)
    except DoneBefore:
        return Outcome(job, "done_before", started, datetime.now(UTC))
    except BaseException as exc:  # noqa: BLE001 - carried to the main thread, which tells it
        error = _in_words(exc, job)
        return Outcome(job, "failed", started, datetime.now(UTC), reason=_reason(error), error=error)
    reason = f"interrupted after {number_of(report.frames, 'frame')}" if report.interrupted else report.lost
    return Outcome(job, report.state, started, datetime.now(UTC), reason=reason, report=report)


def is_disk_full(exc: BaseException | None) -> bool:
    """Whether it, or what it came from, says so; FFmpeg's errors have the same numbers."""
    while exc is not None:
        if getattr(exc, "errno", None) in _DISK_FULL:
            return True
        exc = exc.__cause__
    return False


def _in_words(exc: BaseException, job: SegmentSettings) -> BaseException:
    """Too little memory is no fault of ours, wherever it shows."""
    if isinstance(exc, RoadmaskError) or not is_out_of_memory(exc):
        return exc
    error = DeviceError(f"{job.name}: out of memory ({_first_line(exc)}); lower --jobs, --workers or --batch")
    error.__cause__ = exc
    return error


def _reason(exc: BaseException) -> str:
    if isinstance(exc, RoadmaskError):
        return str(exc)
    first_line = _first_line(exc)
    return first_line if first_line == type(exc).__name__ else f"{type(exc).__name__}: {first_line}"


def _first_line(exc: BaseException) -> str:
    """Of its message, or its name where it has none."""
    return str(exc).strip().partition("\n")[0] or type(exc).__name__
