"""What a power cut leaves is what was synced: of that the next run goes on, or has whole results."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadmask.stream.network.model import Model
from roadmask.stream.run import stages
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import SegmentSettings
from tests.support.clips import cfr, make_clip
from tests.support.power import Disk
from tests.support.short_pieces import shorten_pieces

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")

FRAMES, PIECE = 8, 3


def written(folder: Path) -> Iterator[Path]:
    """All that is not empty: on that nothing relies."""
    return (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


@pytest.mark.parametrize("every_s", [0.0, 1000.0])  # the latter of a run that ends before there is a state
@pytest.mark.parametrize(("masks", "stats"), [("m.zip", "s.csv"), ("m", "s.csv"), ("m.mkv", "s.parquet")])
def test_what_a_run_can_go_on_from_and_what_it_has_made_is_on_disk_before_anything_relies_on_it(
    masks: str, stats: str, every_s: float, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_pieces(monkeypatch, PIECE)
    monkeypatch.setattr(stages, "EVERY_S", every_s)
    clip, out = make_clip(tmp_path / "a.mp4", cfr(FRAMES), size=(32, 48)), tmp_path / "out"
    disk, replace, rename = Disk(monkeypatch), os.replace, os.rename
    relied: list[str] = []

    def replaced(source: Path, target: Path) -> None:
        if Path(target).name == "state.npz":
            assert [path.name for path in written(out) if path != Path(target) and not disk.has(path)] == []
            relied.append("state")
        replace(source, target)

    def renamed(source: Path, target: Path) -> None:
        if Path(source).name.endswith(".progress") and Path(source).exists():  # which is to be removed
            made = [path for path in written(out) if not path.is_relative_to(source)]
            assert [path.name for path in made if not disk.has(path) or not disk.has_name(path)] == []
            relied.append("end")
        rename(source, target)

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "rename", renamed)
    outputs = {"overlay": out / "o.mp4", "masks": out / masks, "stats": out / stats}
    process_video(SegmentSettings(clip, preset="ultrafast", **outputs), Model.load(model, device="cpu", threads=1))
    assert relied == ["state"] * (0 if every_s else FRAMES) + ["end"]
