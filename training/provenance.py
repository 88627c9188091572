"""Where a model comes from: data, licence note, code and versions."""

from __future__ import annotations

import importlib.metadata
import math
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from .checkpoint import Checkpoint
from .mixture import Part
from .settings import TrainSettings


def provenance(
    settings: TrainSettings, parts: Sequence[Part], parent: Checkpoint | None, teachers: Sequence[Checkpoint]
) -> dict[str, str]:
    """Goes into the checkpoint and from there into the exported model; names no folder but the data sets' own."""
    return {
        "data": "; ".join(_described(part, learn_all=settings.learn_all) for part in parts),
        "license_note": _license_notes(settings.license_note, [*([parent] if parent else []), *teachers]),
        **({"start_from": _ancestry(parent)} if parent else {}),
        **({"teachers": "; ".join(map(_ancestry, teachers))} if teachers else {}),
        "commit": commit(),
        "torch": str(torch.__version__),  # of a class of its own, which `weights_only` would refuse to load
        "started": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _license_notes(own: str, ancestors: Sequence[Checkpoint]) -> str:
    """This run's, and those of what it starts from and is taught by: the terms of their pictures do not end there."""
    notes = [own, *(ancestor.provenance.get("license_note", "") for ancestor in ancestors)]
    return "; ".join(dict.fromkeys(note for note in notes if note))


def _described(part: Part, *, learn_all: bool) -> str:
    count = f"{part.name}, {len(part.dataset.examples)} pictures"
    if part.horizon is not None:
        return f"{count} without labels"
    if learn_all:
        return f"{count}, all of them learnt"
    return f"{count}; validation by {part.split.valid_by}" if part.split.valid else count


def _ancestry(parent: Checkpoint) -> str:
    """The run that the weights came from: the data it saw, and its recipe."""
    data, made_by = parent.provenance.get("data", ""), f"commit {parent.provenance.get('commit', '')}"
    if not parent.settings:
        return f"a model file, trained on {data}; {parent.provenance.get('recipe', '')}, {made_by}"
    done, budget_s = (parent.progress or {}).get("epoch", "the best"), parent.settings.get("budget_s")
    of = f"in {budget_s:g} s" if budget_s else f"of {parent.settings.get('epochs', '?')}"
    lr, miou = parent.settings.get("lr", "?"), parent.scores.get("miou", math.nan)
    return f"epoch {done} {of} on {data}; lr {lr}, mIoU {miou:.4f}, {made_by}"


def versions() -> dict[str, str]:
    """Of what a run's numbers depend on."""
    packages = ("roadmask", "torch", "numpy", "opencv-python-headless", "opencv-python", "pillow")
    installed = {name: _version(name) for name in packages}
    known = {name: version for name, version in installed.items() if version}
    return {"python": platform.python_version(), **known, "commit": commit()}


def commit() -> str:
    """Of the roadmask checkout this runs from; "" when installed from a wheel."""
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / ".git").exists():  # else git would answer for a repository that the environment lies in
        return ""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - nothing in it is from outside
    except (OSError, subprocess.CalledProcessError):
        return ""
    return result.stdout.strip()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
