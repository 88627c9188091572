"""`roadmask doctor`: each check finds what is there and what is broken, and nothing that breaks takes it along."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest

from roadmask.stream.cli import main
from roadmask.stream.doctor import cameras as doctor_cameras
from roadmask.stream.doctor import codecs as doctor_codecs
from roadmask.stream.doctor import devices as doctor_devices
from roadmask.stream.doctor import disk as doctor_disk
from roadmask.stream.doctor import display as doctor_display
from roadmask.stream.doctor import doctor
from roadmask.stream.doctor import engines as doctor_engines
from roadmask.stream.doctor import machine as doctor_machine
from roadmask.stream.doctor import process as doctor_process
from roadmask.stream.doctor import selftest as doctor_selftest
from roadmask.stream.doctor import versions as doctor_versions
from roadmask.stream.doctor.doctor import Finding
from roadmask.stream.errors import OutputError
from roadmask.stream.network.model import Model
from tests.support.fake_session import FakeRuntime
from tests.support.own_process import no_network

ROOT = Path(__file__).parent.parent


def by_name(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def broken(*_: object, **__: object) -> Any:
    raise OSError(errno.EACCES, "Permission denied")


# The command


def test_a_real_installation_is_checked_without_a_network_and_nothing_is_left(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    here = tmp_path / "here"
    for folder in (here, *folders.values()):
        folder.mkdir()
    silent = ("CI", "ORT_DISABLE_TELEMETRY")  # CI would keep ONNX Runtime's telemetry silent by itself
    env = {name: value for name, value in os.environ.items() if name not in silent}
    env |= {name: str(folder) for name, folder in folders.items()} | {"PYTHONPATH": str(ROOT / ".package")}
    command = [*no_network(), sys.executable, "-m", "roadmask", "doctor", "--json"]
    done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["state"] in ("ok", "warning")
    assert list(dict.fromkeys(finding["check"] for finding in told["findings"])) == list(doctor.CHECKS)
    for finding in told["findings"]:
        assert list(finding) == ["check", "name", "state", "found", "advice"]
        assert finding["state"] in ("ok", "warning")
        assert finding["found"]
        assert "\n" not in finding["found"] + finding["advice"]
    names = {(finding["check"], finding["name"]) for finding in told["findings"]}
    assert {("devices", "cpu"), ("codecs", "H.264 encoder"), ("selftest", "masks"), ("disk", "cache")} <= names
    left = [path for folder in (here, *folders.values()) for path in folder.rglob("*")]
    assert left == [folders["XDG_CACHE_HOME"] / "roadmask"]


def test_only_the_checks_that_are_named_are_made_in_the_order_of_asking(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "disk", "versions", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert list(dict.fromkeys(finding["check"] for finding in findings)) == ["versions", "disk"]


def test_a_check_that_is_not_known_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "disks"]) == 2
    assert "no check" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("states", "code", "worst"),
    [
        ([], 0, "ok"),
        (["ok", "ok"], 0, "ok"),
        (["warning", "ok"], 0, "warning"),
        (["ok", "problem", "warning"], 1, "problem"),
    ],
)
def test_only_a_problem_makes_the_command_fail(
    states: list[Any], code: int, worst: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [("disk", Finding("here", state, "found", "do")) for state in states]
    monkeypatch.setattr("roadmask.stream.commands.doctor.examine", lambda _: iter(found))
    assert main(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["state"] == worst


def test_in_a_pipe_lines_have_80_columns_no_colour_and_unbroken_paths(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/a-very-long-name/" * 6
    words = "so many words that they do not fit into the rest of this one line of eighty columns"
    found = [
        ("disk", Finding("a name of more than 15 letters", "warning", words, words)),
        ("disk", Finding("h\x1b[31mere", "problem", f"{path} is full", "make room")),
    ]
    monkeypatch.setattr("roadmask.stream.commands.doctor.examine", lambda _: iter(found))
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert path in text
    assert all(len(line) <= 80 for line in text.splitlines() if path not in line)
    assert re.sub(r"\s+", " ", text).count(words) == 2
    assert text.splitlines()[0] == "disk"
    assert text.splitlines()[-1] == "1 problem, 1 warning"


# Checks that fail themselves


def test_a_check_that_crashes_hangs_or_raises_is_a_problem_and_the_next_ones_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the process runs in place of checks of ours, under their names.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys, tempfile, time, types\n"
        "def check(name, does):\n"
        "    sys.modules['roadmask.stream.doctor.' + name] = module = types.ModuleType(name)\n"
        "    module.examine = does\n"
        "def raises():\n"
        "    from roadmask.stream.doctor.doctor import Finding\n"
        "    yield Finding('first', 'ok', 'noise does not matter')\n"
        "    raise RuntimeError('two\\nlines')\n"
        "check('crashes', lambda: tempfile.mkdtemp() and os.kill(os.getpid(), signal.SIGILL))\n"
        "check('hangs', lambda: time.sleep(60))\n"
        "check('raises', raises)\n"
        "check('prints', lambda: [os.write(1, b'no JSON')] and ())\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    found = list(doctor.examine(["crashes", "prints", "raises", "hangs", "none", "disk"], patience_s=3))
    told = [(check, finding.state, finding.found) for check, finding in found]
    crash = "the check has ended its process (SIGILL: an instruction that this processor lacks)"
    assert told[:4] == [
        ("crashes", "problem", crash),
        ("raises", "ok", "noise does not matter"),
        ("raises", "problem", "the check has failed (RuntimeError: two)"),
        ("hangs", "problem", "the check found nothing for 3 s, and was ended"),
    ]
    assert told[4][:2] == ("none", "problem")
    assert "No module named" in told[4][2]
    assert {check for check, *_ in told[5:]} == {"disk"}
    assert all(finding.advice for _, finding in found if finding.state == "problem")
    assert list(temporary.iterdir()) == [], "what a killed process left"


def test_without_a_temporary_folder_the_checks_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TemporaryDirectory", broken)
    assert {check for check, _ in doctor.examine(["disk"])} == {"disk"}


def test_where_no_process_can_be_started_that_is_told_of_each_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "HelperProcess", broken)
    told = [(check, finding.state, finding.found) for check, finding in doctor.examine(["disk", "codecs"])]
    found = "no process can be started for the check: Permission denied"
    assert told == [("disk", "problem", found), ("codecs", "problem", found)]


def test_a_library_that_cannot_be_imported_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "roadmask.stream.doctor.codecs", None)
    (finding,) = doctor_process.findings("codecs")
    assert finding.state == "problem"
    assert finding.found.startswith("cannot be made: import of roadmask.stream.doctor.codecs halted")
    assert "doctor versions" in finding.advice


def test_a_check_that_runs_out_of_memory_says_so_though_something_else_was_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def examine() -> Iterator[Finding]:
        try:
            raise RuntimeError("can't start new thread")
        finally:
            raise ValueError("while cleaning up")

    monkeypatch.setattr(doctor_codecs, "examine", examine)
    (finding,) = doctor_process.findings("codecs")
    assert (finding.state, finding.found) == ("problem", "memory ran out")


# Versions


def test_the_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name != "dev"}
    declared = {name: tuple(re.split("[>=]", line)[0] for line in lines) for name, lines in extras.items()}
    assert {name: packages for name, (_, packages) in doctor_versions.EXTRAS.items()} == declared
    base = {re.split("[>=]", line)[0] for line in project["dependencies"]}
    assert base == {doctor_versions._BRINGS.get(module, (module,))[0] for module in doctor_versions._MODULES}


def fake_versions(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> None:
    real = doctor_versions._version
    versions = {name.replace("_", "-"): found for name, found in changes.items()}
    monkeypatch.setattr(doctor_versions, "_version", lambda name: versions[name] if name in versions else real(name))


def test_a_missing_extra_is_no_fault_and_says_what_it_would_give(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_versions(monkeypatch, ray=None, torch=None)
    found = by_name(doctor_versions.examine())
    assert found["[ray]"].state == found["[train]"].state == "ok"
    assert found["[ray]"].found == "not installed: no ray"
    assert found["[ray]"].advice == "for --ray, a cluster of machines: pip install 'roadmask[ray]'"


def test_a_library_that_is_broken_missing_or_too_old_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_versions(monkeypatch, av=None)
    monkeypatch.setattr(np, "__version__", "1.25.2")
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setitem(sys.modules, "av", None)
    found = by_name(doctor_versions.examine())
    assert {found[name].state for name in ("numpy", "opencv", "av")} == {"problem"}
    assert found["numpy"].found == "1.25.2 is too old"
    assert found["opencv"].advice == "pip install --force-reinstall opencv-python-headless"
    assert found["av"].advice == "pip install av"
    assert found["rich"].state == "ok"


def test_a_library_that_wants_a_display_may_be_replaced_by_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_versions(monkeypatch, opencv_python="5.0.0.93", opencv_python_headless=None)
    monkeypatch.setitem(sys.modules, "cv2", None)
    advice = by_name(doctor_versions.examine())["opencv"].advice
    assert advice.endswith("pip uninstall opencv-python, then pip install opencv-python-headless")


def test_two_packages_of_one_library_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_versions(monkeypatch, onnxruntime_gpu="1.32.0", opencv_python="5.0.0.93")
    found = by_name(doctor_versions.examine())
    assert found["onnxruntime"].state == found["opencv"].state == "warning"
    assert "onnxruntime and onnxruntime-gpu overwrite each other's files" in found["onnxruntime"].found
    assert found["opencv"].advice.startswith("pip uninstall opencv-python-headless opencv-python;")


@pytest.mark.parametrize(
    ("version", "numbers"), [("2.6.0+cpu", (2, 6)), ("2.6", (2, 6)), ("19.0.0rc1", (19,)), ("of unknown version", ())]
)
def test_versions_are_compared_by_their_releases(version: str, numbers: tuple[int, ...]) -> None:
    assert doctor_versions._numbers(version) == numbers


# The machine


@pytest.mark.parametrize(("free", "state"), [(4_000_000, "ok"), (700_000, "warning"), (300_000, "problem")])
def test_memory_of_the_machine_is_judged_by_what_is_free(tmp_path: Path, free: int, state: str) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal:       8000000 kB\nMemFree: 1 kB\nMemAvailable:  {free} kB\n")
    assert doctor_machine.memory(meminfo, tmp_path).state == state


def test_a_container_s_limit_counts_and_its_cache_of_files_does_not(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.current").write_text("1900000000\n")
    (tmp_path / "memory.stat").write_text("inactive_file 400000000\n")
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\n")
    finding = doctor_machine.memory(meminfo, tmp_path)
    assert (finding.state, finding.found) == ("warning", "500 MB of the container's 2.0 GB are free")
    assert finding.advice


def test_where_the_system_tells_no_memory_that_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    assert doctor_machine.memory(tmp_path / "none", tmp_path).found == "not known on this system"


def test_fewer_cores_than_the_machine_has_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "usable_cores", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert doctor_machine.cores().found.startswith("2 of 16:")


# Disk


def test_a_cache_that_cannot_be_written_to_is_a_warning_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finding = doctor_disk.cache(tmp_path / "file" / "roadmask")
    assert finding.state == "warning"
    assert "cannot be written to" in finding.found
    assert finding.advice
    assert doctor_disk.cache(tmp_path / "new" / "roadmask").state == "ok"
    assert list((tmp_path / "new" / "roadmask").iterdir()) == []


def test_a_temporary_folder_that_cannot_be_written_to_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_disk.tempfile, "TemporaryFile", broken)
    finding = doctor_disk.temporary()
    assert (finding.state, finding.found) == ("problem", "cannot be written to: Permission denied")


def test_the_working_folder_is_looked_at_and_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_disk.tempfile, "TemporaryFile", broken)
    assert doctor_disk.here(tmp_path).state == "ok"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert doctor_disk.here(tmp_path).state == "warning"


def test_a_working_folder_that_was_removed_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "cwd", lambda: (tmp_path / "gone").stat())
    assert by_name(doctor_disk.examine())["here"].state == "warning"


@pytest.mark.parametrize(("free", "state"), [(10**11, "ok"), (10**9, "warning"), (10**6, "problem")])
def test_room_on_the_disk_is_judged(tmp_path: Path, free: int, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_disk.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))
    assert doctor_disk.here(tmp_path).state == state


# Codecs


def test_a_decoder_or_encoder_that_is_missing_says_what_for_and_how_bad_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor_codecs.av.Codec

    def codec(name: str, mode: Any) -> Any:
        if name in ("h264", "hevc"):
            raise ValueError(name)
        return real(name, mode)

    monkeypatch.setattr(doctor_codecs.av, "Codec", codec)
    monkeypatch.setattr("roadmask.stream.encode.h264._X264", "libx264_of_elsewhere")
    found = by_name(doctor_codecs.examine())
    assert found["H.264 encoder"].state == found["h264 decoder"].state == "problem"
    assert found["hevc decoder"].state == "warning"
    assert found["ffv1 decoder"].state == "ok"
    assert "pip install" in found["H.264 encoder"].advice
    assert "dashcams" in found["hevc decoder"].found


def test_a_decoder_that_fails_is_told_in_ffmpeg_s_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_codecs, "_decoded", broken)
    finding = doctor_codecs.decoder("av1")
    assert (finding.state, finding.found) == ("warning", "fails: Permission denied (newer videos of the web)")


def test_a_decoder_that_nothing_encodes_for_is_there_and_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_codecs, "_encoded", broken)
    assert "not tried" in doctor_codecs.decoder("hevc").found


# Devices


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
    monkeypatch.setattr(doctor_devices, "_NVIDIA_DRIVER", tmp_path)
    found = list(doctor_devices.unused(["CUDAExecutionProvider"] if has_provider else []))
    assert [finding.state for finding in found] == ([] if has_provider else ["warning"])


# Cameras and the display


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


# The self-test


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("selftest")
    doctor_selftest.draw_known(folder / "drive.mp4", frames=8)
    doctor_selftest.run(folder, Model.load(device="cpu"))
    return folder


def test_a_run_that_is_right_has_nothing_to_tell(segmented: Path) -> None:
    assert doctor_selftest.masks_problem(segmented) == ""
    assert doctor_selftest.overlay_problem(segmented) == ""
    assert doctor_selftest.statistics_problem(segmented) == ""


def test_an_overlay_that_shows_nothing_or_is_short_is_found(tmp_path: Path) -> None:
    for name, frames in (("drive.mp4", 8), ("overlay.mp4", 8)):
        doctor_selftest.draw_known(tmp_path / name, frames=frames)
    assert doctor_selftest.overlay_problem(tmp_path) == "nothing is drawn over the video"
    doctor_selftest.draw_known(tmp_path / "overlay.mp4", frames=7)
    assert doctor_selftest.overlay_problem(tmp_path).startswith("it has 7 frames")


def test_a_network_that_confuses_colours_or_sees_nothing_is_found(segmented: Path) -> None:
    model = Model.load(device="cpu")
    inputs = doctor_selftest.network_inputs(segmented / "drive.mp4", model)
    height, width = doctor_selftest.HEIGHT, doctor_selftest.WIDTH

    def mask(pictures: Any) -> Any:
        return cv2.resize(model.scores(pictures)[0].argmax(axis=0).astype(np.uint8), (width, height), interpolation=0)

    assert doctor_selftest.what_is_wrong(mask(inputs[:1]), model.spec.classes) == ""
    assert "sky" in doctor_selftest.what_is_wrong(mask(inputs[:1, ::-1].copy()), model.spec.classes)
    assert "sky" in doctor_selftest.what_is_wrong(np.zeros((height, width), np.uint8) + 3, model.spec.classes)
