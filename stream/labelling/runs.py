"""Runs of equal labels, of which COCO's and Label Studio's masks are made: found once a frame, for all classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# Of a brush of Label Studio.
_CHANNELS = 4
_VALUE_BITS = 8
_LENGTH_BITS = np.array([3, 4, 8, 16])
_LONGEST = 1 << 16


def runs_of_labels(labels: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each label but 0 that occurs, and where it is.

    Args:
        labels: (n,) in the order in which the runs are to go.

    Yields:
        A label, in rising order, and the lengths of runs that are not of it and of runs that are, in turn, from the
        beginning to the end: the first may be 0, the others are not.
    """
    starts = np.concatenate(([0], np.flatnonzero(labels[1:] != labels[:-1]) + 1))
    values = labels[starts]
    ends = np.append(starts[1:], len(labels))
    for label in np.unique(values):
        if label == 0:
            continue
        is_label = values == label  # never two in a row, so each of its runs has a run of others before it, or nothing
        yield int(label), _alternating(starts[is_label], ends[is_label], len(labels))


def _alternating(starts: NDArray[np.int64], ends: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    borders = np.stack((starts, ends), axis=1).ravel()
    lengths = np.diff(borders, prepend=0)
    return np.append(lengths, length - ends[-1]) if ends[-1] < length else lengths


def brush_rle(lengths: NDArray[np.int64]) -> bytes:
    """A brush as Label Studio keeps it: runs of the values of an RGBA picture, as a stream of bits.

    A head of 53 bits: how many values there are (32), bits of a value less 1 (5), and bits of a length less 1 in each
    of four sizes (4 each). Then the runs: 1, the size's number (2), the length less 1, the value. What it calls a run
    of different values, 0 in place of 1, is not needed here. https://github.com/thi-ng/umbrella, packages/rle-pack.

    Args:
        lengths: of runs of pixels, row by row, that are not painted and that are, in turn.
    """
    values = np.arange(len(lengths)) % 2 * 255
    lengths, values = _at_most(_CHANNELS * lengths, values)  # all four channels of a painted pixel are 255
    size = np.searchsorted([8, 16, 256], lengths)
    length_bits = _LENGTH_BITS[size]
    codes = (((4 | size) << length_bits | (lengths - 1)) << _VALUE_BITS) | values
    head = (
        lengths.sum() << 21
        | (_VALUE_BITS - 1) << 16
        | sum((int(bits) - 1) << 4 * (3 - place) for place, bits in enumerate(_LENGTH_BITS))
    )
    bits = np.concatenate(([32 + 5 + 16], 3 + length_bits + _VALUE_BITS))
    return _packed(np.concatenate(([head], codes)), bits)


def _at_most(lengths: NDArray[np.int64], values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same runs with those that are too long in pieces, and without empty ones."""
    pieces = -(-lengths // _LONGEST)
    in_pieces = np.full(pieces.sum(), _LONGEST)
    last = np.cumsum(pieces) - 1
    in_pieces[last[pieces > 0]] = (lengths - _LONGEST * (pieces - 1))[pieces > 0]
    return in_pieces, np.repeat(values, pieces)


def _packed(codes: NDArray[np.int64], bits: NDArray[np.int64]) -> bytes:
    """The lowest `bits` of each code, one after the other, the highest bit first; zeros fill the last byte."""
    ends = np.cumsum(bits)
    shifts = np.repeat(ends, bits) - 1 - np.arange(ends[-1])
    return np.packbits(((np.repeat(codes, bits) >> shifts) & 1).astype(np.uint8)).tobytes()
