"""What a run of a file leaves on disk as it goes, so that another can go on inside the video: `.NAME.progress/`.

run.json        what the run is of: model, source, settings; another run may go on only if it agrees
state.npz       how many frames are in the outputs, and what smoothing knows of them; replaced every few seconds
00000750.masks  the frames from number 750 on, with their masks: see `mask_log`

The outputs stay beside it under their partial names. When they are whole the folder is removed.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from ..errors import OutputError
from ..frames import Place, Position, Sink
from ..masks.deciding import Decided
from ..masks.deciding_state import DecidingState, pack_state, unpack_state
from ..system.disk import fitting, partial_path, replace_file, writing
from .mask_log import LoggedFrame, MaskLog, log_begin, read_log

EVERY_S = 2.0  # between two times that the outputs and the state go to disk; half of it is lost on average
_RUN_NAME, _STATE_NAME = "run.json", "state.npz"
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
            raise OutputError(
                f"{self.folder}: frames before number {earliest} are missing from the overlay; "
                "pass --overwrite without --resume to start anew"
            )
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
            raise OutputError(f"{self.folder}: {exc}; pass --overwrite without --resume to start anew") from exc


class Progress:
    """Keeps a run's progress, as a context manager around its sinks.

    Args:
        outputs: of the run.
        identity: what must be the same for a run that goes on: names and values.
        resume: go on from what is there.
        overwrite: what is there may be thrown away.

    Raises:
        OutputError: an earlier run's progress is there and may neither be gone on from nor thrown away; or it is that
            of another model, source or setting.
    """

    def __init__(self, outputs: Sequence[Path], identity: Mapping[str, str], *, resume: bool, overwrite: bool) -> None:
        self._outputs = outputs
        self._folder = progress_folder(outputs)
        self._identity = dict(identity)
        self._log: MaskLog | None = None
        self._began: Place | None = None
        self.saved: Saved | None = None
        if not self._folder.is_dir() or (overwrite and not resume):
            return
        if resume:
            refuse_other_run(outputs[0], self._folder, self._identity)
        saved = self._load()
        if saved and not resume:
            raise OutputError(
                f"{outputs[0]}: an earlier run stopped after {saved.position} frames; "
                "pass --resume to go on from there, or --overwrite to start anew"
            )
        self.saved = saved

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
        with writing(self._outputs[0]):
            if self.saved is None:
                begin_folder(self._folder, self._identity)
            else:
                for output in self._outputs:
                    _reopen(output)
            self._log = MaskLog(self._folder, self.saved.position if self.saved else 0)
        if self.saved:
            self._began = self.saved.began
        return self

    def note(self, decided: Decided, sinks: Sequence[Sink], lost: Lost) -> None:
        """To be told of each frame, once it is written to the sinks that lack it, and of what was lost up to there."""
        assert self._log is not None
        if decided.position < self._log.position:
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
            replace_file(self._folder / _STATE_NAME, pack_state(facts, decided.state))
            self._log.forget_old()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        if self._log is not None:
            with suppress(OSError):  # its buffer, on a full disk; what counts has been synced
                self._log.close()
        if exc is None or not (self._folder / _STATE_NAME).exists():
            shutil.rmtree(self._folder, ignore_errors=True)


def begin_folder(folder: Path, identity: Mapping[str, str]) -> None:
    """Make the folder anew, for a run with this identity."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    replace_file(folder / _RUN_NAME, (json.dumps(identity, indent=2) + "\n").encode())


def refuse_other_run(output: Path, folder: Path, identity: Mapping[str, str]) -> None:
    """Raises `OutputError` where what is in the folder is of another run, and says what differs."""
    try:
        before: dict[str, str] = json.loads((folder / _RUN_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise OutputError(f"{folder}: cannot be read ({exc}); pass --overwrite to start anew") from exc
    differing = [
        f"{name} was {before.get(name)}, now {value}" for name, value in identity.items() if before.get(name) != value
    ]
    if differing:
        raise OutputError(
            f"{output}: the earlier run cannot be gone on with: {'; '.join(differing)}. "
            "Take the same, or pass --overwrite without --resume to start anew"
        )


def has_state(outputs: Sequence[Path]) -> bool:
    """Whether a run into these outputs has left what another can go on from."""
    return (progress_folder(outputs) / _STATE_NAME).exists()


def progress_folder(outputs: Sequence[Path]) -> Path:
    """Where the progress of a run into these outputs is."""
    return outputs[0].with_name(fitting(f".{outputs[0].name}.progress"))


def _reopen(output: Path) -> None:
    """An output that an interrupted run has finished gets its partial name back."""
    partial = partial_path(output)
    if not partial.exists() and output.exists():
        output.replace(partial)
