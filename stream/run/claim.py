"""Whose the outputs of a run are, from its beginning until they are whole; nothing of that is left then.

.NAME.run        beside each output: locked while a run lasts, and marked with the run that its partial files are of
.NAME.progress/  beside the first: what the run is of, and what another can go on from: see `progress`

Marks are written before anything is, and taken away last of all. So a run that was stopped at any moment, and is begun
again to be gone on with, knows what is its own; and nothing that is not is thrown away unasked.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..system.disk import (
    fitting,
    left_of,
    partial_path,
    refuse_left,
    remove_left,
    replace_file,
    rows_path,
    sync_output,
    writing,
)
from ..system.hold import held, mark_of, word_for, write_mark
from .done import in_words
from .settings import SegmentSettings

log = logging.getLogger(__name__)

_RUN_NAME = "run.json"
# Behind the word of a mark: when its run began there was something under the output's name, which it may replace; or
# there was not.
_REPLACES, _NEW = "+", "-"
ANEW = "pass --overwrite without --resume to start anew"
GO_ON = "pass --resume to go on from there, or --overwrite to start anew"


@contextmanager
def claimed(settings: SegmentSettings) -> Iterator[SegmentSettings]:
    """The settings of a run whose outputs no other one writes meanwhile; parts of a recording see to that themselves.

    Raises:
        OutputError: another run is writing one, or one cannot be written.
    """
    if settings.held or settings.is_endless or (settings.remote and settings.remote.folder):
        yield settings
        return
    with held(settings.outputs):
        yield replace(settings, held=True)


class Claim:
    """A run's right to its outputs, which must be `held`.

    Args:
        outputs: of the run.
        identity: what must be the same for a run that goes on: names and values.
    """

    def __init__(self, outputs: Sequence[Path], identity: Mapping[str, Any]) -> None:
        self.folder = progress_folder(outputs)
        self._outputs = outputs
        self._identity = dict(identity)
        self._word = word_for(json.dumps(self._identity, sort_keys=True))

    @property
    def is_ours(self) -> bool:
        """Whether what is there, whole or not, is this run's own."""
        return all(map(self._has, self._outputs))

    def _has(self, output: Path) -> bool:
        return mark_of(output)[:-1] == self._word

    def refuse_what_is_left(self, *, resume: bool, overwrite: bool) -> None:
        """Raises `OutputError` where an earlier run's files may neither be gone on with nor thrown away."""
        if resume and self.is_ours:
            if not overwrite:
                self._refuse_taken()
            return
        if overwrite and not resume:
            return
        if resume:
            self._refuse_other_run()
        for output in self._outputs:
            if left_of(output) and self._has(output) and not resume:
                raise OutputError(f"{output}: an earlier run was stopped; {GO_ON}")
            if not overwrite:
                refuse_left(output)

    def refuse_other_version(self) -> None:
        """Raises `OutputError` where an unfinished run was that of a version that did otherwise: see `SAME_SINCE`."""
        before, now = self.before().get("roadmask"), self._identity.get("roadmask")
        if before and now and before != now:
            raise OutputError(
                f"{self._outputs[0]}: an earlier run was stopped, that of roadmask {before}, with which {now} cannot "
                f"go on; finish it with {before}, or {ANEW}"
            )

    def _refuse_other_run(self) -> None:
        before = self.before()
        if not before:
            return
        if differing := differing_in(before, self._identity):
            raise OutputError(
                f"{self._outputs[0]}: the earlier run cannot be gone on with: {'; '.join(differing)}. "
                f"Take the same, or {ANEW}"
            )
        for output in self._outputs:
            if not self._has(output):
                raise OutputError(f"{output}: another run has written it since, so this one cannot go on; {ANEW}")

    def _refuse_taken(self) -> None:
        """What has come under an output's name since: this run has not, where its own is still unfinished."""
        for output in self._outputs:
            unfinished = any(partial_path(path).exists() for path in (output, rows_path(output)))
            if output.exists() and unfinished and mark_of(output).endswith(_NEW):
                raise OutputError(f"{output}: exists, and is not of this run; pass --overwrite to replace it")

    def before(self) -> Mapping[str, Any]:
        """What the earlier run is of; empty where there is none.

        Raises:
            OutputError: it cannot be read.
        """
        path = self.folder / _RUN_NAME
        try:
            before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except (OSError, ValueError) as exc:
            raise OutputError(f"{self.folder}: cannot be read ({exc}); pass --overwrite to start anew") from exc
        return before

    def begin(self) -> None:
        """From here on all that is unfinished under the names of the outputs is this run's, and begun anew.

        Raises:
            OSError: something cannot be written.
        """
        for output in self._outputs:
            write_mark(output, self._word + (_REPLACES if output.exists() else _NEW))
        for output in self._outputs:
            _discard(progress_folder([output]))
        new = _aside(self.folder)
        new.mkdir()
        replace_file(new / _RUN_NAME, (json.dumps(self._identity, indent=2) + "\n").encode())
        new.rename(self.folder)  # so it is never there without what it is of
        for output in self._outputs:
            remove_left(output)

    def secure(self) -> None:
        """What was finished is on disk, under its name: nothing else need be there any more. Raises `OutputError`."""
        for output in filter(Path.exists, self._outputs):
            with writing(output):
                sync_output(output)

    def end(self) -> None:
        """Nothing of this run is left but what it has finished; that is as good where something cannot be removed."""
        ours = list(filter(self._has, self._outputs))
        with self._tidying():
            for output in ours:
                _discard(progress_folder([output]))
                remove_left(output)
            for output in ours:
                write_mark(output, "")

    def leave(self, *, finals: bool) -> None:
        """Where nobody can go on inside the video: only what was written stays, and whose it is; `finals`, too, may be.

        So the same run, begun again, may replace it, and no other may unasked.
        """
        if any(left_of(output) or (finals and output.exists()) for output in self._outputs):
            with self._tidying():
                _discard(self.folder)
        else:
            self.end()

    @contextmanager
    def _tidying(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            log.warning("%s: what is left of the run cannot be removed (%s)", self.folder, exc.strerror or exc)


def has_trace(outputs: Sequence[Path]) -> bool:
    """Whether a run into these outputs was begun and not finished."""
    return any(map(mark_of, outputs))


def progress_folder(outputs: Sequence[Path]) -> Path:
    """Where the progress of a run into these outputs is."""
    return outputs[0].with_name(fitting(f".{outputs[0].name}.progress"))


def differing_in(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In words."""
    return [
        f"{name} was {in_words(before.get(name))}, is now {in_words(value)}"
        for name, value in now.items()
        if before.get(name) != value
    ]


def _aside(folder: Path) -> Path:
    """A name beside it that nothing has: of what is made before it is called so, or is not any more."""
    aside = folder.with_name(fitting(f"{folder.name}.aside"))
    shutil.rmtree(aside, ignore_errors=True)
    return aside


def _discard(folder: Path) -> None:
    """Such a folder is there whole, or is not."""
    aside = _aside(folder)
    with suppress(FileNotFoundError):
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
