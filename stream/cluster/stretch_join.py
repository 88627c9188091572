"""The outputs of a run, joined from those of its stretches without decoding or encoding anything again."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Self

from ..errors import OutputError, Stopped
from ..frames import VideoInfo
from ..masks.familiar import Familiarity
from ..network.model import Model
from ..run.claim import GO_ON, Claim, claimed
from ..run.outputs import Outputs, file_outputs, keep_times
from ..run.segment import ending_of
from ..run.settings import Report, SegmentSettings, run_identity
from ..system.disk import writing
from .stretch import NotAsPlanned, Stretch, StretchFacts, facts_path, parse_facts, read_facts


class StretchFolder:
    """Where the stretches of a run lie until they are joined, as a context manager: in the folder of its progress.

    It is removed on leaving when all `is_over`, or is to be made otherwise; until then a run with `resume` finds what
    is done.

    Raises:
        OutputError: what is there is another run's, or may neither be gone on with nor thrown away.
    """

    def __init__(self, job: SegmentSettings, model: Model) -> None:
        self._job = job
        self._claim = Claim(job.outputs, run_identity(job, model))
        self.path = self._claim.folder / "stretches"
        self.is_over = False  # set it when the outputs are whole
        self._stack = ExitStack()
        if not (job.resume or job.overwrite) and any(self.path.glob("*.json")):
            raise OutputError(f"{job.outputs[0]}: an earlier run was stopped; {GO_ON}")
        self._claim.refuse_what_is_left(resume=job.resume, overwrite=job.overwrite)

    def count(self) -> int:
        """In how many stretches the run that left some was made; 0 where it has left none."""
        facts = next(self.path.glob("*.json"), None)
        return parse_facts(facts).of if facts else 0

    def has(self, stretch: Stretch) -> bool:
        return facts_path(self.path, stretch).exists()

    def __enter__(self) -> Self:
        with ExitStack() as stack, writing(self._job.outputs[0]):
            stack.enter_context(claimed(self._job))
            if not (self._job.resume and self._claim.is_ours and self.path.is_dir()):
                self._claim.begin()
                self.path.mkdir()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, _: object, exc: BaseException | None, __: object) -> None:
        with self._stack:
            if self.is_over:
                self._claim.secure()
            if self.is_over or isinstance(exc, NotAsPlanned):
                self._claim.end()
            elif not any(self.path.glob("*.json")):
                self._claim.leave(finals=True)


def join(
    job: SegmentSettings, info: VideoInfo, model: Model, folder: StretchFolder, made: Iterable[Stretch], frames: int
) -> Report:
    """Write the outputs of a run from its stretches in `folder`, which have `frames` frames in all.

    They are `made` in order, each when it is there; fewer where the run is stopped.

    Raises:
        NotAsPlanned: where two stretches meet they have not decoded the same.
        OutputError: an output cannot be written.
    """
    started = time.monotonic()
    files = file_outputs(replace(job, overwrite=True), info, model, None)  # what is there was looked at before
    report = Report(0, 0, 0, 0.0, interrupted=False)
    before: StretchFacts | None = None
    familiarity = Familiarity()
    with suppress(Stopped), Outputs(files, None, lambda _: ending_of(report)) as outputs:
        for stretch in made:
            facts = read_facts(folder.path, stretch)
            if before and facts.looks_before != before.looks_last:
                raise NotAsPlanned("where it is jumped into it gives other pictures")
            outputs.append(stretch.piece(folder.path))
            familiarity = familiarity.with_others(*facts.familiarity)
            report = replace(
                report,
                frames=report.frames + facts.frames,
                reused=report.reused + facts.reused,
                carried=report.carried + facts.carried,
                missing_s=facts.missing_s if stretch.is_last else 0.0,
                unlike=familiarity.share,
            )
            before = facts
        seconds, interrupted = time.monotonic() - started, report.frames < frames
        report = replace(report, seconds=seconds, interrupted=interrupted, sound=outputs.sound)
        if report.interrupted:
            raise Stopped
    keep_times(job)
    folder.is_over = not report.interrupted
    return report
