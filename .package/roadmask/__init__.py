"""Segment driving video from Python, as `roadmask run` does.

from roadmask import segment_video

for result in segment_video("drive.mp4"):
    print(float(result.frame.time), result.mask.shape)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if Path(__file__).parents[1].name == ".package":
    # A checkout: the packages stand at its top. The links to them beside this file are for what reads code and does not
    # run it, as mypy and editors; they are in no wheel, and a system without links runs as well.
    __path__.insert(0, str(Path(__file__).parents[2]))

from . import stream

__all__ = stream.__all__
__version__ = stream.__version__

if TYPE_CHECKING:
    from .stream import *  # noqa: F403 - what `__all__` names
else:
    __getattr__ = stream.__getattr__  # each is imported when it is first used


def __dir__() -> list[str]:
    return __all__
