"""Two runs that must have the same result, one of which was killed on its way."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch

from roadmask.training.checkpoint import Checkpoint, load

UNEQUAL = {"seconds", "peak_memory_mb"}  # of two equal runs


class KilledError(Exception):
    """In place of a power cut."""


def kill_at_step(fatal: int) -> Any:
    def on_step(done: int, _total: int, _loss: float) -> None:
        if done == fatal:
            raise KilledError

    return on_step


def comparable(checkpoint: Checkpoint) -> dict[str, Any]:
    """All of a checkpoint that must be equal in two equal runs."""
    assert checkpoint.progress is not None
    rows = [{key: row[key] for key in row if key not in UNEQUAL} for row in checkpoint.progress["history"]]
    fields = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__ if name != "progress"}
    progress = {key: value for key, value in checkpoint.progress.items() if key not in UNEQUAL}
    return {**fields, "progress": {**progress, "history": rows}}


def assert_equal(left: object, right: object, where: str = "") -> None:
    """Bit for bit, down to the last tensor."""
    if isinstance(left, dict) and isinstance(right, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            assert_equal(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        assert torch.equal(left, right), where
    elif isinstance(left, list) and isinstance(right, list):
        assert len(left) == len(right), where
        for index, pair in enumerate(zip(left, right, strict=True)):
            assert_equal(*pair, f"{where}[{index}]")
    else:
        assert left == right, where


def assert_same_run(run: Path, whole: Path) -> None:
    assert_equal(comparable(load(run / "last.pt")), comparable(load(whole / "last.pt")))
    assert_equal(load(run / "best.pt").weights, load(whole / "best.pt").weights)
    assert load(run / "best.pt").scores == load(whole / "best.pt").scores
    assert table(run) == table(whole)
    assert table(run, "steps.csv") == table(whole, "steps.csv")
    assert {path.name for path in run.iterdir()} == {path.name for path in whole.iterdir()}


def table(run: Path, name: str = "history.csv") -> list[dict[str, str]]:
    with (run / name).open(newline="", encoding="utf-8") as file:
        return [{key: row[key] for key in row if key not in UNEQUAL} for row in csv.DictReader(file)]
