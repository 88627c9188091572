"""Segment driving video from Python, as `roadmask run` does.

import roadmask

model = roadmask.load()             # or a model file, a name, device="cuda"; bgr=True for arrays as OpenCV has them
result = model("photo.jpg")         # or an array, a PIL image; of a list comes a list
result.mask, result.shares, result["Road"], "Car" in result, result.classes
result.save("seen.png")             # result.plot() is the same as an array
for result in model.stream("drive.mp4", stride=5):
    print(result.time, result.shares["Road"])
session = model.session()           # for one's own loop: session(frame, time=seconds)

What is wrong is a RoadmaskError, whose text is a line for people. help(roadmask.load) goes on from here.
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
