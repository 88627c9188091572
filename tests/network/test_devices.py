"""Devices other than the CPU, up to ONNX Runtime's border: what it is asked for, and what becomes of its answers."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from roadmask.stream.cli import main
from roadmask.stream.errors import DeviceError, ModelError
from roadmask.stream.network import providers
from roadmask.stream.network.model import Model
from roadmask.stream.network.providers import DEVICES
from tests.support.color_model import SPEC, spec, write_color_model
from tests.support.fake_session import FakeRuntime
from tests.support.waiting import LONG_S


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeRuntime:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return FakeRuntime(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_color_model(tmp_path / "m.onnx")


def pictures(count: int, height: int = 32, width: int = 64) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)


def test_cuda_searches_no_algorithms_for_the_last_and_smaller_batch(runtime: FakeRuntime, path: Path) -> None:
    Model.load(path, device="cuda:1")
    options = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested", "device_id": 1}
    assert runtime.sessions[0].providers == [("CUDAExecutionProvider", options)]


def test_tensorrt_builds_for_one_size_and_leaves_cuda_what_it_does_not_know(runtime: FakeRuntime, path: Path) -> None:
    Model.load(path, device="tensorrt").prepare(8, (32, 64))
    (_, options), (rest, _) = runtime.sessions[0].providers
    assert runtime.shapes == [[8, 32, 64, 3]]
    assert rest == "CUDAExecutionProvider"
    assert options["trt_engine_cache_enable"]
    assert options["trt_timing_cache_enable"]
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"]
    assert not options["trt_fp16_enable"]
    assert not any("profile" in name for name in options)


@pytest.mark.usefixtures("runtime")
def test_engines_of_other_models_sizes_batches_and_runtimes_never_meet(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_color_model(tmp_path / "other.onnx", metadata=spec(provenance={"data": "elsewhere"}))
    model = Model.load(path, device="tensorrt")
    folders = [model.compiled_folder(8, (32, 64)), model.compiled_folder(4, (32, 64))]
    folders += [model.compiled_folder(8, (64, 32)), Model.load(other, device="tensorrt").compiled_folder(8, (32, 64))]
    monkeypatch.setattr(onnxruntime, "__version__", "9.9")
    folders.append(model.compiled_folder(8, (32, 64)))
    assert len(set(folders)) == 5
    assert all(folder and folder.is_relative_to(tmp_path / "cache" / "roadmask" / "tensorrt") for folder in folders)


def test_tensorrt_is_told_that_a_graph_is_in_fp16(runtime: FakeRuntime, tmp_path: Path) -> None:
    note = spec(provenance={**SPEC["provenance"], "quantization": "fp16: in 16 bits"})
    Model.load(write_color_model(tmp_path / "m.onnx", metadata=note), device="tensorrt").prepare(1, (32, 64))
    assert runtime.sessions[0].providers[0][1]["trt_fp16_enable"]


def test_coreml_gets_a_program_of_one_size(runtime: FakeRuntime, path: Path) -> None:
    model = Model.load(path, device="coreml")
    model.prepare(1, (32, 64))
    assert runtime.shapes == [[1, 32, 64, 3]]
    options = runtime.sessions[0].providers[0][1]
    assert options["ModelFormat"] == "MLProgram"
    assert options["RequireStaticInputShapes"] == "1"
    assert options["ModelCacheDirectory"] == str(model.compiled_folder(1, (32, 64)))


def test_directml_gets_no_memory_pattern_and_one_call_at_a_time(runtime: FakeRuntime, path: Path) -> None:
    model = Model.load(path, device="directml")
    assert model.workers == 1
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(model.scores, [pictures(2, 320, 640)] * 8))
    assert runtime.most_calls == 1
    assert not runtime.sessions[0].memory_pattern
    assert model.compiled_folder(2, (320, 640)) is None


def test_other_devices_are_called_by_several_threads_at_once(runtime: FakeRuntime, path: Path) -> None:
    model = Model.load(path, device="cuda")
    runtime.meeting = threading.Barrier(model.workers, timeout=LONG_S)  # a call alone would wait for the other in vain
    with ThreadPoolExecutor(model.workers) as threads:
        list(threads.map(model.scores, [pictures(4)] * 8))
    assert runtime.most_calls == model.workers == 2


@pytest.mark.parametrize("device", ["tensorrt", "coreml", "directml", "migraphx"])
def test_the_last_and_smaller_batch_is_filled_up_and_scores_as_alone(
    runtime: FakeRuntime, path: Path, device: str
) -> None:
    expected = Model.load(path, device="cpu").scores(pictures(3))
    model = Model.load(path, device=device)
    model.prepare(8, (32, 64))
    np.testing.assert_array_equal(model.scores(pictures(3)), expected)
    model.scores(pictures(8))
    assert runtime.shapes == [[8, 32, 64, 3]]


def test_a_larger_batch_and_another_size_get_sessions_of_their_own(runtime: FakeRuntime, path: Path) -> None:
    model = Model.load(path, device="tensorrt")
    for count, height, width in ((2, 32, 64), (4, 32, 64), (1, 64, 32), (2, 32, 64), (3, 32, 64)):
        assert model.scores(pictures(count, height, width)).shape == (count, 3, height // 2, width // 2)
    assert runtime.shapes == [[2, 32, 64, 3], [4, 32, 64, 3], [1, 64, 32, 3]]


def test_of_many_sizes_the_longest_unused_is_given_up(runtime: FakeRuntime, path: Path) -> None:
    model = Model.load(path, device="coreml")
    for width in (32, 64, 96, 128, 32, 160):
        model.scores(pictures(1, 32, width))
    before = len(runtime.sessions)
    model.scores(pictures(1, 32, 32))
    assert len(runtime.sessions) == before
    model.scores(pictures(1, 32, 64))
    assert len(runtime.sessions) == before + 1


def test_workers_that_come_at_once_build_one_engine(runtime: FakeRuntime, path: Path) -> None:
    model = Model.load(path, device="tensorrt")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(model.scores, [pictures(2)] * 4))
    assert len(runtime.sessions) == 1


def test_building_is_told_once_with_the_command_that_does_it_beforehand(
    runtime: FakeRuntime, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = Model.load(path, device="tensorrt:1")
    with caplog.at_level(logging.WARNING):
        model.prepare(8, (32, 64))
    told = "building a TensorRT engine for 64x32, batch 8: minutes, once; 'roadmask warmup --device tensorrt:1' does it"
    assert told in caplog.text
    folder = model.compiled_folder(8, (32, 64))
    assert folder is not None
    (folder / "TensorrtExecutionProvider_sm80.engine").touch()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        Model.load(path, device="tensorrt:1").prepare(8, (32, 64))
    assert not caplog.text
    assert len(runtime.sessions) == 2


def test_a_cache_that_cannot_be_made_is_told_in_one_line(runtime: FakeRuntime, path: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DeviceError, match=r"cannot keep compiled models there .* set XDG_CACHE_HOME"):
        Model.load(path, device="tensorrt").prepare(8, (32, 64))
    assert not runtime.sessions


def test_a_device_that_compiles_later_and_does_not_start_is_an_error_then(runtime: FakeRuntime, path: Path) -> None:
    model = Model.load(path, device="tensorrt")
    runtime.starts = False
    with pytest.raises(DeviceError, match="device 'tensorrt' did not start; is its driver installed"):
        model.prepare(8, (32, 64))


def test_auto_goes_on_to_what_starts_and_says_so(
    runtime: FakeRuntime, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    assert Model.load(path).device == "cuda"
    runtime.starts = False
    with caplog.at_level(logging.WARNING):
        assert Model.load(path).device == "cpu"
    assert "device 'cuda' did not start" in caplog.text
    with pytest.raises(DeviceError, match="did not start"):
        Model.load(path, device="cuda")


@pytest.mark.parametrize(
    "words",
    [
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. Name:'c' "
        "Status Message: bfc_arena.cc:376 AllocateRawInternal Failed to allocate memory for requested buffer of size 9",
        "CUDA failure 2: out of memory ; GPU=0",
        "CUDNN failure 4000: CUDNN_STATUS_ALLOC_FAILED",
        "std::bad_alloc",
    ],
)
def test_memory_that_is_too_small_is_told_in_one_line_with_what_to_do(
    runtime: FakeRuntime, path: Path, words: str
) -> None:
    model = Model.load(path, device="cuda")
    runtime.failure = RuntimeError(words)
    with pytest.raises(DeviceError, match=r"device 'cuda': out of memory with 8 pictures of 64x32 .*; lower --batch$"):
        model.scores(pictures(8))
    with pytest.raises(DeviceError, match="with a picture of 64x32; lower --workers"):
        model.scores(pictures(1))


def test_another_failure_is_not_taken_for_it(runtime: FakeRuntime, path: Path) -> None:
    model = Model.load(path, device="cuda")
    runtime.failure = RuntimeError("CUDA failure 719: unspecified launch failure")
    with pytest.raises(DeviceError, match=r"device .cuda. has failed \(CUDA failure 719: .* failure\); try again"):
        model.scores(pictures(8))


@pytest.mark.skipif(sys.platform != "linux", reason="limits the process's memory as Linux does")
def test_a_cpu_s_memory_runs_out_in_one_line_too(tmp_path: Path) -> None:
    code = """
import resource, sys
import numpy as np
from roadmask.stream.network.model import Model
model = Model.load(sys.argv[1], device="cpu", threads=1)
pictures = np.zeros((64, 640, 640, 3), np.uint8)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000, -1))
try:
    model.scores(pictures)
except Exception as exc:
    print(type(exc).__name__, exc)
"""
    path = write_color_model(tmp_path / "m.onnx")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    told = "DeviceError device 'cpu': out of memory with 64 pictures of 640x640 at a time; lower --batch\n"
    assert (done.stdout, done.stderr) == (told, "")


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cpu:1", "nothing follows cpu"),
        ("cuda:", "must be a number, as in cuda:1"),
        ("tensorrt:gpu", "must be a number, as in tensorrt:1"),
        ("openvino:1", "must be cpu, bf16 or fp32 .*, gpu, gpu.1 or npu"),
        ("rocm2", "is not known; choose auto, cuda, tensorrt"),
    ],
)
@pytest.mark.usefixtures("runtime")
def test_what_follows_a_device_s_name_is_checked(device: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        Model.load(device=device)


def test_amd_s_users_are_sent_from_the_provider_that_is_gone_to_the_one_that_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match=r"went out of onnxruntime with 1.23, use migraphx"):
        Model.load(device="rocm")


def test_a_cpu_takes_single_pictures_and_gpus_batches() -> None:
    assert DEVICES["cpu"].batch == 1
    assert DEVICES["cuda"].batch == DEVICES["tensorrt"].batch == 8


def test_warmup_opens_the_size_of_the_video_runs_it_and_says_where_it_is_kept(
    runtime: FakeRuntime, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["warmup", "-m", str(path), "--device", "tensorrt", "--video-size", "1280x720", "--batch", "4"]) == 0
    height, width = Model.load(path, device="cpu", size="large").spec.input_size(720, 1280)
    assert runtime.shapes == [[4, height, width, 3]]
    told = capsys.readouterr().out
    assert f"m on tensorrt, network {width}x{height}, batch 4\n" in told
    assert f"compiled files: {tmp_path / 'cache' / 'roadmask' / 'tensorrt'}" in told


def test_warmup_is_harmless_on_a_cpu(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warmup", "-m", str(path), "--device", "cpu"]) == 0
    assert "compiled files: none; this device needs none" in capsys.readouterr().out
    assert main(["warmup", "--video-size", "1280"]) == 2
    assert "no size such as 1280x720" in capsys.readouterr().err


def test_what_is_no_model_is_told_before_a_device_compiles_it(runtime: FakeRuntime, tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"junk" * 100)
    with pytest.raises(ModelError, match="not an ONNX file"):
        Model.load(tmp_path / "junk.onnx", device="tensorrt")
    assert not runtime.sessions


def test_that_no_gpu_can_be_driven_is_known_without_importing_onnxruntime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = ModuleSpec("onnxruntime", None, is_package=True)
    installed.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(providers, "find_spec", lambda _: installed)
    monkeypatch.delitem(sys.modules, "onnxruntime")
    assert not any(map(providers.is_there, (DEVICES["cuda"], DEVICES["coreml"], DEVICES["directml"])))
    assert "onnxruntime" not in sys.modules
    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / "libonnxruntime_providers_cuda.so").touch()
    assert not providers._is_not_there(DEVICES["cuda"]), "then it is asked itself"
