"""OpenVINO: what it computes beside ONNX Runtime, what it keeps, and what is said where it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from roadmask.stream.bench.clip import draw_drive
from roadmask.stream.cli import main
from roadmask.stream.decode.source import open_source
from roadmask.stream.errors import DeviceError, ModelError
from roadmask.stream.network import openvino_session, sessions
from roadmask.stream.network.model import Model
from roadmask.stream.network.providers import choices
from roadmask.stream.system.machine import computes_in
from tests.support.color_model import SPEC, spec, write_color_model
from tests.support.own_process import LIMIT_S, python
from tests.support.waiting import LONG_S

pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
SIZE = (96, 160)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "roadmask" / "openvino"


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.uint8]:
    """Pictures of a road that is drawn, as the network takes them."""
    path = tmp_path_factory.mktemp("drive") / "drive.mp4"
    draw_drive(path, height=192, width=320, frames=5)
    with open_source(path) as source:
        return np.stack([frame.input for frame in source.frames(lambda _: SIZE)])


def compiled(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("*.blob"))


def equal_labels(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float((one.argmax(1) == other.argmax(1)).mean())


def test_in_float32_it_labels_as_onnx_runtime_does(drive: NDArray[np.uint8]) -> None:
    scores = Model.load("camvid-lite0", device="openvino:fp32").scores(drive)
    assert scores.dtype == np.float32
    # They sum in another order, which moves what is as good as tied.
    assert equal_labels(scores, Model.load("camvid-lite0", device="cpu").scores(drive)) > 0.9999


def test_an_int8_model_stays_as_near_to_its_float_one_as_in_onnx_runtime(drive: NDArray[np.uint8]) -> None:
    right = Model.load("camvid-lite0", device="cpu").scores(drive)
    theirs = Model.load("camvid-lite0-int8", device="cpu").scores(drive)
    ours = Model.load("camvid-lite0-int8", device="openvino:fp32").scores(drive)
    # Of a drawn road a network is unsure, and they round at other places.
    assert equal_labels(ours, right) > equal_labels(theirs, right) - 0.02


@pytest.mark.parametrize("name", ["camvid-lite0", "camvid-lite0-int8"])
@pytest.mark.parametrize(
    "precision",
    [
        "fp32",
        pytest.param(
            "bf16", marks=pytest.mark.skipif(not computes_in("bf16"), reason="this CPU does not compute in bf16")
        ),
    ],
)
def test_any_batch_threads_and_workers_give_equal_scores_bit_for_bit(
    name: str, precision: str, drive: NDArray[np.uint8]
) -> None:
    device = f"openvino:{precision}"
    one = Model.load(name, device=device, threads=1, workers=1)
    one.prepare(1, SIZE)
    expected = np.concatenate([one.scores(picture[None]) for picture in drive])
    for threads, workers, prepared in ((4, 1, True), (3, 3, True), (2, 2, False)):
        model = Model.load(name, device=device, threads=threads, workers=workers)
        if prepared:  # else it takes pictures of any size
            model.prepare(1, SIZE)
        with ThreadPoolExecutor(workers) as calling:
            scores = list(calling.map(lambda picture, model=model: model.scores(picture[None])[0], drive))
        np.testing.assert_array_equal(np.stack(scores), expected)
    for batch in (3, 5):
        parts = [one.scores(drive[begin : begin + batch]) for begin in range(0, len(drive), batch)]
        np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_what_was_compiled_is_kept_by_size_and_gives_the_same_bits(
    cache: Path, drive: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = "openvino:fp32"
    model = Model.load("camvid-lite0-int8", device=device)
    model.prepare(1, SIZE)
    fresh = model.scores(drive[:1])
    assert len(compiled(cache)) == 1
    assert "160x96" in compiled(cache)[0]
    core = openvino_session._core()
    monkeypatch.setattr(openvino_session, "_core", lambda: _NeverCompiles(core))
    model = Model.load("camvid-lite0-int8", device=device)
    model.prepare(1, SIZE)
    np.testing.assert_array_equal(model.scores(drive[:1]), fresh)
    with pytest.raises(DeviceError, match="compiles anew"):  # another size is another program
        Model.load("camvid-lite0-int8", device=device).prepare(1, (64, 64))


class _NeverCompiles:
    def __init__(self, core: Any) -> None:
        self._core = core

    def __getattr__(self, name: str) -> Any:
        assert name not in ("read_model", "compile_model"), "compiles anew"
        return getattr(self._core, name)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_kept_file_that_is_damaged_is_made_anew(tmp_path: Path, cache: Path, damage: str) -> None:
    path = write_color_model(tmp_path / "m.onnx")
    pictures = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
    expected = Model.load(path, device="openvino:fp32").scores(pictures)
    (kept,) = cache.glob("*.blob")
    whole = kept.read_bytes()
    flipped = whole[:-40] + bytes([whole[-40] ^ 255]) + whole[-39:]
    kept.write_bytes({"cut": whole[: len(whole) // 2], "flipped": flipped, "empty": b""}[damage])
    np.testing.assert_array_equal(Model.load(path, device="openvino:fp32").scores(pictures), expected)
    assert len(kept.read_bytes()) == len(whole)
    assert Model.load(path, device="openvino:fp32").scores(pictures).shape


def test_of_what_is_kept_the_longest_unused_goes_first(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model.load(write_color_model(tmp_path / "m.onnx"), device="openvino:fp32")
    for age, width in ((3, 32), (2, 64), (1, 96)):
        model.prepare(1, (32, width))
        (path,) = cache.glob(f"*-{width}x32-*")
        os.utime(path, (path.stat().st_mtime - 1000 * age,) * 2)
    Model.load(tmp_path / "m.onnx", device="openvino:fp32").prepare(1, (32, 32))  # used again
    monkeypatch.setattr(openvino_session, "_MOST_KEPT", 3.5 * path.stat().st_size)
    model.prepare(1, (64, 64))
    assert [name.split("-")[2] for name in compiled(cache)] == ["32x32", "64x64", "96x32"]


def test_calls_one_after_the_other_share_the_memory_that_they_work_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = openvino_session._runtime().CompiledModel.create_infer_request
    requests: list[Any] = []

    def counted(compiled: Any) -> Any:
        requests.append(made(compiled))
        return requests[-1]

    monkeypatch.setattr(openvino_session._runtime().CompiledModel, "create_infer_request", counted)
    model = Model.load(write_color_model(tmp_path / "m.onnx"), device="openvino:fp32", workers=1)
    for _ in range(4):
        model.scores(np.zeros((1, 64, 96, 3), np.uint8))
    assert len(requests) == 1


def test_a_model_larger_than_all_that_is_kept_is_kept_all_the_same(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_session, "_MOST_KEPT", 1)
    model = Model.load(write_color_model(tmp_path / "m.onnx"), device="openvino:fp32")
    for width in (32, 64):
        model.prepare(1, (32, width))
    assert [name.split("-")[2] for name in compiled(cache)] == ["64x32"]


def test_what_another_version_of_it_has_compiled_is_not_taken(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_color_model(tmp_path / "m.onnx")
    for version in ("2026.4", "2026.5"):
        monkeypatch.setattr(openvino_session._runtime(), "__version__", version)
        Model.load(tmp_path / "m.onnx", device="openvino:fp32").prepare(1, (32, 32))
    assert len(compiled(cache)) == 2


def test_pictures_of_many_sizes_are_compiled_for_once(tmp_path: Path, cache: Path) -> None:
    model = Model.load(write_color_model(tmp_path / "m.onnx"), device="openvino:fp32")
    reference = Model.load(tmp_path / "m.onnx", device="cpu")
    for width in range(32, 32 * 9, 32):
        pictures = np.random.default_rng(width).integers(0, 256, (2, 64, width, 3), np.uint8)
        np.testing.assert_allclose(model.scores(pictures), reference.scores(pictures), rtol=1e-5, atol=1e-2)
    assert [name.split("-")[2] for name in compiled(cache)] == ["any"]


def test_a_folder_that_cannot_be_written_to_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    model = Model.load(write_color_model(tmp_path / "m.onnx"), device="openvino:fp32")
    assert model.scores(np.zeros((1, 64, 96, 3), np.uint8)).shape == (1, 3, 32, 48)


FIRST_CALLS = """
import sys, threading, time
import numpy as np, numpy.lib
from roadmask.stream.network.model import Model

class Slow(numpy.lib.NumpyVersion):  # that OpenVINO asks for at its first array: others come in the middle of it
    def __init__(self, text):
        time.sleep(0.3)
        super().__init__(text)

numpy.lib.NumpyVersion = Slow
model = Model.load(sys.argv[1], device="openvino:fp32", threads=2, workers=2)
session = model._network._session((1, 64, 96))[1]
meeting = threading.Barrier(2)

def call():
    call = session.call(np.zeros((1, 64, 96, 3), np.uint8))
    meeting.wait()
    call.run()

threads = [threading.Thread(target=call) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""


def test_two_first_calls_at_once_do_not_wait_for_each_other_for_ever(tmp_path: Path) -> None:
    path = write_color_model(tmp_path / "m.onnx")
    done = subprocess.run([*python(FIRST_CALLS), path], capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.stdout == "done\n", done.stderr


def test_calls_side_by_side_do_not_wait_for_each_other(tmp_path: Path) -> None:
    model = Model.load(write_color_model(tmp_path / "m.onnx"), device="openvino:fp32", workers=3, threads=3)
    pictures = np.zeros((1, 64, 96, 3), np.uint8)
    (session,) = [model._network._session((1, 64, 96))[1]]  # type: ignore[attr-defined]
    calls = [session.call(pictures) for _ in range(3)]  # each has a request of its own
    meeting = threading.Barrier(3, timeout=LONG_S)

    def run(call: sessions.Call) -> NDArray[np.float32]:
        meeting.wait()
        return np.asarray(call.run())

    with ThreadPoolExecutor(3) as threads:
        for scores in threads.map(run, calls):
            np.testing.assert_array_equal(scores, model.scores(pictures))


def _with_node(path: Path, node: onnx.NodeProto, domain: str = "") -> Path:
    """A model that describes itself and does one thing."""
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["planes"], ["float"], to=TensorProto.FLOAT),
            node,
        ],
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3, "h", "w"])],
    )
    domains = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(graph, opset_imports=domains, ir_version=8)
    helper.set_model_props(model, {"roadmask.spec": json.dumps(SPEC)})
    path.write_bytes(model.SerializeToString())
    return path


def test_a_model_that_it_cannot_read_is_told_in_one_line_with_what_it_lacks(tmp_path: Path) -> None:
    node = helper.make_node("Bogus", ["float"], ["scores"], domain="a.b")
    path = _with_node(tmp_path / "odd.onnx", node, "a.b")
    with pytest.raises(DeviceError, match=r"cannot run odd\.onnx \(.*a\.b\.Bogus\); take --device cpu$") as caught:
        Model.load(path, device="openvino:fp32")
    assert "\n" not in str(caught.value)


def test_auto_goes_on_to_onnx_runtime_where_it_cannot_read_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("roadmask.stream.network.providers.computes_in", lambda _: True)
    path = write_color_model(tmp_path / "m.onnx")

    def fails(*_: object) -> None:
        raise RuntimeError("Exception from somewhere.cpp:1:\n-- No conversion rule found for operations: Odd\n\n")

    monkeypatch.setattr(openvino_session.OpenVinoFile, "_look", fails)
    model = Model.load(path)
    assert model.device == "cpu"
    assert "cannot run m.onnx (-- No conversion rule found for operations: Odd)" in caplog.text


def test_scores_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = _with_node(tmp_path / "nan.onnx", helper.make_node("Log", ["float"], ["scores"]))
    with pytest.raises(ModelError, match="scores that are no numbers"):
        Model.load(path, device="openvino:fp32").scores(np.zeros((1, 64, 96, 3), np.uint8))


def test_a_network_that_computes_on_and_on_is_stopped_in_its_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "FIRST_PICTURE_S", 0.0001)
    monkeypatch.setattr(sessions, "_COMPILING", 1)
    with pytest.raises(ModelError, match=r"the network took more than 0\.0001 s for 1 of 1920x1920"):
        Model.load(write_color_model(tmp_path / "m.onnx"), device="openvino:fp32").scores(
            np.zeros((1, 1920, 1920, 3), np.uint8)
        )


def test_without_the_package_the_command_that_installs_it_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("roadmask.stream.network.providers.find_spec", lambda _name: None)
    assert main(["run", "drive.mp4", "-o", "out/", "--device", "openvino"]) == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("roadmask: device 'openvino' needs the package openvino: pip install ")
    assert "[openvino]" in told
    assert {choice.placement.device.name for choice in choices("auto", None)} == {"cpu"}


def test_a_gpu_that_is_not_there_is_an_error_that_says_what_is(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"device 'openvino:gpu.7' is not there: OpenVINO finds CPU"):
        Model.load(write_color_model(tmp_path / "m.onnx"), device="openvino:gpu.7")


def test_a_cpu_without_bf16_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core = openvino_session._core()

    class Older:
        def get_property(self, device: str, name: str) -> Any:
            return ["FP32", "INT8"] if name == "OPTIMIZATION_CAPABILITIES" else core.get_property(device, name)

    monkeypatch.setattr(openvino_session, "_core", Older)
    with pytest.raises(DeviceError, match=r"this CPU does not compute in bf16; take openvino:fp32"):
        Model.load(write_color_model(tmp_path / "m.onnx"), device="openvino:bf16")


def test_its_import_sends_nothing_leaves_nothing_in_the_home_and_waits_for_no_onnxruntime(tmp_path: Path) -> None:
    """Its converter, which is imported with it, would tell a server that it was, and leave an id of the user's."""
    code = (
        "import sys, importlib.util, roadmask; roadmask.load(sys.argv[1], device='openvino'); "
        "assert 'openvino' in sys.modules and not {'openvino_telemetry', 'onnxruntime'} & set(sys.modules); "
        "assert importlib.util.find_spec('openvino.tools.ovc')"  # it is there for others
    )
    env = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    path = write_color_model(tmp_path / "m.onnx")
    done = subprocess.run([*python(code), path], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "intel").exists()


def test_a_model_of_one_size_runs(tmp_path: Path) -> None:
    note = spec(input={**SPEC["input"], "height": 64, "width": 96, "fixed": True})
    path = write_color_model(tmp_path / "m.onnx", metadata=note)
    pictures = np.random.default_rng(1).integers(0, 256, (2, 64, 96, 3), np.uint8)
    expected = Model.load(path, device="cpu").scores(pictures)
    np.testing.assert_allclose(Model.load(path, device="openvino:fp32").scores(pictures), expected, rtol=1e-5)
