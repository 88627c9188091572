"""Files that come one by one: which job each is, and what is left to do of it, by what the summary knows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import OutputError, SourceError
from ..masks.ignore import Ignored, ignored_in
from ..network.model import Model
from ..run.done import made_otherwise
from ..run.settings import Report, SegmentSettings, in_json, run_identity
from .batch import RunJob
from .jobs import into_folder, job_of, only_missing, results_stem
from .summary import Entry, Look, Summary, absolute, looks_of
from .video_files import VideoFile


@dataclass(slots=True, eq=False)
class Ledger:
    """Which jobs files are that come one by one, and what is left to do of them, by what a summary knows."""

    summary: Summary  # of what was done, which goes on
    model: Model  # that does it
    template: SegmentSettings  # everything but source and outputs, for all of them
    results: Path  # the folder for what is made
    folders: Sequence[Path]  # that the files come from
    ignore: Sequence[tuple[str, Ignored]] = ()  # what is left out of which, as `ignore_rules` gives it
    _settings: Mapping[str, Any] = field(default_factory=dict)  # of which every file's results are to be
    # The sources of outputs that the summary may not know of yet.
    _begun: dict[tuple[Path, ...], Path] = field(default_factory=dict)

    def begin(self, file: VideoFile) -> SegmentSettings:
        """The job, whose results nobody else's have the names of; it has to be `run` next."""
        job = self.job(file)
        self._begun[job.outputs] = file.path
        return job

    def job(self, file: VideoFile) -> SegmentSettings:
        """Its results lie as those of a batch. Of two that would have the same names, one keeps them for ever."""
        stem, ignored = results_stem(file.path), ignored_in(self.ignore, file.name)
        alone = replace(job_of(self.template, file), ignore=ignored)
        apart = Path(os.path.relpath(file.path.parent, os.path.commonpath(map(os.path.abspath, self.folders))))
        jobs = [
            into_folder(alone, self.results, folder / name)
            for name in (stem, stem + file.path.suffix.replace(".", "_"))
            for folder in (file.folder, apart)
        ]
        entries = [self.summary.entry(job) for job in jobs]
        own = [job for job, entry in zip(jobs, entries, strict=True) if entry and _is_of(entry, alone)]
        free = [
            job
            for job, entry in zip(jobs, entries, strict=True)
            if entry is None and self._begun.get(job.outputs, file.path) == file.path
        ]
        return [*own, *free, *jobs][0]

    def is_done(self, file: VideoFile, look: Look) -> bool:
        """Whether nothing is left to do of a file that looks so: as far as that is known without reading it."""
        job = self.job(file)
        entry = self.summary.entry(job)
        if entry is None or entry.state not in ("done", "partial") or entry.looks.get("source") != list(look[:2]):
            return False
        if not self._settings:
            with suppress(SourceError):  # who runs it says what is wrong
                self._settings = _settings_of(run_identity(job, self.model))
        settings = {**self._settings, "--ignore": in_json(job.ignore)}
        is_same = bool(self._settings) and not made_otherwise(_settings_of(entry.identity), settings)
        return is_same and all(output.exists() for output in job.outputs)

    def run(self, run_job: RunJob) -> RunJob:
        """`run_job` as `only_missing` has it; results of what a file was before are replaced, if nobody touched them.

        Raises:
            OutputError: somebody has.
        """
        missing = only_missing(self.summary, self.model, run_job)

        def run(job: SegmentSettings) -> Report:
            try:
                return due(job)
            finally:
                self._begun.pop(job.outputs, None)

        def due(job: SegmentSettings) -> Report:
            entry = self.summary.entry(job)
            if entry is None or not entry.identity or job.file is None or not job.file.is_file():
                return missing(job)
            differing = made_otherwise(entry.identity, run_identity(job, self.model))
            if not differing or not (job.overwrite or all(item.startswith("source ") for item in differing)):
                return missing(job)
            if not job.overwrite and not _is_untouched(entry, job):
                raise OutputError(
                    f"{job.file}: has changed since its results were made, and so have they; "
                    "move them away, or pass --overwrite"
                )
            return missing(replace(job, overwrite=True, resume=False))

        return run


def _is_of(entry: Entry, job: SegmentSettings) -> bool:
    """Whether it tells of the job's source, which may have been moved since."""
    if entry.source == absolute(job):
        return True
    return os.path.basename(entry.source) == job.name and not os.path.exists(entry.source)  # noqa: PTH119, PTH110


def _settings_of(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in identity.items() if name not in ("source", "outputs")}


def _is_untouched(entry: Entry, job: SegmentSettings) -> bool:
    """Whether what is there now of its results is as the run has left it that the summary tells of."""
    return all(entry.looks.get(name) == look for name, look in looks_of(job, None).items())
