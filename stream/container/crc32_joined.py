"""The CRC-32 of pieces put together, from those of the pieces: the pixels need not be read again.

A CRC is a polynomial over bits, modulo the one of the CRC; here, as in zlib, the highest power is the lowest bit. To
append n bytes multiplies what is before by x^(8 n). See zlib's `crc32_combine`.
"""

from __future__ import annotations

_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31


def shift_by(length: int) -> int:
    """What a CRC is multiplied by when `length` bytes come behind."""
    power, square = _ONE, 1 << (31 - 8)  # x^0 and x^8
    while length:
        if length & 1:
            power = _product(power, square)
        square = _product(square, square)
        length >>= 1
    return power


def joined(before: int, after: int, shift: int) -> int:
    """The CRC-32 of two pieces, from theirs; `shift` is `shift_by` the length of the second."""
    return _product(before, shift) ^ after


def _product(one: int, other: int) -> int:
    result = 0
    while one:
        if one & _ONE:
            result ^= other
        one = one << 1 & 0xFFFFFFFF
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return result
