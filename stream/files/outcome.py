"""What became of one job of many: done, done in part, interrupted, failed, or not needed."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from ..errors import DeviceError, RoadmaskError
from ..run.settings import Report, SegmentSettings
from ..system.machine import is_out_of_memory

State = Literal["done", "partial", "interrupted", "failed", "skipped"]
STATES: tuple[State, ...] = get_args(State)
RunJob = Callable[[SegmentSettings], Report]  # wherever it runs the job: here, or on another machine

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


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
        return Outcome(job, "skipped", started, datetime.now(UTC))
    except BaseException as exc:  # noqa: BLE001 - carried to the main thread, which tells it
        error = _in_words(exc, job)
        return Outcome(job, "failed", started, datetime.now(UTC), reason=_reason(error), error=error)
    reason = f"interrupted after {report.frames} frames" if report.interrupted else report.lost
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
