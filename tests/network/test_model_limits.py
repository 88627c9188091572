"""A model from anywhere takes neither all the time nor all the memory, and a wrong one is told in a line."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from roadmask.stream.cli import main
from roadmask.stream.errors import DeviceError, ModelError
from roadmask.stream.network import sessions
from roadmask.stream.network.model import Model
from roadmask.stream.system.stop import within
from tests.support.clips import cfr, make_clip
from tests.support.color_model import COLORS, SPEC, write_color_model
from tests.support.own_process import LIMIT_S, python
from tests.support.waiting import LONG_S

BLACK = np.zeros((48, 64, 3), np.uint8)
PICTURES = np.zeros((1, 64, 96, 3), np.uint8)


def heavy(path: Path, *, side: int, products: int, folded: bool = False, planes: int = 3) -> Path:
    """A model that multiplies matrices of `side` x `side` beside its scores.

    Args:
        path: to be written.
        side: of the matrices.
        products: how many, one after the other.
        folded: they depend on nothing, so that they are worked out when the model is loaded.
        planes: channels of its scores.
    """
    nodes = [
        helper.make_node("Transpose", ["image"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["channels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], keepdims=0),
        helper.make_node("ConstantOfShape" if folded else "Expand", ["side"] if folded else ["mean", "side"], ["m0"]),
        *(helper.make_node("MatMul", [f"m{n}", f"m{n}"], [f"m{n + 1}"]) for n in range(products)),
        helper.make_node("ReduceMean", [f"m{products}"], ["waste"], keepdims=0),
        helper.make_node("Cast", ["mean"], ["nothing"], to=TensorProto.INT64),  # of black pictures
        helper.make_node("Add", ["times", "nothing"], ["worked out"]),
        helper.make_node("Tile", ["float", "worked out"], ["planes"]),
        helper.make_node("Add", ["planes", "waste"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "heavy",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", "c", "h", "w"])],
        [
            numpy_helper.from_array(np.array([side, side], np.int64), "side"),
            numpy_helper.from_array(np.array([1, planes // 3, 1, 1], np.int64), "times"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"roadmask.spec": json.dumps(SPEC)})
    onnx.save(model, str(path))
    return path


def test_a_model_that_computes_on_and_on_is_stopped_in_its_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sessions, "FIRST_PICTURE_S", 0.5)
    model = heavy(tmp_path / "heavy.onnx", side=1000, products=1000)
    clip = make_clip(tmp_path / "drive.mp4", cfr(3), picture=BLACK)
    began = time.monotonic()
    assert main(["run", str(clip), "-o", f"{tmp_path}/out.mp4", "--model", str(model), "--device", "cpu"]) == 1
    assert time.monotonic() - began < LONG_S
    (fault,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("roadmask: ")]
    assert fault.startswith("roadmask: the network took more than 0.5 s for 1 of 96x64; take a smaller model")
    assert not (tmp_path / "out.mp4").exists()


ONE_HUGE_STEP = """
import sys
from roadmask.stream.network import sessions
from roadmask.stream.system import stop
from roadmask.stream.cli import main
sessions.FIRST_PICTURE_S = stop.GRACE_S = 0.5
stop.leave(main(["run", *sys.argv[1:], "--device", "cpu", "--progress", "none"]))
"""


def test_a_step_that_cannot_be_stopped_is_left_behind(tmp_path: Path) -> None:
    model = heavy(tmp_path / "heavy.onnx", side=15_000, products=1)
    clip = make_clip(tmp_path / "drive.mp4", cfr(3), picture=BLACK)
    arguments = [*python(ONE_HUGE_STEP), clip, "-o", tmp_path / "out.mp4", "--model", model]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("roadmask: the network took more than 0.5 s")
    assert "Traceback" not in done.stderr


def test_a_model_that_is_computed_while_it_is_loaded_is_stopped_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LOAD_S", 0.5)
    model = heavy(tmp_path / "heavy.onnx", side=1000, products=2000, folded=True)
    with pytest.raises(ModelError, match=r"heavy\.onnx: could not be loaded in 0\.5 s; take a smaller model"):
        Model.load(model, device="cpu")


def test_only_the_first_run_of_a_size_is_watched_and_all_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model.load(write_color_model(tmp_path / "colors.onnx"), device="cpu")
    first = model.scores(PICTURES)
    monkeypatch.setattr("roadmask.stream.network.sessions.within", None)  # so that to call it would fail
    np.testing.assert_array_equal(model.scores(PICTURES), first)
    with pytest.raises(ModelError, match="NoneType"):
        model.scores(np.zeros((2, 64, 96, 3), np.uint8))


def test_a_network_whose_values_take_terabytes_is_one_line(tmp_path: Path) -> None:
    model = Model.load(heavy(tmp_path / "heavy.onnx", side=1_000_000, products=0), device="cpu")
    with pytest.raises(DeviceError, match=r"out of memory with a picture of 96x64"):
        model.scores(PICTURES)


def test_a_network_that_gives_other_scores_than_it_says_is_told(tmp_path: Path) -> None:
    model = Model.load(heavy(tmp_path / "heavy.onnx", side=2, products=1, planes=6), device="cpu")
    with pytest.raises(ModelError, match=rf"gives \(1, 6, 64, 96\) for 1 pictures and {len(COLORS)} classes"):
        model.scores(PICTURES)


@pytest.mark.parametrize("added", [float("nan"), float("inf"), float("-inf")])
def test_scores_that_are_no_numbers_end_the_run_with_one_line_and_no_output(
    added: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_color_model(tmp_path / "broken.onnx", added=added)
    clip = make_clip(tmp_path / "drive.mp4", cfr(3), picture=BLACK)
    assert main(["run", str(clip), "-o", f"{tmp_path}/out.mp4", "--model", str(model), "--device", "cpu"]) == 1
    (fault,) = [line for line in capsys.readouterr().err.splitlines() if "roadmask: " in line]
    assert "the network gives scores that are no numbers (NaN or infinite)" in fault
    assert not (tmp_path / "out.mp4").exists()


def test_a_spec_that_asks_for_a_huge_picture_takes_no_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {**SPEC["input"], "height": 8192, "width": 8192}
    model = write_color_model(tmp_path / "huge.onnx", metadata={**SPEC, "input": asked})
    for command in (["warmup", "--model", str(model)], ["info", str(model)], ["bench", "--model", str(model)]):
        assert main(command) == 1
        (fault,) = capsys.readouterr().err.splitlines()
        assert "input 8192x8192 in steps of 32 is too large" in fault


def test_what_a_limited_call_returns_or_raises_comes_through() -> None:
    late = ModelError("late")
    assert within(5, lambda: 7, cancel=lambda: None, late=late) == 7
    with pytest.raises(TimeoutError, match="its own"):
        within(5, _own_time_out, cancel=lambda: None, late=late)


def _own_time_out() -> None:
    raise TimeoutError("its own")
