"""What is taken where the user leaves device and model open, on which CPU, and what is said of it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from roadmask.stream.bench.clip import draw_drive
from roadmask.stream.cli import main
from roadmask.stream.errors import OutputError
from roadmask.stream.network.model import Model
from roadmask.stream.network.providers import choices
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import SegmentSettings
from roadmask.stream.system.machine import computes_in

ALL = ("bf16", "int8")


def machine(monkeypatch: pytest.MonkeyPatch, *, openvino: bool, can: tuple[str, ...]) -> None:
    """A CPU with these instructions, and OpenVINO installed on it or not."""
    monkeypatch.setattr("roadmask.stream.network.providers.find_spec", lambda _name: object() if openvino else None)
    monkeypatch.setattr("roadmask.stream.network.providers.computes_in", lambda kind: kind in can)


def taken(device: str, *, int8: bool | None) -> tuple[str, bool]:
    best = choices(device, int8)[0]
    return str(best.placement), best.int8


@pytest.mark.parametrize(
    ("openvino", "can", "free", "float_named", "int8_named"),
    [
        (True, ALL, ("openvino:bf16", True), ("openvino:bf16", False), ("openvino:bf16", True)),
        (True, ("int8",), ("openvino:fp32", True), ("cpu", False), ("openvino:fp32", True)),
        (True, (), ("cpu", False), ("cpu", False), ("cpu", True)),
        (False, ALL, ("cpu", True), ("cpu", False), ("cpu", True)),
        (False, (), ("cpu", False), ("cpu", False), ("cpu", True)),
    ],
)
def test_auto_takes_what_is_quickest_on_the_cpu_at_no_loss_to_speak_of(
    openvino: bool,
    can: tuple[str, ...],
    free: tuple[str, bool],
    float_named: tuple[str, bool],
    int8_named: tuple[str, bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, openvino=openvino, can=can)
    assert taken("auto", int8=None) == free
    assert taken("auto", int8=False) == float_named
    assert taken("auto", int8=True) == int8_named
    assert str(choices("auto", None)[-1].placement) == "cpu", "where it does not start, there is another"


@pytest.mark.parametrize(
    ("device", "can", "expected"),
    [
        ("openvino", ALL, ("openvino:bf16", True)),
        ("openvino:cpu", ("int8",), ("openvino:fp32", True)),
        ("openvino:fp32", ALL, ("openvino:fp32", False)),
        ("openvino:bf16", ALL, ("openvino:bf16", False)),
        ("openvino:cpu", (), ("openvino:fp32", False)),
        ("openvino:gpu", ALL, ("openvino:gpu", False)),
        ("cpu", ALL, ("cpu", True)),
        ("cpu", (), ("cpu", False)),
    ],
)
def test_a_device_that_is_named_gets_the_twin_that_suits_it(
    device: str, can: tuple[str, ...], expected: tuple[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, openvino=True, can=can)
    assert taken(device, int8=None) == expected


def test_what_was_chosen_is_chosen_again_by_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, openvino=False, can=ALL)
    first = Model.load(device="auto")
    assert first.path.stem == "camvid-lite0-int8"
    machine(monkeypatch, openvino=False, can=())
    again = Model.load(first.path, device=first.device)
    assert (again.path, again.device) == (first.path, first.device)


@pytest.mark.parametrize(
    ("flags", "bf16", "int8"),
    [
        ("fpu avx512f avx512_bf16 avx512_vnni", True, True),
        ("fpu avx2 avx_vnni", False, True),
        ("fpu avx2 fma", False, False),
        ("fpu avx512_vnni_of_another_name", False, False),
    ],
)
def test_a_cpu_is_known_by_what_linux_tells_of_it(tmp_path: Path, flags: str, bf16: bool, int8: bool) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbogomips\t: 1\n\nprocessor\t: 1\nflags\t\t: {flags}\n")
    assert (computes_in("bf16", told), computes_in("int8", told)) == (bf16, int8)


@pytest.mark.skipif(sys.platform != "linux", reason="needs both to be told")
def test_elsewhere_a_cpu_is_known_by_numpy(tmp_path: Path) -> None:
    nowhere = tmp_path / "none"
    for kind in ("bf16", "int8"):
        assert not computes_in(kind, nowhere) or computes_in(kind), "NumPy knows fewer, and none that is not there"


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "drives" / "drive.mp4"
    path.parent.mkdir()
    draw_drive(path, height=96, width=160, frames=6)
    return path


def model_of(summary: Path) -> str:
    return str(json.loads(summary.read_text())["model"]["file"])


def test_a_run_that_goes_on_takes_what_the_first_one_chose(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, openvino=False, can=ALL)
    monkeypatch.setattr("roadmask.stream.run.stages.EVERY_S", 0.0)  # it notes how far it is after each frame
    settings, stop = SegmentSettings(clip, masks=tmp_path / "masks.zip"), Event()
    stopped = process_video(
        settings, Model.load(), stop=stop, on_frame=lambda frames: stop.set() if frames == 3 else None
    )
    assert stopped.interrupted
    machine(monkeypatch, openvino=False, can=())  # another CPU
    command = ["run", str(clip), "--masks", str(tmp_path / "masks.zip"), "--resume"]
    assert main(command) == 0
    process_video(replace(settings, masks=tmp_path / "whole.zip"), Model.load("camvid-lite0-int8", device="cpu"))
    assert (tmp_path / "masks.zip").read_bytes() == (tmp_path / "whole.zip").read_bytes()


def test_what_a_folder_lacks_is_made_as_the_rest_of_it_was(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, openvino=False, can=ALL)
    command = ["run", str(clip.parent), "-o", f"{tmp_path}/out/"]
    assert main(command) == 0
    assert model_of(tmp_path / "out" / "summary.json") == "camvid-lite0-int8.onnx"
    machine(monkeypatch, openvino=False, can=())
    (clip.parent / "other.mp4").write_bytes(clip.read_bytes())
    assert main(command) == 0
    assert model_of(tmp_path / "out" / "summary.json") == "camvid-lite0-int8.onnx"
    assert main([*command, "--overwrite"]) == 0  # begins anew, as suits this CPU
    assert model_of(tmp_path / "out" / "summary.json") == "camvid-lite0.onnx"


def test_going_on_in_another_precision_or_runtime_is_refused(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
    monkeypatch.setattr("roadmask.stream.run.stages.EVERY_S", 0.0)
    settings, stop = SegmentSettings(clip, masks=tmp_path / "masks.zip"), Event()
    model = Model.load(device="openvino:fp32")
    process_video(settings, model, stop=stop, on_frame=lambda frames: stop.set() if frames == 3 else None)
    with pytest.raises(OutputError, match=r"device was openvino:fp32, is now cpu"):
        process_video(replace(settings, resume=True), Model.load("camvid-lite0", device="cpu"))
    assert process_video(replace(settings, resume=True), model).resumed == 3
    process_video(replace(settings, masks=tmp_path / "whole.zip"), model)
    assert (tmp_path / "masks.zip").read_bytes() == (tmp_path / "whole.zip").read_bytes()
