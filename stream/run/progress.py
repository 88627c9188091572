"""What a run of a file leaves on disk as it goes, so that another can go on inside the video: `.NAME.progress/`.

run.json        what the run is of: model, source, settings; another run may go on only if it agrees
state.npz       how many frames are in the outputs, and what smoothing knows of them; replaced every few seconds
00000750.masks  the frames from number 750 on, with their masks: see `mask_log`

The outputs stay beside it under their partial names. When they are whole the folder is removed: see `claim`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from ..errors import OutputError, is_failure
from ..frames import Ending, Place, Position, Sink
from ..masks.deciding import Decided
from ..masks.deciding_state import DecidingState, unpack_state, write_state
from ..system.disk import partial_path, replace_file, writing
from .claim import ANEW, GO_ON, Claim, progress_folder
from .done import find_done, made_otherwise, note_done
from .mask_log import LoggedFrame, MaskLog, log_begin, read_log

EVERY_S = 2.0  # between two times that the outputs and the state go to disk; half of it is lost on average
_STATE_NAME = "state.npz"
SEEN_AGAIN = 8  # frames by which a run that goes on makes sure that it has found its place in the video


class Lost(NamedTuple):
    """What of a video has not come out, up to a frame."""

    undecodable: int = 0  # packets
    damaged: int = 0  # frames


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """Where an earlier run stood."""

    position: Position  # all before it is in every output, and on disk
    state: DecidingState  # after the frame before it
    lost: Lost  # up to there
    began: Place  # the run
    folder: Path

    def place_for(self, position: Position) -> Place:
        """Where to begin for an output that goes on at `position`: there, or before it, where frames are known.

        Raises:
            OutputError: they are missing or damaged.
        """
        begin, earliest = max(min(position, self.position - SEEN_AGAIN), 0), log_begin(self.folder)
        if begin < earliest:
            raise OutputError(f"{self.folder}: frames before number {earliest} are missing from the overlay; {ANEW}")
        known = list(islice(self.logged(begin), SEEN_AGAIN))
        seen = tuple((frame.index, frame.pts, frame.look) for frame in known)
        return Place(begin, known[0].index, known[0].pts, seen)

    def logged(self, position: Position) -> Iterator[LoggedFrame]:
        """The frames from `position` on, with their masks.

        Raises:
            OutputError: one is missing or damaged.
        """
        try:
            yield from read_log(self.folder, position, self.position)
        except (OSError, ValueError) as exc:
            raise OutputError(f"{self.folder}: {exc}; {ANEW}") from exc


class Progress:
    """Keeps a run's progress, as a context manager around its sinks.

    Args:
        outputs: of the run; they are `held`.
        identity: what must be the same for a run that goes on: names and values.
        resume: go on from what is there.
        overwrite: what is there may be thrown away.
        inside: whether the source can be begun in the middle; of what cannot, a run that goes on begins anew.

    Raises:
        OutputError: what an earlier run left is there and may neither be gone on with nor thrown away; or it is that
            of another model, source or setting.
    """

    def __init__(
        self,
        outputs: Sequence[Path],
        identity: Mapping[str, Any],
        *,
        resume: bool,
        overwrite: bool,
        inside: bool = True,
    ) -> None:
        self._outputs = outputs
        self._inside = inside
        self._identity = dict(identity)
        self._claim = Claim(outputs, identity)
        self._folder = self._claim.folder
        self._log: MaskLog | None = None
        self._began: Place | None = None
        self._ending: Ending | None = None
        self.saved: Saved | None = None
        self.done = self._finished(overwrite) if resume else None  # how the run ended, if nothing is left to do
        # Whether whatever has the outputs' names is this run's own, or was to be replaced by it.
        self.is_ours = resume and self._claim.is_ours
        if self.done or (overwrite and not resume):
            return
        self._claim.refuse_other_version()
        if not resume and not overwrite and (saved := self._load()):
            raise OutputError(f"{outputs[0]}: an earlier run stopped after {saved.position} frames; {GO_ON}")
        self._claim.refuse_what_is_left(resume=resume, overwrite=overwrite)
        if self.is_ours and self._claim.before() == self._identity:
            self.saved = self._load()

    def _finished(self, overwrite: bool) -> Ending | None:
        done = find_done(self._outputs)
        differing = made_otherwise(done.identity, self._identity) if done else []
        if done and not differing:
            self._claim.end()  # it may have been killed on its way out
            return done.ending
        if differing and not overwrite and not self._claim.is_ours:
            raise OutputError(
                f"{self._outputs[0]}: made before, but {'; '.join(differing)}; pass --overwrite to make it anew"
            )
        return None

    def _load(self) -> Saved | None:
        path = self._folder / _STATE_NAME
        if not path.exists():
            return None  # it ended in its first seconds
        try:
            facts, state = unpack_state(path)
            position = facts["frames"]
            list(read_log(self._folder, position - 1, position))  # it must reach up to there
            began = Place(0, facts["first_index"], facts["first_pts"])
            return Saved(position, state, Lost(facts["undecodable"], facts["damaged"]), began, self._folder)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as exc:
            raise OutputError(f"{path}: cannot be read ({exc}); pass --overwrite to start anew") from exc

    def __enter__(self) -> Self:
        with writing(self._outputs[0]), ExitStack() as stack:
            stack.push(self._leave)
            if self.saved is None:
                self._claim.begin()
            else:
                self._began = self.saved.began
                for output in self._outputs:
                    _reopen(output)
            if self._inside:
                self._log = MaskLog(self._folder, self.saved.position if self.saved else 0)
            stack.pop_all()
        return self

    def note(self, decided: Decided, sinks: Sequence[Sink], lost: Lost) -> None:
        """To be told of each frame, once it is written to the sinks that lack it, and of what was lost up to there."""
        if self._log is None or decided.position < self._log.position:
            return
        frame = decided.result.frame
        with writing(self._outputs[0]):
            self._log.add(decided.result)
            self._began = self._began or Place(0, frame.index, frame.pts)
            if decided.state is None:
                return
            for sink in sinks:
                sink.sync()
            self._log.sync()
            facts = {"frames": self._log.position, "first_index": self._began.index, "first_pts": self._began.pts}
            facts |= {"undecodable": lost.undecodable, "damaged": lost.damaged}
            state = decided.state
            replace_file(self._folder / _STATE_NAME, lambda file: write_state(file, facts, state))
            self._log.forget_old()

    def tell(self, ending: Ending) -> None:
        """How the run ended, as its sinks are told."""
        self._ending = ending

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        if self._log is not None:
            with suppress(OSError):  # its buffer, on a full disk; what counts has been synced
                self._log.close()
        if exc is None and self._ending is not None:
            self._claim.secure()
            note_done(self._outputs, self._identity, self._ending)
            self._claim.end()
        else:
            self._leave(kind, exc, at)

    def _leave(self, _: type[BaseException] | None, exc: BaseException | None, __: TracebackType | None) -> None:
        """What another run needs stays: what was written, and whose it is."""
        if not (self._folder / _STATE_NAME).exists():
            self._claim.leave(finals=self.is_ours or not is_failure(exc))


def has_state(outputs: Sequence[Path]) -> bool:
    """Whether a run into these outputs has left what another can go on from."""
    return (progress_folder(outputs) / _STATE_NAME).exists()


def _reopen(output: Path) -> None:
    """An output that an interrupted run has finished gets its partial name back."""
    partial = partial_path(output)
    if not partial.exists() and output.exists():
        output.replace(partial)
