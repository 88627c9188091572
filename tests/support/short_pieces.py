"""Runs in pieces that are short, so that a clip of a few seconds has several of them."""

from __future__ import annotations

import pytest

PIECE = 50  # frames, in place of `frames.PIECE`; more than its `WARM_UP`, and a multiple of `familiar.EVERY`
_KNOW_IT = ("frames", "run.mask_log", "encode.video_sink", "cluster.stretch")


def shorten_pieces(patch: pytest.MonkeyPatch, frames: int = PIECE) -> None:
    for module in _KNOW_IT:
        patch.setattr(f"roadmask.stream.{module}.PIECE", frames)
