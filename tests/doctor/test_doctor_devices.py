"""What `roadmask doctor` says of codecs, devices to compute on and cameras."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnxruntime
import pytest

from roadmask.stream.doctor import devices as doctor_devices
from roadmask.stream.doctor import video as doctor_video
from roadmask.stream.network.model import Model
from tests.support.fake_session import FakeRuntime
from tests.support.findings import broken, by_name


def test_a_decoder_or_encoder_that_is_missing_says_what_for_and_how_bad_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor_video.av.Codec

    def codec(name: str, mode: Any) -> Any:
        if name in ("h264", "hevc"):
            raise ValueError(name)
        return real(name, mode)

    monkeypatch.setattr(doctor_video.av, "Codec", codec)
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    found = by_name(doctor_video.codecs())
    assert found["H.264 encoder"].state == found["h264 decoder"].state == "problem"
    assert found["hevc decoder"].state == "warning"
    assert found["ffv1 decoder"].state == "ok"
    assert "pip install" in found["H.264 encoder"].advice
    assert "dashcams" in found["hevc decoder"].found


def test_an_av1_decoder_that_only_drives_a_graphics_card_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_name(doctor_video.codecs())["av1 decoder"].state == "ok"
    real = doctor_video.av.Codec

    def only_ffmpeg_s_own(name: str, mode: Any) -> Any:
        if name.startswith("lib"):
            raise ValueError(name)
        return real(name, mode)

    monkeypatch.setattr(doctor_video.av, "Codec", only_ffmpeg_s_own)
    assert real("av1", "r")
    assert by_name(doctor_video.codecs())["av1 decoder"].state == "warning"


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
    found = by_name(doctor_devices.devices())
    assert list(found) == ["cpu", "cuda", "tensorrt", "auto"]
    assert {finding.state for finding in found.values()} == {"ok"}
    assert "other classes than the CPU's in 0.00% of the places" in found["cuda"].found
    assert found["auto"].found == "--device auto takes cuda, with camvid-lite0"
    assert found["tensorrt"].advice == "to try it: roadmask doctor engines"


@pytest.mark.usefixtures("runtime")
def test_a_device_that_builds_for_minutes_is_tried_where_it_is_asked_for() -> None:
    assert "runs" in by_name(doctor_devices.engines())["tensorrt"].found


def test_without_such_a_device_there_are_no_engines_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    providers(monkeypatch)
    assert by_name(doctor_devices.engines())["engines"].state == "ok"


def test_a_device_that_does_not_start_is_a_warning_and_auto_takes_the_next(runtime: FakeRuntime) -> None:
    runtime.starts = False
    found = by_name(doctor_devices.devices())
    assert found["cuda"].state == "warning"
    assert found["cuda"].found.startswith("does not run: device 'cuda' did not start")
    assert "onnxruntime-gpu" in found["cuda"].advice
    assert found["auto"].found.startswith("--device auto takes cpu, with camvid-lite0")


def test_a_device_that_fails_when_it_is_called_is_a_warning_in_one_line(runtime: FakeRuntime) -> None:
    runtime.failure, runtime.fails_after = RuntimeError("CUDA failure 700\nand a stack"), 2
    finding = by_name(doctor_devices.devices())["cuda"]
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
    found = by_name(doctor_devices.devices())
    assert found["cuda"].state == found["auto"].state == state


def test_a_model_that_does_not_load_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"cut off")
    monkeypatch.setattr("roadmask.stream.network.model.bundled_models", lambda: {"camvid-lite0": tmp_path / "m.onnx"})
    assert by_name(doctor_devices.devices())["cpu"].state == "problem"
    (run,) = doctor_devices.selftest()
    assert run.state == "problem"


@pytest.mark.parametrize("has_provider", [True, False])
def test_a_gpu_that_this_onnxruntime_cannot_use_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_provider: bool
) -> None:
    (tmp_path / "nvidia-smi").touch(0o755)  # comes with the driver
    monkeypatch.setenv("PATH", str(tmp_path))
    FakeRuntime(monkeypatch)
    providers(monkeypatch, *["CUDAExecutionProvider"] * has_provider)
    cuda = by_name(doctor_devices.devices())["cuda"]
    assert (cuda.state, "cannot use it" in cuda.found) == (("ok", False) if has_provider else ("warning", True))


linux = pytest.mark.skipif(sys.platform != "linux", reason="webcams as Linux has them")


Opens = Callable[..., Any]


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nodes of a camera, of what else it says, of a codec, of no device, and of a camera that may not be opened."""
    for number in (0, 1, 2, 3, 10):
        (tmp_path / f"video{number}").touch()
    (tmp_path / "cards" / "video0").mkdir(parents=True)
    (tmp_path / "cards" / "video0" / "name").write_text("Street Cam\n")
    monkeypatch.setattr(doctor_video, "_CARDS", tmp_path / "cards")
    return tmp_path


def opening(monkeypatch: pytest.MonkeyPatch, street_cam: Opens) -> None:
    """What FFmpeg makes of the nodes: a regular file, video3, is opened by it and gives its own answer."""
    real = av.open
    refused = {
        "video1": OSError(errno.ENOTTY, "Inappropriate ioctl for device"),
        "video2": OSError(errno.ENODEV, "No such device"),
        "video10": PermissionError(errno.EACCES, "Permission denied"),
    }

    def opened(url: str, **options: Any) -> Any:
        assert options["format"] == "v4l2"
        if (name := Path(url).name) in refused:
            raise refused[name]
        return real(url, **options) if name == "video3" else street_cam(real)

    monkeypatch.setattr(doctor_video.av, "open", opened)


@linux
def test_each_webcam_that_gives_pictures_is_told_once_with_its_name_and_size(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening(monkeypatch, lambda real: real("testsrc2=size=64x48", format="lavfi"))
    found = list(doctor_video.linux_webcams(devices))
    assert [Path(finding.name).name for finding in found] == ["video0", "video10"]
    assert (found[0].state, found[0].found) == ("ok", "Street Cam opens: 64x48 wrapped_avframe")
    assert found[1].state == "warning"
    assert "usermod -aG video" in found[1].advice


@linux
def test_a_webcam_that_is_in_use_says_so(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(_: object) -> Any:
        raise OSError(errno.EBUSY, "Device or resource busy")

    opening(monkeypatch, busy)
    found = list(doctor_video.linux_webcams(devices))
    assert found[0].found == "Street Cam does not open: it is in use by another program"
    assert found[0].advice.startswith("end what uses it")


@linux
def test_no_webcam_is_no_fault(tmp_path: Path) -> None:
    (finding,) = doctor_video.linux_webcams(tmp_path)
    assert (finding.name, finding.state) == ("webcams", "ok")
    assert finding.found.startswith("none found")


def test_webcams_of_other_systems_are_listed_and_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def device(description: str, media: list[str]) -> Any:
        return type("DeviceInfo", (), {"name": "0", "description": description, "media_types": media})

    listed = [device("Microphone", ["audio"]), device("FaceTime HD", ["video"])]
    monkeypatch.setattr(doctor_video.av, "enumerate_input_devices", lambda _: listed)
    assert [finding.found for finding in doctor_video.other_webcams("avfoundation")] == ["FaceTime HD; not opened"]
    monkeypatch.setattr(doctor_video.av, "enumerate_input_devices", lambda _: [])
    assert [finding.name for finding in doctor_video.other_webcams("dshow")] == ["webcams"]
    monkeypatch.setattr(doctor_video.av, "enumerate_input_devices", broken)
    assert [finding.state for finding in doctor_video.other_webcams("dshow")] == ["ok"]
