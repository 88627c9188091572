"""NVIDIA's libraries are found where pip puts them, and what is missing is told in one line, with what brings it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from roadmask.stream.errors import DeviceError
from roadmask.stream.network.libraries import load_cuda, load_tensorrt
from roadmask.stream.network.model import Model
from tests.support.color_model import write_color_model
from tests.support.fake_session import FakeRuntime


class Preload:
    """Stands in for `onnxruntime.preload_dlls` of a build for CUDA, where no library is found."""

    def __init__(self, *missing: str) -> None:
        self.missing = missing
        self.directories: list[str | None] = []

    def __call__(self, directory: str | None = None) -> None:
        self.directories.append(directory)
        for name in self.missing:
            sys.stdout.write(f"Failed to load {name}: {name}: cannot open shared object file\n")


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """What earlier tests have found."""
    for load in (load_cuda, load_tensorrt):
        load.cache_clear()
    yield
    for load in (load_cuda, load_tensorrt):
        load.cache_clear()


def test_what_cuda_lacks_is_told_in_the_error_and_not_on_stdout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime = FakeRuntime(monkeypatch)
    runtime.starts = False
    monkeypatch.setattr(onnxruntime, "preload_dlls", Preload("libcublasLt.so.13", "libcublas.so.13"), raising=False)
    with pytest.raises(DeviceError) as failed:
        Model.load(write_color_model(tmp_path / "m.onnx"), device="cuda")
    assert str(failed.value) == (
        "device 'cuda' did not start; libcublasLt.so.13, libcublas.so.13 cannot be loaded; "
        "pip install 'onnxruntime-gpu[cuda,cudnn]' brings what is missing"
    )
    assert capsys.readouterr() == ("", "")


def test_libraries_are_looked_for_in_every_place_that_packages_come_from_but_not_where_one_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("over/nvidia/cu13/lib", "under/nvidia/cudnn/lib", "under/nvidia/cudnn/bin", "here/nvidia/cu13/lib"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "over"), str(tmp_path / "under")])
    monkeypatch.setattr(onnxruntime, "preload_dlls", preload := Preload(), raising=False)
    assert load_cuda() == ""
    there = [str(tmp_path / "over/nvidia/cu13/lib"), str(tmp_path / "under/nvidia/cudnn/lib")]
    assert preload.directories == [None, *there]
    load_cuda()
    assert len(preload.directories) == 3, "once is enough"


def test_a_runtime_from_before_there_was_a_way_to_load_them_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(onnxruntime, "preload_dlls", raising=False)
    assert load_cuda() == ""


def test_the_release_of_tensorrt_that_the_provider_was_built_for_is_the_one_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    provider = tmp_path / "capi" / "libonnxruntime_providers_tensorrt.so"
    provider.parent.mkdir()
    provider.write_bytes(b"\x7fELF...\x00libnvinfer.so.97\x00libnvonnxparser.so.97\x00")
    (tmp_path / "tensorrt_libs").mkdir()
    (tmp_path / "tensorrt_libs" / "libnvinfer.so.98").write_bytes(b"of another release")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(onnxruntime, "__file__", str(tmp_path / "__init__.py"))
    assert load_tensorrt() == "libnvinfer.so.97 cannot be loaded; pip install 'tensorrt==97.*' brings it"
    provider.unlink()
    assert load_tensorrt.__wrapped__() == ""


def test_of_cuda_s_failure_the_line_holds_what_failed_and_not_the_source_around_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runtime = FakeRuntime(monkeypatch)
    model = Model.load(write_color_model(tmp_path / "m.onnx"), device="cuda")
    runtime.failure = RuntimeError(
        "/onnxruntime_src/cuda_call.cc:154 std::conditional_t<THRW, void> onnxruntime::CudaCall(ERRTYPE) CUDA failure "
        "35: CUDA driver version is insufficient for CUDA runtime version ; GPU=-1 ; hostname=vm ; expr=cudaSetDevice"
    )
    with pytest.raises(DeviceError) as failed:
        model.scores(np.zeros((1, 32, 64, 3), np.uint8))
    said = "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version"
    assert f"device 'cuda' has failed ({said}); try again" in str(failed.value)
