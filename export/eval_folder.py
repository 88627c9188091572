"""The folder of `roadmask eval -o`: scores, confusion matrix, frames, and pictures of both."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..stream.system.talk import cell_text
from .errors import ExportError
from .eval_report import plain
from .scores import Evaluation, FrameScore

if TYPE_CHECKING:  # Pillow, which --help must do without
    from .worst import WorstFrames

SCORES, CONFUSION, CONFUSION_PLOT = "scores.json", "confusion.csv", "confusion.png"
WORST, FRAMES = "worst.png", "frames.csv"
_FILES = (SCORES, CONFUSION, CONFUSION_PLOT, WORST, FRAMES)
_FRAME_COLUMNS = ("name", "drive", "miou", "accuracy", "flicker")
_DOTS_PER_INCH = 120


@contextmanager
def result_folder(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """A place to write the files to; they move into `folder` when the block ends well, and are gone if it does not.

    Raises:
        ExportError: `folder` holds such files and they must not be replaced, or it cannot be written. On entering, so
            before the work.
    """
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder}: is a file; name a folder")
    if find_spec("matplotlib") is None:
        raise ExportError("-o draws the confusion matrix with matplotlib; pip install matplotlib")
    if not overwrite and (there := [name for name in _FILES if (folder / name).exists()]):
        raise ExportError(f"{folder}: holds {', '.join(there)} already; pass --overwrite, or name another folder")
    is_new = not folder.exists()
    try:
        with ExitStack() as stack:
            with _writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                temporary = Path(stack.enter_context(TemporaryDirectory(prefix=".partial-", dir=folder)))
            yield temporary
            with _writing(folder):
                for path in sorted(temporary.iterdir()):
                    path.replace(folder / path.name)
    finally:
        if is_new:
            with suppress(OSError):  # it holds what was asked for
                folder.rmdir()


def result_paths(folder: Path) -> tuple[Path, ...]:
    """What stands in `folder` then."""
    return tuple(folder / name for name in _FILES)


def write_results(folder: Path, evaluation: Evaluation, worst: WorstFrames) -> None:
    """Write all files into `folder`.

    Raises:
        ExportError: it cannot be written to.
    """
    from .confusion_plot import confusion_plot  # matplotlib takes half a second that a run without -o need not pay

    names = evaluation.group_names
    what = f"{evaluation.model.name} on {evaluation.data.name}"
    title = f"{what}\n{evaluation.chosen_by}: mIoU {evaluation.mean_iou:.3f}, accuracy {evaluation.accuracy:.3f}"
    confusion = zip(names, evaluation.confusion.tolist(), strict=True)
    with _writing(folder):
        (folder / SCORES).write_text(json.dumps(plain(evaluation), indent=2) + "\n", encoding="utf-8")
        _write_csv(folder / CONFUSION, ["truth", *names], ([name, *counts] for name, counts in confusion))
        _write_csv(folder / FRAMES, _FRAME_COLUMNS, map(_frame_row, evaluation.frames))
        figure = confusion_plot(evaluation.confusion, names, title)
        figure.savefig(folder / CONFUSION_PLOT, dpi=_DOTS_PER_INCH)
        worst.sheet(evaluation.labels).save(folder / WORST)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ExportError(f"{folder}: cannot be written ({exc.strerror or exc})") from exc


def _frame_row(frame: FrameScore) -> list[object]:
    return [frame.name, frame.drive, _cell(frame.mean_iou), _cell(frame.accuracy), _cell(frame.flicker)]


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[list[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for row in (header, *rows):
            writer.writerow([cell_text(value) if isinstance(value, str) else value for value in row])


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"
