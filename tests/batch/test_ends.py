"""What is said of the files of a call where many fail, and where nothing can be written any more."""

from __future__ import annotations

import errno
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from roadmask.stream.batch.batch import Outcome
from roadmask.stream.batch.ends import Ends, outcome_table
from roadmask.stream.batch.summary import Summary
from roadmask.stream.batch.talk import FilesTalk
from roadmask.stream.batch.workload import Workload
from roadmask.stream.errors import OutputError
from roadmask.stream.run.settings import Report, SegmentSettings
from roadmask.stream.system.stop import Stop
from tests.support.full_disk import full_disk


def full() -> OutputError:
    """As it comes where a disk has no room: the operating system's own is the cause."""
    error = OutputError("it cannot be written (No space left on device)")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    return error


def failed(name: str, error: OutputError) -> Outcome:
    now = datetime.now(UTC)
    return Outcome(SegmentSettings(Path(name)), "failed", now, now, reason=f"{name}: {error}", error=error)


def done(name: str) -> Outcome:
    now = datetime.now(UTC)
    return Outcome(SegmentSettings(Path(name)), "done", now, now, report=Report(5, 0, 0, 1.0, interrupted=False))


def ends_of(
    outcomes: Sequence[Outcome], summary: Summary | None = None, *, for_ever: bool = False
) -> tuple[Ends, Stop]:
    """All of them noted, as of a call of many files."""
    workload, stop = Workload([outcome.job for outcome in outcomes]), Stop()
    talk = FilesTalk(workload, total=True, kind="none", quiet=True, as_json=False)
    ends = Ends(workload, talk, summary, None, stop, many=True, for_ever=for_ever)
    for outcome in outcomes:
        ends.note(outcome)
    return ends, stop


def drawn(outcomes: Sequence[Outcome], summary: Path | None) -> list[str]:
    console = Console(file=io.StringIO(), width=160)
    console.print(outcome_table(outcomes, "in all", summary=summary))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize("summary", [Path("out/summary.json"), None])
def test_of_more_failures_than_one_reads_the_rest_is_counted_and_where_they_stand_is_told(summary: Path | None) -> None:
    lines = drawn([failed(f"{number}.mp4", OutputError("no room")) for number in range(61)], summary)
    assert [line.split()[0] for line in lines[1:51]] == [f"{number}.mp4" for number in range(50)]
    assert lines[51:] == ["... and 11 more" + ("; all are in out/summary.json" if summary else ""), "in all"]


@pytest.mark.logs_errors
def test_a_full_disk_is_told_once_though_all_that_were_at_work_say_the_same(caplog: pytest.LogCaptureFixture) -> None:
    ends, _ = ends_of([failed("a.mp4", full()), failed("b.mp4", full()), failed("c.mp4", OutputError("is a folder"))])
    assert caplog.messages == ["a.mp4: it cannot be written (No space left on device)", "c.mp4: is a folder"]
    caplog.clear()
    ends.tell(3, None)
    assert caplog.messages == [
        "the disk is full, so nothing more was begun; free some space, and run the same again",
        "3 files: 3 failed; 0 frames in 0:00:00",
    ]


@pytest.mark.logs_errors
@pytest.mark.parametrize(("for_ever", "code"), [(False, 3), (True, 1)])
def test_a_summary_that_cannot_be_written_ends_the_call_is_told_and_is_no_success(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, for_ever: bool, code: int
) -> None:
    """Though what was done is whole, and the disk has room again in the end: the others were not begun."""
    summary = Summary(tmp_path / "summary.json", {})
    with summary.journal(), full_disk(10):
        ends, stop = ends_of([done("a.mp4")], summary, for_ever=for_ever)
    assert stop.is_set()
    assert ends.exit_code(stop) == code
    assert caplog.messages == [f"{tmp_path / 'summary.json'}: cannot be written (File too large)"]


@pytest.mark.logs_errors
def test_a_summary_on_the_disk_that_is_full_is_not_told_as_another_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object) -> None:
        raise full()

    monkeypatch.setattr(Summary, "end", end)
    ends, stop = ends_of([failed("a.mp4", full())], Summary(tmp_path / "summary.json", {}), for_ever=True)
    assert caplog.messages == ["a.mp4: it cannot be written (No space left on device)"]
    assert stop.is_set()
    assert ends.exit_code(stop) == 1
