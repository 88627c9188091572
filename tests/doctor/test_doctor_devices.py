"""What `roadmask doctor` says of codecs, devices to compute on, cameras and the display."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import onnxruntime
import pytest

from roadmask.stream.doctor import cameras as doctor_cameras
from roadmask.stream.doctor import codecs as doctor_codecs
from roadmask.stream.doctor import devices as doctor_devices
from roadmask.stream.doctor import display as doctor_display
from roadmask.stream.doctor import engines as doctor_engines
from roadmask.stream.doctor import selftest as doctor_selftest
from roadmask.stream.errors import OutputError
from roadmask.stream.network.model import Model
from tests.support.fake_session import FakeRuntime
from tests.support.findings import broken, by_name


def test_a_decoder_or_encoder_that_is_missing_says_what_for_and_how_bad_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor_codecs.av.Codec

    def codec(name: str, mode: Any) -> Any:
        if name in ("h264", "hevc"):
            raise ValueError(name)
        return real(name, mode)

    monkeypatch.setattr(doctor_codecs.av, "Codec", codec)
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    found = by_name(doctor_codecs.examine())
    assert found["H.264 encoder"].state == found["h264 decoder"].state == "problem"
    assert found["hevc decoder"].state == "warning"
    assert found["ffv1 decoder"].state == "ok"
    assert "pip install" in found["H.264 encoder"].advice
    assert "dashcams" in found["hevc decoder"].found


def failing(broken_mode: str) -> Callable[..., Any]:
    """What opens videos, but not to read, or not to write."""
    real = av.open

    def opened(file: object, mode: str, **options: Any) -> Any:
        return broken() if mode == broken_mode else real(file, mode, **options)

    return opened


def test_a_decoder_that_fails_is_told_in_ffmpeg_s_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "open", failing("r"))
    finding = doctor_codecs.decoder("av1")
    assert (finding.state, finding.found) == ("warning", "fails: Permission denied (newer videos of the web)")


def test_a_decoder_that_nothing_encodes_for_is_there_and_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "open", failing("w"))
    assert "not tried" in doctor_codecs.decoder("hevc").found


def providers(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*names, "CPUExecutionProvider"])


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeRuntime:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    runtime = FakeRuntime(monkeypatch)
    providers(monkeypatch, "TensorrtExecutionProvider", "CUDAExecutionProvider")
    return runtime


@pytest.mark.usefixtures("runtime")
def test_a_device_that_agrees_with_the_cpu_is_ok_and_is_what_auto_takes() -> None:
    found = by_name(doctor_devices.examine())
    assert list(found) == ["cpu", "cuda", "tensorrt", "auto"]
    assert {finding.state for finding in found.values()} == {"ok"}
    assert "other classes than the CPU's in 0.00% of the places" in found["cuda"].found
    assert found["auto"].found == "--device auto takes cuda"
    assert found["tensorrt"].advice == "to try it: roadmask doctor engines"


@pytest.mark.usefixtures("runtime")
def test_a_device_that_builds_for_minutes_is_tried_where_it_is_asked_for() -> None:
    assert "runs" in by_name(doctor_engines.examine())["tensorrt"].found


def test_without_such_a_device_there_are_no_engines_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    providers(monkeypatch)
    assert by_name(doctor_engines.examine())["engines"].state == "ok"


def test_a_device_that_does_not_start_is_a_warning_and_auto_takes_the_next(runtime: FakeRuntime) -> None:
    runtime.starts = False
    found = by_name(doctor_devices.examine())
    assert found["cuda"].state == "warning"
    assert found["cuda"].found.startswith("does not run: device 'cuda' did not start")
    assert "onnxruntime-gpu" in found["cuda"].advice
    assert found["auto"].found == "--device auto takes cpu"


def test_a_device_that_fails_when_it_is_called_is_a_warning_in_one_line(runtime: FakeRuntime) -> None:
    runtime.failure, runtime.fails_after = RuntimeError("CUDA failure 700\nand a stack"), 2
    finding = by_name(doctor_devices.examine())["cuda"]
    assert finding.state == "warning"
    assert "\n" not in finding.found
    assert "CUDA failure 700" in finding.found


@pytest.mark.parametrize(
    ("share", "kind", "state"),
    [(0.002, "other", "ok"), (0.03, "other", "warning"), (0.5, "other", "problem"), (0.5, "nan", "problem")],
)
@pytest.mark.usefixtures("runtime")
def test_a_device_that_gives_other_classes_than_the_cpu_is_found(
    share: float, kind: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Model.scores

    def scores(self: Model, pictures: Any) -> Any:
        found = real(self, pictures).copy()
        if self.device == "cuda":
            columns = found[..., : round(found.shape[3] * share)] if share > 0.01 else found[..., :1, :1]
            columns[:] = np.nan if kind == "nan" else -columns
        return found

    monkeypatch.setattr(Model, "scores", scores)
    found = by_name(doctor_devices.examine())
    assert found["cuda"].state == found["auto"].state == state


def test_a_model_that_does_not_load_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"cut off")
    monkeypatch.setattr("roadmask.stream.network.model.bundled_models", lambda: {"camvid-lite0": tmp_path / "m.onnx"})
    assert by_name(doctor_devices.examine())["cpu"].state == "problem"
    (run,) = doctor_selftest.examine()
    assert run.state == "problem"


@pytest.mark.parametrize("has_provider", [True, False])
def test_a_gpu_that_this_onnxruntime_cannot_use_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_provider: bool
) -> None:
    (tmp_path / "nvidia-smi").touch(0o755)  # comes with the driver
    monkeypatch.setenv("PATH", str(tmp_path))
    found = list(doctor_devices.unused(["CUDAExecutionProvider"] if has_provider else []))
    assert [finding.state for finding in found] == ([] if has_provider else ["warning"])


linux = pytest.mark.skipif(sys.platform != "linux", reason="webcams as Linux has them")


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four nodes: of a camera, of what else it says, of nothing, and of another camera that may not be opened."""
    for number in (0, 1, 2, 10):
        (tmp_path / f"video{number}").touch()
    real = os.open

    def opened(path: Any, flags: int, *rest: int) -> int:
        if Path(path).name == "video10":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, *rest)

    def asked(descriptor: int, request: int, content: bytes) -> bytes:
        assert (request, len(content)) == (0x80685600, 104)
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name == "video2":
            raise OSError(errno.ENOTTY, "not a typewriter")
        own = 0x1 if name == "video0" else 0x00800000  # metadata
        return doctor_cameras._CAPABILITY.pack(b"uvcvideo", b"Street Cam", b"usb", 0, 0x80000001, own)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr("fcntl.ioctl", asked)
    return tmp_path


@linux
def test_each_webcam_that_gives_pictures_is_told_once(devices: Path) -> None:
    found = list(doctor_cameras.linux_webcams(devices))
    assert [Path(finding.name).name for finding in found] == ["video0", "video10"]
    assert {finding.state for finding in found} == {"warning"}
    assert found[0].found.startswith("Street Cam does not open")
    assert "usermod -aG video" in found[1].advice


@linux
def test_a_webcam_that_opens_tells_its_size(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor_cameras.av.open

    def pattern(url: str, *, format: str, **_: Any) -> Any:  # noqa: A002 - PyAV's name
        assert (url, format) == (str(devices / "video0"), "v4l2")
        return real("testsrc2=size=64x48", format="lavfi")

    monkeypatch.setattr(doctor_cameras.av, "open", pattern)
    found = list(doctor_cameras.linux_webcams(devices))
    assert (found[0].state, found[0].found) == ("ok", "Street Cam opens: 64x48 wrapped_avframe")


@linux
def test_a_webcam_that_is_in_use_says_so(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object, **__: object) -> Any:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(doctor_cameras.av, "open", busy)
    found = list(doctor_cameras.linux_webcams(devices))
    assert found[0].found == "Street Cam does not open: Device or resource busy"
    assert found[0].advice == "end the program that uses it"


@linux
def test_no_webcam_is_no_fault(tmp_path: Path) -> None:
    (finding,) = doctor_cameras.linux_webcams(tmp_path)
    assert (finding.name, finding.state) == ("webcams", "ok")
    assert finding.found.startswith("none found")


def test_webcams_of_other_systems_are_listed_and_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def device(description: str, media: list[str]) -> Any:
        return type("DeviceInfo", (), {"name": "0", "description": description, "media_types": media})

    listed = [device("Microphone", ["audio"]), device("FaceTime HD", ["video"])]
    monkeypatch.setattr(doctor_cameras.av, "enumerate_input_devices", lambda _: listed)
    assert [finding.found for finding in doctor_cameras.other_webcams("avfoundation")] == ["FaceTime HD; not opened"]
    monkeypatch.setattr(doctor_cameras.av, "enumerate_input_devices", lambda _: [])
    assert [finding.name for finding in doctor_cameras.other_webcams("dshow")] == ["webcams"]
    monkeypatch.delattr(doctor_cameras.av, "enumerate_input_devices")  # older ones have none
    assert [finding.state for finding in doctor_cameras.other_webcams("dshow")] == ["ok"]


def test_no_window_is_no_fault_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> Any:
        raise OutputError("--show: there is no display here; use ssh -X, or --serve")

    monkeypatch.setattr(doctor_display, "WindowSink", refused)
    (finding,) = doctor_display.examine()
    assert (finding.state, finding.found) == ("ok", "not to be had: there is no display here")
    assert finding.advice == "use ssh -X, or --serve"


def test_a_window_that_opens_is_told_and_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    @contextmanager
    def window(title: str, render: object) -> Iterator[None]:
        yield
        closed.append((title, render))

    monkeypatch.setattr(doctor_display, "WindowSink", window)
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "QT")
    assert [finding.found for finding in doctor_display.examine()] == ["opens a window (QT)"]
    assert len(closed) == 1
