"""What a second call still has to do: the sources that an earlier one has not done, with what it left of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..errors import OutputError
from ..network.model import Model
from ..run.outputs import refuse_bad_outputs
from ..run.settings import Report, SegmentSettings, run_identity
from .jobs import results_stem
from .outcome import DoneBefore, RunJob
from .remote import is_done
from .summary import Entry, Summary, recorded

_NO_MATTER = (
    "roadmask",
    "device",
    "outputs",
)  # in which a job that is done may differ from one that would be begun now


def record_path(job: SegmentSettings) -> Path:
    """Where a call for this one file writes down what became of it."""
    return job.outputs[0].with_name(f"{results_stem(job.file or Path())}_run.json")


def only_missing(summary: Summary, model: Model, run_job: RunJob) -> RunJob:
    """`run_job` for what is still to be done, noted in the summary before; for what was done, `DoneBefore`."""

    def run(job: SegmentSettings) -> Report:
        if job.remote and not job.overwrite and is_done(job):
            raise DoneBefore
        if job.file is None or not job.file.is_file():
            return run_job(job)  # which says what is wrong with it
        identity = run_identity(job, model)
        job = _due(job, summary.entry(job) or recorded(record_path(job), job), identity)
        refuse_bad_outputs(job)
        summary.begin(job, identity)
        return run_job(job)

    return run


def _due(job: SegmentSettings, entry: Entry | None, identity: Mapping[str, str]) -> SegmentSettings:
    """The job, allowed to replace what an earlier call left of it.

    Raises:
        DoneBefore: nothing is missing.
        OutputError: it was done or begun in another way, and may not be replaced.
    """
    if entry is None or not entry.identity or (job.overwrite and not job.resume):
        return job
    there = [output.exists() for output in job.outputs]
    differing = _differing(entry.identity, identity)
    if entry.state in ("done", "partial") and all(there) and not differing:
        raise DoneBefore
    if any(there) and differing and not job.overwrite:
        raise OutputError(
            f"{job.outputs[there.index(True)]}: made before, but {'; '.join(differing)}; "
            "pass --overwrite to make it anew"
        )
    return job if differing else replace(job, overwrite=True)


def _differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [
        f"{name} was {before.get(name, 'not known')}, is now {value}"
        for name, value in now.items()
        if before.get(name) != value and name not in _NO_MATTER
    ]
