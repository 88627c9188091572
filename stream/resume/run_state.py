"""A run's state as the bytes of a .npz, and back: `DecidingState` and where the run stood."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..deciding_state import DecidingState, Known, PieceState, SmootherState, StillState, View

_FACTS = "facts"  # the member that holds, as JSON, all that is no array
_SCHEMA = 1

Arrays = dict[str, NDArray[Any]]
Facts = dict[str, Any]


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
