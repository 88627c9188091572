"""Many jobs, several at a time: what becomes of one harms no other, and an end comes in order."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from threading import Event

from ..run.settings import SegmentSettings
from .outcome import Outcome, RunJob, run

_LOOK_S = 0.2  # how often the calling thread wakes up, to take signals


def run_batch(
    jobs: Sequence[SegmentSettings],
    run_job: RunJob,
    *,
    at_once: int,
    stop: Event,
    on_end: Callable[[Outcome], None],
    on_look: Callable[[], None] | None = None,
) -> None:
    """Run the jobs in their order, until all are over or `stop` is set; a full disk, which is everybody's, sets it.

    Args:
        jobs: what to do.
        run_job: does one, on a thread of its own; it may raise what it likes. When `stop` is set it ends early.
        at_once: so many jobs at a time.
        stop: set it to begin no more.
        on_end: told what became of each, on this thread, as it ends.
        on_look: called several times a second, on this thread.
    """
    waiting, ended = deque(jobs), queue.SimpleQueue[Outcome | None]()

    def work() -> None:
        while not stop.is_set():
            try:
                job = waiting.popleft()
            except IndexError:
                break
            outcome = run(job, run_job)
            if outcome.is_disk_full:
                stop.set()  # here, so that this thread begins no other
            ended.put(outcome)
        ended.put(None)

    # Daemons: where a second Ctrl-C ends all at once, none of them is waited for.
    threads = [threading.Thread(target=work, name=f"job {number + 1}", daemon=True) for number in range(at_once)]
    for thread in threads:
        thread.start()
    try:
        for outcome in _ends(ended, at_once, on_look):
            on_end(outcome)
    except Exception:
        stop.set()
        _join(threads)  # they finish their files
        raise
    _join(threads)


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.join()


def _ends(
    ended: queue.SimpleQueue[Outcome | None], workers: int, on_look: Callable[[], None] | None
) -> Iterator[Outcome]:
    """What the workers put there, until each has said with a `None` that it has ended."""
    while workers:
        if on_look:
            on_look()
        try:
            outcome = ended.get(timeout=_LOOK_S)
        except queue.Empty:
            continue
        if outcome is None:
            workers -= 1
        else:
            yield outcome
