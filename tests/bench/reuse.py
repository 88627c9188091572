"""What reuse saves on a video, and what it changes: python tests/bench/reuse.py CLIP [--start T] [--end T] [--model M].

The clip is segmented with and without reuse, in turn: the share of frames that took the mask before, a core's time for
a frame of each, and the share of labels that differ, with those of road users apart. Beside them, what two masks of
the same lag differ by that were both worked out: where nothing moves, that is the network's own indecision.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadmask.stream.commands.options import parse_moment
from roadmask.stream.frames import Frame, SegmentedFrame
from roadmask.stream.masks.reuse import mark_unchanged
from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import segment_video

_ROAD_USERS = {"car", "pedestrian", "bicyclist"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--start", type=parse_moment)
    parser.add_argument("--end", type=parse_moment)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--smooth", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()

    model = Model.load(options.model)
    users = [number for number, name in enumerate(model.spec.class_names) if name.lower() in _ROAD_USERS]

    def segment(*, reuse: bool) -> Iterator[SegmentedFrame]:
        return segment_video(
            options.clip, model=model, start=options.start, end=options.end, smooth=options.smooth, reuse=reuse
        )

    _report(list(_timed(segment(reuse=False))), list(_timed(segment(reuse=True))), users)
    _report_check([item.frame for item, _ in _timed(segment(reuse=False))])


def _timed(results: Iterator[SegmentedFrame]) -> Iterator[tuple[SegmentedFrame, float]]:
    """Each frame, and the time on a core that the process took until it was there."""
    started = time.process_time()
    for result in results:
        yield result, time.process_time() - started


Timed = list[tuple[SegmentedFrame, float]]


def _report(without: Timed, with_: Timed, users: list[int]) -> None:
    kept = np.array([item.frame.unchanged for item, _ in with_])
    before_ms, after_ms = (1000 * run[-1][1] / len(run) for run in (without, with_))
    print(f"{len(kept)} frames, {kept.sum()} reused ({kept.mean():.3f}), longest stretch {_longest(kept)}")
    print(f"processor ms a frame: {before_ms:.1f} without, {after_ms:.1f} with ({after_ms / before_ms:.3f})")
    masks = [item.mask for item, _ in without]
    source = np.maximum.accumulate(np.where(kept, 0, np.arange(len(kept))))
    _print_difference("labels that differ with reuse", [item.mask for item, _ in with_], masks, users)
    _print_difference("labels that differ at these lags anyway", [masks[number] for number in source], masks, users)


def _print_difference(
    name: str, some: list[NDArray[np.uint8]], others: list[NDArray[np.uint8]], users: list[int]
) -> None:
    of_all, of_users = [], []
    for mask, other in zip(some, others, strict=True):
        differs = mask != other
        is_user = np.isin(mask, users) | np.isin(other, users)
        of_all.append(differs.mean())
        of_users.append((differs & is_user).mean())
    print(
        f"{name}: mean {100 * np.mean(of_all):.3f} %, worst frame {100 * max(of_all):.2f} % "
        f"(number {int(np.argmax(of_all))}); "
        f"road users: mean {100 * np.mean(of_users):.3f} %, worst {100 * max(of_users):.2f} %"
    )


def _report_check(frames: list[Frame]) -> None:
    started = time.thread_time()
    for _ in mark_unchanged(frames):
        pass
    print(f"to look for changes: {1000 * (time.thread_time() - started) / len(frames):.3f} ms a frame")


def _longest(kept: NDArray[np.bool_]) -> int:
    longest = length = 0
    for item in kept:
        length = length + 1 if item else 0
        longest = max(longest, length)
    return longest


if __name__ == "__main__":
    main()
