"""What went wrong in another process, as what it is: with its causes, which tell whether a disk is full.

Pickled alone, an exception forgets its cause; raised in a worker, it comes back as one of Ray's.
"""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass
from itertools import pairwise

from ..errors import RoadmaskError


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception on its way."""

    chain: tuple[BaseException, ...]  # it and what it came from

    @classmethod
    def of(cls, exc: BaseException) -> Failure:
        if not isinstance(exc, RoadmaskError):
            exc.add_note("In a worker:\n" + "".join(traceback.format_exception(exc)))
        chain = [exc]
        while cause := chain[-1].__cause__:
            chain.append(cause)
        return cls(tuple(map(_able_to_cross, chain)))

    @property
    def error(self) -> BaseException:
        """The exception, to be raised here."""
        for exc, cause in pairwise(self.chain):
            exc.__cause__ = cause
        return self.chain[0]


def _able_to_cross(exc: BaseException) -> BaseException:
    """The same, or for a library's that cannot be pickled what it says."""
    try:
        pickle.loads(pickle.dumps(exc))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - whatever its class does then
        number, words = getattr(exc, "errno", None), f"{type(exc).__name__}: {exc}"
        return RuntimeError(words) if number is None else OSError(number, words)
    return exc
