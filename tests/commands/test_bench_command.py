"""`roadmask bench`: every case is measured, beside the bare model, and told to people and programs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import roadmask
from roadmask.stream.bench.bench import BARE, SIDE_BY_SIDE, Case, Sample
from roadmask.stream.bench.clip import draw_drive
from roadmask.stream.cli import main
from roadmask.stream.commands import bench
from roadmask.stream.decode.source import open_source
from tests.support.clips import cfr, make_clip
from tests.support.color_model import write_color_model
from tests.support.own_process import LIMIT_S, python

CASES = {
    BARE,
    SIDE_BY_SIDE,
    "decode",
    "decode, infer, decide",
    "run: statistics",
    "run: masks, zip of PNG",
    "run: masks, FFV1",
    "run: overlay",
    "run: overlay, masks, statistics",
    "run: overlay, --every 200ms",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_color_model(tmp_path_factory.mktemp("model") / "m.onnx")


def test_every_case_is_timed_in_every_round(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = make_clip(tmp_path / "clip.mp4", cfr(12), size=(96, 128))
    assert main(["bench", str(clip), "--model", str(model), "--max-frames", "10", "--repeats", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["clip"] == "clip.mp4, 128x96 h264, 10 frames"
    cases = {case["name"]: case for case in told["cases"]}
    assert set(cases) >= CASES
    beside = {name.partition(": ")[2] for name in set(cases) - CASES}  # the other runtime, where there is one
    assert beside == ({"side by side", "run: overlay"} if find_spec("openvino") else set())
    for case in cases.values():
        assert len(case["rounds_fps"]) == 2
        assert case["fps"] > 0
        assert case["processor_ms"]["all"] > 0
    assert cases[BARE]["of_bare"] == 1
    assert cases[SIDE_BY_SIDE]["of_both"] == 1
    stages = cases["run: overlay"]["processor_ms"]
    assert {"decode", "infer", "decide", "write", "libraries"} < set(stages)
    assert told["most_waiting"] > 0
    assert all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in [*told, *cases[BARE]]), "names that programs can use"


def test_without_a_clip_a_drive_is_drawn_and_the_table_names_every_case(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--video-size", "128x96", "--max-frames", "10", "--repeats", "1"]
    assert main(["bench", "--model", str(model), *options]) == 0
    table = capsys.readouterr().out
    assert max(map(len, table.splitlines())) <= 120, "a line a case in a window of that width"
    assert "drawn.mp4, 128x96 h264, 10 frames" in table
    for name in CASES:
        assert f"\n{name} " in table


def test_versions_are_told_of_a_checkout_that_nobody_installed_and_of_onnxruntime_by_any_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        if name != "openvino":
            raise PackageNotFoundError(name)  # as of onnxruntime, where onnxruntime-gpu brings it
        return "2026.4"

    monkeypatch.setattr(bench, "version", version)
    told = bench._versions()
    assert told["roadmask"] == roadmask.__version__
    assert {"onnxruntime", "av", "numpy", "python"} <= told.keys()


@pytest.mark.parametrize("size", ["960", "961x540", "0x0", "960x", "wide"])
def test_a_size_that_is_none_is_wrong_usage(model: Path, size: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--model", str(model), "--video-size", size]) == 2
    assert re.search(r"is no size such as 1280x720|must be even", capsys.readouterr().err)


def test_a_clip_that_cannot_be_read_is_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(tmp_path / "none.mp4"), "--model", str(model)]) == 1
    assert capsys.readouterr().err.strip().endswith("none.mp4: no such file")


def test_the_time_of_a_frame_is_split_into_stages_and_libraries() -> None:
    samples = [
        Sample(10, 2.0, 1.5, {"decode": 0.25, "write": 0.5}, 100.0),
        Sample(10, 4.0, 1.5, {"decode": 0.25}, None),
    ]
    case = Case("x", lambda: (0, {}), samples)
    assert case.rate == 3.75
    assert case.processor_ms == {"all": 150, "decode": 25, "write": 50, "libraries": 100}
    assert case.peak_memory_mb == 100


def test_the_drawn_drive_moves_and_has_the_size_asked_for(tmp_path: Path) -> None:
    draw_drive(tmp_path / "drive.mp4", height=90, width=160, frames=4)
    with open_source(tmp_path / "drive.mp4") as source:
        assert (source.info.width, source.info.height, source.info.rate) == (160, 90, 30)
        pictures = [frame.input.astype(int) for frame in source.frames(lambda _: (96, 160))]
    assert len(pictures) == 4
    ground = slice(48, None)
    for before, after in pairwise(pictures):
        assert np.abs(after - before)[ground].mean() > 2, "more than noise"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can begin a new peak")
def test_a_new_peak_forgets_what_was_freed() -> None:
    """In a process of its own: one that has freed gigabytes before may take these from there."""
    script = """
        import numpy as np
        from roadmask.stream.system.machine import forget_peak, peak_memory_mb

        forget_peak()
        base = peak_memory_mb()
        block = np.ones(40_000_000, np.uint8)
        high = peak_memory_mb()
        del block
        forget_peak()
        print(base, high, peak_memory_mb())
    """
    done = subprocess.run(python(script), capture_output=True, text=True, check=True, timeout=LIMIT_S)
    base, high, low = map(float, done.stdout.split())
    assert high > base + 30
    assert low < high - 30
