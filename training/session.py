"""A run at the terminal: progress, interruption, plots, and what to do next."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from .checkpoint import Checkpoint, load
from .command import train_command
from .console import Talk, print_class_table, print_line
from .run_folder import BEST, HISTORY, LAST, SETTINGS, STEPS
from .settings import TrainSettings, from_plain, settled
from .train import how_far, is_over
from .train import train as train_network

_INTERRUPTED = 130


def train_once(settings: TrainSettings, run: Path, *, resume: bool, stop_at: float | None) -> None:
    command = f"{train_command(settings, run)} --resume"
    with interruption(command):
        last, plots = train_watched(settings, run, resume=resume, stop_at=stop_at)
    _print_result(run)
    for path in [*(run / name for name in (LAST, BEST, HISTORY, STEPS, SETTINGS)), *plots]:
        print_line(f"wrote {path}")
    if is_whole(last):
        print_line(f"next: roadmask export {run / BEST} -o model.onnx")
    else:
        print_stopped(last, command)


def train_watched(
    settings: TrainSettings, run: Path, *, resume: bool, stop_at: float | None, label: str = "training"
) -> tuple[Checkpoint, list[Path]]:
    """Train with talk and a bar; the last checkpoint and the plots."""
    with Talk(label) as talk:
        last = train_network(
            settings,
            run,
            resume=resume,
            stop_at=stop_at,
            on_step=lambda done, total, loss: talk.step(done, total, f"loss {loss:.4f}"),
            on_epoch=talk.epoch,
            on_message=talk.say,
        )
        return last, _draw(run, talk)


def is_whole(checkpoint: Checkpoint) -> bool:
    return is_over(settled(from_plain(checkpoint.settings)), *_spent(checkpoint))


@contextmanager
def interruption(command: str) -> Iterator[None]:
    """Ctrl-C ends with the code for it, and with the command to go on with; so does SIGTERM, as clusters send it."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if is_main else None
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"roadmask: interrupted; go on with\n  {command}", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)


def print_stopped(checkpoint: Checkpoint, command: str) -> None:
    done = how_far(settled(from_plain(checkpoint.settings)), *_spent(checkpoint))
    print_line(f"stopped after {done}, as its time was over; go on with")
    print_line(f"  {command}")


def _spent(checkpoint: Checkpoint) -> tuple[int, float]:
    """Epochs, and seconds."""
    progress = checkpoint.progress or {}
    return int(progress["epoch"]), float(progress.get("seconds", 0))


def _draw(run: Path, talk: Talk) -> list[Path]:
    """The plots; a run without them is still a run, so a failure is told and no more."""
    try:
        from .plots import draw_run

        return list(draw_run(run))
    except Exception as exc:  # noqa: BLE001 - whatever it is: the weights are safe on disk, and the user is told
        talk.say(f"roadmask: the plots could not be drawn ({type(exc).__name__}: {exc})")
        return []


def _print_result(run: Path) -> None:
    best = load(run / BEST)
    values = [f"{best.scores[f'iou_{name}']:.4f}" for name in best.class_names]
    title = f"best epoch: mIoU {best.scores['miou']:.4f}, accuracy {best.scores['accuracy']:.4f}"
    print_class_table(title, "IoU", best.class_names, best.class_colors, values)
