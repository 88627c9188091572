"""A file's frames come in pieces that do not depend on each other: each can be made by itself, later or elsewhere.

A smoothed mask depends on every frame before it, if ever so little, and a compressed picture on those before. So each
piece begins with a new encoder, and with a new smoother that has seen the frames just before: what is older weighs next
to nothing by then. The pieces of a run are the same wherever it was begun, broken off and taken up again.
"""

from __future__ import annotations

PIECE = 250  # frames written; about ten seconds, as many as x264's own keyframes lie apart at most
# Frames before a piece that its smoother sees. What was before these weighs 0.9 ** 48 = 0.006 at most: see
# `smooth._MAX_MEMORY`. They are smoothed twice, which takes a fifth more of the smoother's time.
WARM_UP = 48


def begins(position: int) -> bool:
    """Whether a piece begins with the frame at `position` among those written."""
    return position % PIECE == 0


def warms_up(position: int) -> bool:
    """Whether it is the first frame that the next piece's smoother sees."""
    return position % PIECE == PIECE - WARM_UP
