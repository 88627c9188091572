"""The folder of a run: what lies in it, and going on with one that was stopped."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from . import checkpoint as checkpoints
from .checkpoint import Checkpoint
from .classmap import split_map
from .command import option_text, train_command
from .errors import CheckpointError
from .field_types import misfit
from .provenance import versions
from .settings import OPEN, SettledSettings, TrainSettings, from_plain, plain

LAST = "last.pt"  # after the last whole epoch, with all that `--resume` needs
BEST = "best.pt"  # the model with the best validation mIoU: the one to export
HISTORY = "history.csv"  # a row an epoch
STEPS = "steps.csv"
SETTINGS = "settings.json"
_NEEDED = ("epoch", "weights", "optimizer", "best", "history")  # 1.0 did not write the others
_PROGRESS = {
    "epoch": int,
    "steps": int,
    "seconds": float,
    "weights": dict[str, Tensor],
    "optimizer": dict[str, Any],
    "best": float,
    "history": list[dict[str, Any]],
    "meanings": list[dict[str, str]],
}
_MAY_CHANGE = frozenset({"device", "loaders"})  # where a run is computed, not what
_PATHS = frozenset({"data", "unlabelled", "teachers", "valid_list", "start_from"})
# Stand in the checkpoint, and need not be told.
_KNOWN = frozenset({"encoder", "decoder", "convolution", "context", *OPEN})


def load_previous(run: Path, settings: TrainSettings, *, resume: bool) -> Checkpoint | None:
    """The checkpoint to go on from; None where `run` holds none yet.

    Raises:
        CheckpointError: there is a run but `resume` is off, or its settings were others.
    """
    last = run / LAST
    if not last.exists():
        return None
    if not resume:
        raise CheckpointError(f"{run}: holds a run already; go on with --resume, or choose another folder")
    previous = checkpoints.load(last)
    if previous.progress is None:
        raise CheckpointError(f"{last}: a finished model, without what resuming needs; choose another folder")
    if wrong := misfit(previous.progress, _PROGRESS, needed=_NEEDED):
        raise CheckpointError(f"{last}: cannot be gone on with: its {wrong}; choose another folder")
    now = plain(settings)
    try:
        before = plain(from_plain(previous.settings))  # an older run does not name newer settings
    except (LookupError, TypeError) as exc:
        raise CheckpointError(f"{last}: its settings are not those of a run ({exc}); choose another folder") from exc
    for name in now:
        is_same = _place(name, before.get(name)) == _place(name, now[name]) or (name in _KNOWN and now[name] is None)
        if name not in _MAY_CHANGE and not is_same:
            raise CheckpointError(
                f"{run}: was started with {name} = {option_text(name, before.get(name))}, not "
                f"{option_text(name, now[name])}; resume with the same "
                f"settings (the command is in {run / SETTINGS}), or choose another folder"
            )
    return previous


def _place(name: str, value: Any) -> Any:
    """What is compared of a setting: of paths, which may be written in several ways, where they lead to."""
    if name not in _PATHS or value is None:
        return value
    return _resolved(value) if isinstance(value, str) else list(map(_resolved, value))


def _resolved(text: str) -> tuple[Path, Path | str]:
    folder, mapped = split_map(text)
    return folder.resolve(), Path(mapped).resolve() if Path(mapped).is_file() else mapped


def check_same_data(previous: Checkpoint, class_names: tuple[str, ...], meanings: Sequence[dict[str, str]]) -> None:
    """See that the classes are still those of the run, also those of each data set by its map.

    Raises:
        CheckpointError: names what is another.
    """
    if previous.class_names != class_names:
        raise CheckpointError(
            f"the classes of the data ({', '.join(class_names)}) are no longer those of the run "
            f"({', '.join(previous.class_names)}); choose another folder"
        )
    known = (previous.progress or {}).get("meanings", meanings)
    if len(known) != len(meanings):
        raise CheckpointError(f"the run had {len(known)} data sets, not {len(meanings)}; choose another folder")
    for before, now in zip(known, meanings, strict=True):
        for name in before.keys() | now.keys():
            if before.get(name) != now.get(name):
                raise CheckpointError(
                    f"the data's class {name} was taken for {before.get(name)} in the run, not for {now.get(name)}; "
                    "resume with the same maps, or choose another folder"
                )


def make_folder(run: Path, asked: TrainSettings, settings: SettledSettings) -> None:
    """Make the folder and write into it how to repeat the run, and what was chosen where nothing was asked."""
    content = {
        "settings": plain(asked),
        "chosen": {name: getattr(settings, name) for name in OPEN if getattr(asked, name) is None},
        "command": train_command(asked, run),
        "started_as": sys.argv,
        "versions": versions(),
    }
    try:
        run.mkdir(parents=True, exist_ok=True)
        (run / SETTINGS).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as exc:
        raise CheckpointError(f"{run}: cannot be used as a folder for the run ({exc.strerror})") from exc
