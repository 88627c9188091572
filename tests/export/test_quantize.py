"""The int8 twin of a model file: what it promises, what it is calibrated on, and that it computes in integers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from roadmask.export import quantize, verify
from roadmask.export.calibration import find_calibration
from roadmask.export.errors import ExportError
from roadmask.export.pictures import SAMPLE_COUNT, draw, fit
from roadmask.export.quantize import quantize_model
from roadmask.export.verify import ParityReport
from roadmask.stream import open_source
from roadmask.stream.cli import main
from roadmask.stream.errors import ModelError, SourceError
from roadmask.stream.network.model import Model
from roadmask.stream.run.stages import network_size
from roadmask.stream.spec import ModelSpec
from roadmask.training.dataset import read_picture
from tests.support.clips import cfr, make_clip
from tests.support.datasets import make_fastai, make_segnet, save_png
from tests.support.untrained import HEIGHT, NAMES, WIDTH


@pytest.fixture(scope="module", autouse=True)
def bound_for_an_untrained_network() -> Iterator[None]:
    """Its classes nearly tie everywhere, so that rounding changes far more labels than of a trained one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(verify.MIN_EQUAL_LABELS, "int8", 0.8)
        yield


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home-of-somebody") / "drawings"
    for seed in range(12):
        save_png(folder / f"{seed:02}.png", draw(HEIGHT, WIDTH, seed=seed))
    return folder


@pytest.fixture(scope="module")
def quantized(float_path: Path, drawings: Path) -> tuple[Path, ParityReport]:
    path = float_path.with_name("model-int8.onnx")
    return path, quantize_model(float_path, path, drawings)


@pytest.fixture
def int8_path(quantized: tuple[Path, ParityReport]) -> Path:
    return quantized[0]


@pytest.fixture
def spec(float_path: Path) -> ModelSpec:
    return Model.load(float_path, device="cpu").spec


def test_the_twin_keeps_the_spec_says_how_it_was_made_and_claims_no_scores(int8_path: Path, spec: ModelSpec) -> None:
    twin = Model.load(int8_path, device="cpu").spec
    assert twin.class_names == spec.class_names
    assert (twin.height, twin.width, twin.stride) == (spec.height, spec.width, spec.stride)
    assert spec.scores
    assert not twin.scores
    note = twin.provenance["quantization"]
    assert note.startswith("int8: QDQ")
    assert "9 pictures (drawings)" in note
    assert {key: value for key, value in twin.provenance.items() if key != "quantization"} == spec.provenance


@pytest.mark.parametrize("shape", [(1, 64, 96), (3, 64, 96), (2, 160, 64)])
def test_batch_height_and_width_stay_free(int8_path: Path, shape: tuple[int, int, int]) -> None:
    scores = Model.load(int8_path, device="cpu").scores(np.zeros((*shape, 3), np.uint8))
    assert scores.shape == (shape[0], len(NAMES), shape[1] // 2, shape[2] // 2)


def test_its_labels_are_nearly_those_of_the_float_model(quantized: tuple[Path, ParityReport]) -> None:
    report = quantized[1]
    assert report.equal_labels > 0.8
    assert all(0 < case.mean_difference < case.max_difference < case.score_range for case in report.cases)
    assert report.origin == "other pictures of drawings"


def test_how_it_labels_in_the_other_runtime_is_told_where_that_is_installed(
    quantized: tuple[Path, ParityReport],
) -> None:
    _, report = quantized
    told = r"openvino:\w+: [\d.]+% of the labels are those of ONNX Runtime"
    assert re.fullmatch(told if find_spec("openvino") else "", report.openvino)


def test_it_is_a_third_of_the_size_and_of_the_same_opset(float_path: Path, int8_path: Path) -> None:
    assert int8_path.stat().st_size < 0.4 * float_path.stat().st_size
    opsets = [
        {item.domain: item.version for item in onnx.load_model(path).opset_import} for path in (float_path, int8_path)
    ]
    assert opsets[0][""] == opsets[1][""]
    assert set(opsets[1]) <= {"", "ai.onnx.ml", "com.microsoft"}


def test_the_picture_s_bytes_are_the_quantised_input_of_the_first_convolution(int8_path: Path) -> None:
    graph = onnx.load_model(int8_path).graph
    values = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    transpose = next(node for node in graph.node if "image" in node.input)
    first = next(node for node in graph.node if transpose.output[0] in node.input)
    assert (transpose.op_type, first.op_type) == ("Transpose", "DequantizeLinear")
    assert values[first.input[1]] == np.float32(1 / 128)
    assert values[first.input[2]] == np.uint8(127)  # what the borders are padded with, too: zero when normalised
    assert not {"Cast", "Sub", "Div"} & {node.op_type for node in graph.node}


def test_no_two_products_can_saturate_a_cpu_s_16_bit_sums(int8_path: Path) -> None:
    weights = [
        numpy_helper.to_array(item)
        for item in onnx.load_model(int8_path).graph.initializer
        if item.data_type == onnx.TensorProto.INT8 and len(item.dims) == 4
    ]
    assert len(weights) > 40
    largest = max(int(np.abs(weight.astype(int)).max()) for weight in weights)
    assert 2 * 255 * largest < 2**15


def test_onnx_runtime_computes_everything_but_enlarging_in_integers(int8_path: Path, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3  # it warns that the file is for this machine only
    onnxruntime.InferenceSession(str(int8_path), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load_model(tmp_path / "optimised.onnx").graph.node
    kinds = [node.op_type for node in nodes]
    assert {"QLinearConv", "QLinearAdd", "QLinearConcat"} <= set(kinds)
    assert not {"Conv", "FusedConv", "Add", "Concat", "Relu", "Clip", "Cast"} & set(kinds)
    # Bilinear enlarging of integers would round downwards; DequantizeLinear once more gives the scores.
    assert kinds.count("Resize") == 4
    assert kinds.count("DequantizeLinear") <= 4 + 1


def test_fused_integers_give_the_scores_of_the_graph_computed_in_float_step_by_step(int8_path: Path) -> None:
    pictures = np.stack([draw(HEIGHT, WIDTH, seed=seed) for seed in (20, 21)])
    fused, stepwise = (_scores(int8_path, pictures, level) for level in ("ORT_ENABLE_ALL", "ORT_DISABLE_ALL"))
    # They round at other places, by one of 255 steps; sums that saturate would be far off.
    assert np.abs(fused - stepwise).mean() < 0.02 * np.ptp(stepwise)


@pytest.mark.parametrize(("mean", "is_folded"), [(127.0, True), (127.5, False), (-3.0, False)])
def test_a_mean_that_is_no_byte_is_subtracted_in_float(mean: float, is_folded: bool) -> None:
    pictures = np.stack([draw(HEIGHT, WIDTH, seed=seed) for seed in (0, 1)])
    graph = normalised_convolution(mean)
    result = quantize.quantize_graph(graph, "image", iter(pictures))
    assert ("Sub" in {node.op_type for node in result.graph.node}) != is_folded
    expected, actual = (_run(model.SerializeToString(), pictures, "ORT_ENABLE_ALL") for model in (graph, result))
    # On the mean: one of 255 steps, half of one of the weights, and some clipping by ranges that are means.
    assert np.abs(actual - expected).mean() < 0.01 * np.ptp(expected)


def test_of_a_data_set_only_training_pictures_calibrate_and_validation_pictures_compare(
    tmp_path: Path, spec: ModelSpec
) -> None:
    data = make_fastai(tmp_path / "drives", count=8, valid=2)
    calibration = find_calibration(data, spec, 4)
    listed = (data / "valid.txt").read_text().split()
    valid = {_fitted(data / "images" / name, spec) for name in listed}
    train = {_fitted(path, spec) for path in (data / "images").iterdir() if path.name not in listed}
    used = [picture.tobytes() for picture in calibration.pictures]
    assert calibration.count == len(used) == 4
    assert set(used) <= train
    assert {_pixels(picture, spec) for picture in calibration.compared.pictures} == valid
    assert calibration.origin == "drives's training pictures"


def test_in_segnet_s_layout_neither_val_nor_test_calibrates(tmp_path: Path, spec: ModelSpec) -> None:
    data = make_segnet(tmp_path / "drives", train=3, val=2, test=2)
    train = {_fitted(path, spec) for path in (data / "train").iterdir()}
    assert {picture.tobytes() for picture in find_calibration(data, spec).pictures} == train


def test_a_data_set_that_does_not_say_its_validation_pictures_is_refused(tmp_path: Path, spec: ModelSpec) -> None:
    data = make_fastai(tmp_path / "drives")
    (data / "valid.txt").unlink()
    with pytest.raises(ExportError, match=r"no valid\.txt, .* calibrate on a folder of pictures .*images") as caught:
        find_calibration(data, spec)
    assert "\n" not in str(caught.value)


def test_pictures_of_a_folder_either_calibrate_or_compare(drawings: Path, spec: ModelSpec) -> None:
    calibration = find_calibration(drawings, spec)
    used = {picture.tobytes() for picture in calibration.pictures}
    compared = {_pixels(picture, spec) for picture in calibration.compared.pictures}
    assert (len(used), len(compared)) == (9, 3)
    assert not used & compared


def test_one_picture_does_both(tmp_path: Path, spec: ModelSpec) -> None:
    save_png(tmp_path / "only" / "a.png", draw(HEIGHT, WIDTH, seed=0))
    calibration = find_calibration(tmp_path / "only", spec)
    assert calibration.count == len(calibration.compared.pictures) == 1


def test_frames_are_spread_over_a_video(tmp_path: Path, spec: ModelSpec) -> None:
    clip = make_clip(tmp_path / "drive.mp4", cfr(60), size=(64, 96))
    calibration = find_calibration(clip, spec, 4)
    assert calibration.count == len(list(calibration.pictures)) == 4
    assert len(calibration.compared.pictures) == 12 // 4 < SAMPLE_COUNT
    assert calibration.compared.origin == "other frames of drive.mp4"


def test_a_video_of_wide_pixels_calibrates_at_the_size_that_a_run_of_it_has(
    tmp_path: Path, float_path: Path, spec: ModelSpec
) -> None:
    clip = make_clip(tmp_path / "wide.mp4", cfr(12), size=(96, 96), sample_aspect_ratio=Fraction(2))
    calibration = find_calibration(clip, spec, 4)
    with open_source(clip) as source:
        size = network_size(Model.load(float_path, device="cpu"), source.info)
    assert size != spec.input_size(96, 96)
    assert {picture.shape[:2] for picture in (*calibration.pictures, *calibration.compared.pictures)} == {size}


def test_what_is_neither_pictures_nor_video_is_told_in_one_line(tmp_path: Path, spec: ModelSpec) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(SourceError, match=r"notes\.mp4"):
        find_calibration(tmp_path / "notes.mp4", spec)
    with pytest.raises(ExportError, match="no such file or folder"):
        find_calibration(tmp_path / "missing", spec)


def test_a_twin_that_differs_too_much_is_not_written(
    float_path: Path, int8_path: Path, drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "quantize_graph", lambda *_: onnx.load_model(int8_path))
    monkeypatch.setitem(verify.MIN_EQUAL_LABELS, "int8", 1.01)
    output = tmp_path / "model.onnx"
    output.write_text("older")
    with pytest.raises(ExportError, match=r"differs too much: .* \(--calibrate-pictures\)") as caught:
        quantize_model(float_path, output, drawings, overwrite=True)
    assert "\n" not in str(caught.value)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


def test_a_twin_has_no_twin(int8_path: Path, drawings: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="int8 model already"):
        quantize_model(int8_path, tmp_path / "model.onnx", drawings)


def test_outputs_that_cannot_be_are_found_before_any_work(float_path: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="is the model itself"):
        quantize_model(float_path, float_path, tmp_path / "not-looked-at", overwrite=True)
    with pytest.raises(ExportError, match="exists; pass --overwrite"):
        quantize_model(tmp_path / "not-looked-at.onnx", float_path, tmp_path)
    with pytest.raises(ModelError, match="no such model file"):
        quantize_model(tmp_path / "missing.onnx", tmp_path / "model.onnx", tmp_path)


def test_the_command_makes_a_twin_of_a_checkpoint_beside_it_with_the_same_bytes_as_of_its_model(
    checkpoint_path: Path, drawings: Path, int8_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = checkpoint_path.with_name("best-int8.onnx")
    output.write_text("older")
    options = ["--int8", "--calibrate", str(drawings), "--overwrite"]
    assert main(["export", str(checkpoint_path), *options]) == 0
    out, err = capfd.readouterr()
    assert out == f"{output} ({output.stat().st_size / 1e6:.1f} MB)\n"
    talk = " ".join(err.split())
    assert talk.startswith("checkpoint (torch) against model (ONNX Runtime) on drawn pictures")
    assert "float32 model against int8 model on other pictures of drawings:" in talk
    assert output.read_bytes() == int8_path.read_bytes()
    assert b"somebody" not in output.read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        ["best.pt", "--int8"],
        ["best.pt", "--calibrate", "x"],
        ["m.onnx"],
        ["camvid-lite0"],
        ["m.onnx", "--size", "96x64"],
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(options: list[str]) -> None:
    assert main(["export", *options]) == 2


def normalised_convolution(mean: float) -> onnx.ModelProto:
    """What a deployed network begins with, and a filter."""
    rng = np.random.default_rng(0)
    values = {
        "mean": np.float32(mean),
        "std": np.float32(128),
        "weights": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "biases": rng.normal(size=4).astype(np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pixels", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["normalised"]),
        helper.make_node("Conv", ["normalised", "weights", "biases"], ["scores"], "filter", pads=[1, 1, 1, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "begin",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 4, "height", "width"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _scores(path: Path, pictures: NDArray[np.uint8], level: str) -> NDArray[np.float32]:
    return _run(path.read_bytes(), pictures, level)


def _run(model: bytes, pictures: NDArray[np.uint8], level: str) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": pictures})[0])


def _fitted(path: Path, spec: ModelSpec) -> bytes:
    return _pixels(read_picture(path), spec)


def _pixels(picture: NDArray[np.uint8], spec: ModelSpec) -> bytes:
    return fit(picture, *spec.input_size(*picture.shape[:2])).tobytes()
