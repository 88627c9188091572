"""What deciding masks goes on from, after a frame: the state of smoothing and of reuse, as plain data and as bytes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib.format import header_data_from_array_1_0, write_array_header_1_0
from numpy.typing import NDArray

from .familiar import Familiarity

_FACTS = "facts"  # the member that holds, as JSON, all that is no array
_SCHEMA = 2

Arrays = dict[str, NDArray[Any]]
Facts = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A picture whose mask is known."""

    input: NDArray[np.uint8]  # as the frame's
    time: Fraction


@dataclass(frozen=True, slots=True)
class StillState:
    """What a `StillClock` knows."""

    time: Fraction = Fraction(0)  # of the last frame
    unchanged: bool = False  # that frame
    left_out: Fraction = Fraction(0)  # seconds, up to there
    still_since: Fraction = Fraction(0)


class View(NamedTuple):
    """What the scores of a frame are compared by. Colour takes half the resolution, as it does in most video."""

    bright: NDArray[np.uint8]  # (h, w) gray, of the scores' size
    small: NDArray[np.uint8]  # as of `four_channels`, of half that size
    gray: NDArray[np.uint8]  # likewise


@dataclass(frozen=True, slots=True, eq=False)
class SmootherState:
    """What a `Smoother` keeps of the last frame."""

    time: Fraction | None  # seconds
    view: View
    scores: NDArray[np.float32]  # (classes, h, w), blended


@dataclass(frozen=True, slots=True, eq=False)
class PieceState:
    """What the smoothing of one piece knows of the frames before."""

    still: StillState
    smoother: SmootherState | None


@dataclass(frozen=True, slots=True, eq=False)
class DecidingState:
    """What goes on, after the frame that it comes with, to the same masks."""

    piece: PieceState
    next_piece: PieceState | None  # while it warms up
    mask: NDArray[np.uint8]  # of the frame
    known: Known  # the picture whose mask that is
    familiarity: Familiarity  # of the frames up to there


def write_state(file: BinaryIO, facts: Facts, state: DecidingState) -> None:
    """`facts` is what JSON can hold."""
    arrays: Arrays = {"mask": state.mask, "known": state.known.input}
    content = facts | {
        "schema": _SCHEMA,
        "known_time": str(state.known.time),
        "familiarity": state.familiarity,
        "piece": _pack_piece(state.piece, "piece", arrays),
        "next_piece": _pack_piece(state.next_piece, "next", arrays) if state.next_piece else None,
    }
    arrays[_FACTS] = np.frombuffer(json.dumps(content).encode(), np.uint8)
    # As np.savez, which copies each array three times: half the time.
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            plain = np.ascontiguousarray(array)
            with archive.open(f"{name}.npy", "w") as member:
                write_array_header_1_0(member, header_data_from_array_1_0(plain))
                member.write(plain.data)


def unpack_state(path: Path) -> tuple[Facts, DecidingState]:
    """Read what `write_state` wrote.

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
        Familiarity(*facts["familiarity"]),
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
