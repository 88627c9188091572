"""The session: what it computes, what it refuses, and on which device."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from roadmask.stream.errors import DeviceError, ModelError
from roadmask.stream.network.model import Model, bundled_models
from roadmask.stream.network.providers import DEVICES, Choice, Placement, choices, placement_of
from tests.support.color_model import COLORS, SPEC, spec, write_color_model
from tests.support.moving_scene import texture
from tests.support.own_process import LIMIT_S, python


def test_scores_come_at_half_size_for_any_batch_and_size(tmp_path: Path) -> None:
    model = Model.load(write_color_model(tmp_path / "m.onnx"))
    for batch, height, width in ((1, 64, 96), (3, 32, 160)):
        pictures = np.zeros((batch, height, width, 3), np.uint8)
        pictures[:, :, : width // 2] = COLORS["Car"]
        pictures[:, :, width // 2 :] = COLORS["Sky"]
        best = model.scores(pictures).argmax(axis=1)
        assert best.shape == (batch, height // 2, width // 2)
        assert (best[..., : width // 4] == 2).all()
        assert (best[..., width // 4 :] == 1).all()


def test_the_model_in_the_box_loads_and_names_the_camvid_classes() -> None:
    model = Model.load()
    assert model.path in bundled_models().values()
    assert {"Road", "Car", "Pedestrian", "Sky"} <= set(model.spec.class_names)
    assert len(model.spec.classes) == 11
    size = model.spec.input_size(540, 960)
    assert model.scores(np.zeros((1, *size, 3), np.uint8)).shape[1] == 11


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "does not describe itself .* 'roadmask export'"),
        ("not json", "is not JSON"),
        (spec(schema=2), "schema 2 is newer than this roadmask .* upgrade"),
        (spec(classes=SPEC["classes"][:2]), "scores 3 classes, the spec names 2"),
        (spec(input={**SPEC["input"], "name": "picture"}), r"inputs are \['image'\], the spec says 'picture'"),
        (spec(output={**SPEC["output"], "name": "labels"}), "no output 'labels'"),
    ],
)
def test_a_file_that_breaks_its_promises_is_refused(tmp_path: Path, metadata: str | None, message: str) -> None:
    path = write_color_model(tmp_path / "m.onnx", metadata=metadata)
    with pytest.raises(ModelError, match=message) as caught:
        Model.load(path)
    assert "\n" not in str(caught.value)


def test_an_input_of_another_type_is_refused(tmp_path: Path) -> None:
    path = write_color_model(tmp_path / "m.onnx", input_type=TensorProto.INT8)
    with pytest.raises(ModelError, match=r"input is tensor\(int8\)"):
        Model.load(path)


def test_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="fixed size"):
        Model.load(write_color_model(tmp_path / "m.onnx", batch=1))


def test_files_that_are_no_model_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        Model.load(tmp_path / "missing.onnx")
    (tmp_path / "junk.onnx").write_bytes(b"junk" * 100)
    with pytest.raises(ModelError, match="not an ONNX file, or a damaged one") as caught:
        Model.load(tmp_path / "junk.onnx")
    assert "\n" not in str(caught.value)


def test_auto_names_the_device_it_took_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    path = write_color_model(tmp_path / "m.onnx")
    assert Model.load(path, device="cpu").device == "cpu"
    with pytest.raises(DeviceError, match="device 'warp' is not known; choose auto, cuda"):
        Model.load(path, device="warp")


def test_a_device_that_onnxruntime_was_not_built_for_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert [choice.placement.device.name for choice in choices("auto", int8=False)][-1] == "cpu"
    with pytest.raises(DeviceError, match=r"device 'cuda' is not there: this onnxruntime has cpu; .*onnxruntime-gpu"):
        placement_of("cuda")


def test_a_device_may_carry_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    cuda = placement_of("cuda:1")
    assert (cuda.device.provider, cuda.options) == ("CUDAExecutionProvider", {"device_id": 1})
    with pytest.raises(DeviceError, match="must be a number"):
        placement_of("cuda:one")


def test_a_provider_that_does_not_start_is_an_error_and_no_silent_fallback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This is what ONNX Runtime does with CUDA built in and no driver: it warns, and computes on the CPU.
    cuda = Placement(DEVICES["cuda"])
    monkeypatch.setattr("roadmask.stream.network.model.placement_of", lambda _device: cuda)
    monkeypatch.setattr("roadmask.stream.network.model.choices", lambda _device, _int8: (Choice(cuda, int8=False),))
    with pytest.raises(DeviceError, match="did not start"):
        Model.load(write_color_model(tmp_path / "m.onnx"), device="cuda")


def test_threads_that_wait_awake_within_a_call_give_the_same_scores() -> None:
    pictures = texture(192, 256)[None]
    asleep, awake = (
        Model.load("camvid-lite0-int8", device="cpu", workers=1, alone=alone).scores(pictures)
        for alone in (False, True)
    )
    assert (asleep == awake).all()


def test_behind_a_call_the_network_s_threads_sleep() -> None:
    script = """
        import time
        import numpy as np
        import roadmask

        model = roadmask.load("camvid-lite0-int8", device="cpu")
        model(np.zeros((192, 256, 3), np.uint8))
        worked = time.process_time()
        time.sleep(0.1)  # ONNX Runtime's own threads would work for 34 ms of it
        print(time.process_time() - worked)
    """
    assert float(subprocess.check_output(python(script), timeout=LIMIT_S)) < 0.02
