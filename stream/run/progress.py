"""What a run of a file leaves on disk as it goes, so that another can go on inside the video: `.NAME.progress/`.

run.json        what the run is of: model, source, settings; another run may go on only if it agrees
state.npz       how many frames are in the outputs, and what smoothing knows of them; replaced every few seconds
00000750.masks  the frames from number 750 on, with their masks: see `mask_log`

The outputs stay beside it under their partial names. When they are whole the folder is removed.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..deciding_state import DecidingState, Known, PieceState, SmootherState, StillState, View
from ..errors import OutputError
from ..frames import FileSink, SegmentedFrame
from ..system.disk import partial_path, replace_file, writing
from .mask_log import LoggedFrame, MaskLog, log_begin, read_log

EVERY_S = 2.0  # between two times that the outputs and the state go to disk; half of it is lost on average
_RUN_NAME, _STATE_NAME = "run.json", "state.npz"
_FACTS = "facts"  # the member that holds, as JSON, all that is no array
_SCHEMA = 1

Arrays = dict[str, NDArray[Any]]
Facts = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """Where an earlier run stood."""

    frames: int  # written to every output, and on disk
    state: DecidingState  # after the last of them
    undecodable: int  # packets, up to there
    damaged: int  # frames, of those
    first_index: int  # of the run's first frame
    first_pts: int
    folder: Path

    @property
    def earliest(self) -> int:
        """The number of the first frame that `logged` can still give."""
        return log_begin(self.folder)

    def logged(self, begin: int) -> Iterator[LoggedFrame]:
        """The frames from number `begin` on, with their masks.

        Raises:
            OutputError: one is missing or damaged.
        """
        try:
            yield from read_log(self.folder, begin, self.frames)
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
        self._first: tuple[int, int] | None = None  # index and pts of the run's first frame
        self.saved: Saved | None = None
        if not self._folder.is_dir() or (overwrite and not resume):
            return
        if resume:
            refuse_other_run(outputs[0], self._folder, self._identity)
        saved = self._load()
        if saved and not resume:
            raise OutputError(
                f"{outputs[0]}: an earlier run stopped after {saved.frames} frames; "
                "pass --resume to go on from there, or --overwrite to start anew"
            )
        self.saved = saved

    def _load(self) -> Saved | None:
        path = self._folder / _STATE_NAME
        if not path.exists():
            return None  # it ended in its first seconds
        try:
            facts, state = unpack_state(path)
            frames = facts["frames"]
            list(read_log(self._folder, frames - 1, frames))  # it must reach up to there
            first, lost = (facts["first_index"], facts["first_pts"]), (facts["undecodable"], facts["damaged"])
            return Saved(frames, state, *lost, *first, self._folder)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as exc:
            raise OutputError(f"{path}: cannot be read ({exc}); pass --overwrite to start anew") from exc

    def __enter__(self) -> Self:
        with writing(self._outputs[0]):
            if self.saved is None:
                begin_folder(self._folder, self._identity)
            else:
                for output in self._outputs:
                    _reopen(output)
            self._log = MaskLog(self._folder, self.saved.frames if self.saved else 0)
        if self.saved:
            self._first = (self.saved.first_index, self.saved.first_pts)
        return self

    def note(self, result: SegmentedFrame, sinks: Sequence[FileSink], undecodable: int, damaged: int) -> None:
        """To be told of each new result, once it is written to the sinks, and of what was lost up to there."""
        assert self._log is not None
        with writing(self._outputs[0]):
            self._log.add(result)
            self._first = self._first or (result.frame.index, result.frame.pts)
            if result.state is None:
                return
            for sink in sinks:
                sink.sync()
            self._log.sync()
            index, pts = self._first
            facts = {"frames": self._log.frames, "first_index": index, "first_pts": pts}
            facts |= {"undecodable": undecodable, "damaged": damaged}
            replace_file(self._folder / _STATE_NAME, pack_state(facts, result.state))
            self._log.forget_old()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
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
    return outputs[0].with_name(f".{outputs[0].name}.progress")


def _reopen(output: Path) -> None:
    """An output that an interrupted run has finished gets its partial name back."""
    partial = partial_path(output)
    if not partial.exists() and output.exists():
        output.replace(partial)


def pack_state(facts: Facts, state: DecidingState) -> bytes:
    """`facts` is what JSON can hold."""
    arrays: Arrays = {"mask": state.mask, "known": state.known.input}
    content = facts | {
        "schema": _SCHEMA,
        "known_time": str(state.known.time),
        "piece": _pack_piece(state.piece, "piece", arrays),
        "next_piece": _pack_piece(state.next_piece, "next", arrays) if state.next_piece else None,
    }
    arrays[_FACTS] = np.frombuffer(json.dumps(content).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpack_state(path: Path) -> tuple[Facts, DecidingState]:
    """Read what `pack_state` gave.

    Raises:
        OSError, ValueError, KeyError: it is not that, or of another schema.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    facts = json.loads(arrays[_FACTS].tobytes())
    if facts["schema"] != _SCHEMA:
        raise ValueError(f"schema {facts['schema']}, not {_SCHEMA}")
    following = facts["next_piece"]
    state = DecidingState(
        _unpack_piece(facts["piece"], "piece", arrays),
        _unpack_piece(following, "next", arrays) if following else None,
        arrays["mask"],
        Known(arrays["known"], Fraction(facts["known_time"])),
    )
    return facts, state


def _pack_piece(piece: PieceState, name: str, arrays: Arrays) -> Facts:
    still, smoother = piece.still, piece.smoother
    facts: Facts = {
        "time": str(still.time),
        "unchanged": still.unchanged,
        "left_out": str(still.left_out),
        "still_since": str(still.still_since),
        "smoothed": smoother is not None,
    }
    if smoother is not None:
        facts["smoother_time"] = None if smoother.time is None else str(smoother.time)
        arrays[f"{name}_scores"] = smoother.scores
        arrays |= {f"{name}_{plane}": array for plane, array in smoother.view._asdict().items()}
    return facts


def _unpack_piece(facts: Mapping[str, Any], name: str, arrays: Arrays) -> PieceState:
    still = StillState(
        Fraction(facts["time"]), facts["unchanged"], Fraction(facts["left_out"]), Fraction(facts["still_since"])
    )
    if not facts["smoothed"]:
        return PieceState(still, None)
    view = View(*(arrays[f"{name}_{plane}"] for plane in View._fields))
    time = facts["smoother_time"]
    return PieceState(still, SmootherState(None if time is None else Fraction(time), view, arrays[f"{name}_scores"]))
