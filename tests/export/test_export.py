"""From a checkpoint to a model file: the two must be the same network, or there is no file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch

from roadmask.export import convert
from roadmask.export.convert import export_model
from roadmask.export.deploy import DeployedNetwork
from roadmask.export.errors import ExportError
from roadmask.export.pictures import draw, find_pictures
from roadmask.export.verify import ParityReport
from roadmask.stream.cli import main
from roadmask.stream.errors import ModelError
from roadmask.stream.network.model import Model
from roadmask.training import checkpoint as checkpoints
from roadmask.training.checkpoint import Checkpoint
from roadmask.training.errors import CheckpointError, DataError
from roadmask.training.shape import UNetSettings
from tests.support.own_process import ROOT
from tests.support.untrained import HEIGHT, NAMES, WIDTH, untrained_checkpoint


@pytest.fixture(scope="module")
def checkpoint(shallow_encoder: None) -> Checkpoint:
    del shallow_encoder
    return untrained_checkpoint()


@pytest.fixture(scope="module")
def checkpoint_path(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run-of-somebody") / "best.pt"
    checkpoints.save(checkpoint, path)
    return path


@pytest.fixture(scope="module")
def exported(checkpoint_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ParityReport]:
    path = tmp_path_factory.mktemp("models") / "model.onnx"
    return path, export_model(checkpoint_path, path)


@pytest.fixture
def model_path(exported: tuple[Path, ParityReport]) -> Path:
    return exported[0]


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for seed, (height, width) in enumerate([(64, 96), (90, 160), (96, 64)]):
        cv2.imwrite(str(folder / f"{seed}.png"), draw(height, width, seed=seed))
    return folder


@pytest.mark.parametrize("shape", [(1, 64, 96), (3, 64, 96), (1, 32, 32), (2, 160, 64)])
def test_the_model_file_scores_as_the_checkpoint_does_at_every_size(
    checkpoint: Checkpoint, model_path: Path, shape: tuple[int, int, int]
) -> None:
    batch, height, width = shape
    pictures = np.stack([draw(height, width, seed=seed) for seed in range(batch)])
    actual = Model.load(model_path, device="cpu").scores(pictures)
    with torch.inference_mode():
        expected = DeployedNetwork(checkpoint)(torch.from_numpy(pictures)).numpy()
    assert actual.shape == (batch, len(NAMES), height // 2, width // 2)
    # Scores are of the order of 1; the runtimes add in different orders, dozens of layers deep.
    np.testing.assert_allclose(actual, expected, atol=1e-3)


def test_the_network_of_these_tests_tells_classes_apart(checkpoint: Checkpoint) -> None:
    with torch.inference_mode():
        scores = DeployedNetwork(checkpoint)(torch.from_numpy(draw(HEIGHT, WIDTH, seed=0)[None]))
    assert len(scores.argmax(dim=1).unique()) > 1  # else equal labels would prove nothing


def test_normalisation_is_that_of_training(checkpoint: Checkpoint) -> None:
    picture = draw(HEIGHT, WIDTH, seed=3)
    normalised = (torch.from_numpy(picture)[None].permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        expected = checkpoint.build()(normalised)
        assert torch.equal(DeployedNetwork(checkpoint)(torch.from_numpy(picture)[None]), expected)


def test_the_report_covers_own_size_batch_and_another_shape(checkpoint_path: Path, frames: Path) -> None:
    report = export_model(checkpoint_path, frames / "model.onnx", pictures=find_pictures(frames))
    assert {(case.batch, case.height < case.width) for case in report.cases} == {(1, True), (1, False), (2, True)}
    assert sum(case.picture_count for case in report.cases) == 3 + 2 + 2
    assert report.equal_labels > 0.999
    assert report.max_difference < 1e-3
    assert report.origin == "the given pictures"


def test_without_the_training_data_the_report_says_the_pictures_are_drawn(exported: tuple[Path, ParityReport]) -> None:
    assert "drawn" in exported[1].origin


def test_with_the_training_data_in_place_its_frames_are_compared(checkpoint: Checkpoint, tmp_path: Path) -> None:
    data = tmp_path / "drives"
    for folder in ("images", "labels"):
        (data / folder).mkdir(parents=True)
    (data / "codes.txt").write_text("\n".join(NAMES))
    cv2.imwrite(str(data / "images" / "a_1.png"), draw(HEIGHT, WIDTH, seed=0))
    label = np.repeat(np.arange(2, dtype=np.uint8), HEIGHT * WIDTH // 2).reshape(HEIGHT, WIDTH)
    cv2.imwrite(str(data / "labels" / "a_1_P.png"), label)
    path = tmp_path / "best.pt"
    checkpoints.save(dataclasses.replace(checkpoint, settings={"data": str(data)}), path)
    assert export_model(path, tmp_path / "model.onnx").origin == "data set drives"


def test_an_existing_output_is_left_alone(checkpoint_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    output.write_text("precious")
    with pytest.raises(ExportError, match="exists; pass --overwrite"):
        export_model(checkpoint_path, output)
    assert output.read_text() == "precious"


def test_it_is_replaced_when_told_and_the_same_checkpoint_gives_the_same_bytes(
    checkpoint_path: Path, model_path: Path, tmp_path: Path
) -> None:
    output = tmp_path / "again.onnx"
    output.write_text("older")
    export_model(checkpoint_path, output, overwrite=True)
    assert output.read_bytes() == model_path.read_bytes()
    assert list(tmp_path.iterdir()) == [output]


def test_no_folder_of_the_user_is_in_the_file(checkpoint_path: Path, model_path: Path) -> None:
    content = model_path.read_bytes()
    for secret in ("somebody", str(checkpoint_path.parent), str(model_path.parent), str(ROOT), str(Path.home())):
        assert secret.encode() not in content


def test_another_size_is_asked_for_and_claims_no_scores(checkpoint_path: Path, tmp_path: Path) -> None:
    export_model(checkpoint_path, tmp_path / "fine.onnx", size=(96, 128))
    spec = Model.load(tmp_path / "fine.onnx").spec
    assert (spec.height, spec.width) == (96, 128)
    assert not spec.scores
    with pytest.raises(ExportError, match="size 100x96: width and height must be multiples of 32"):
        export_model(checkpoint_path, tmp_path / "odd.onnx", size=(96, 100))
    assert main(["export", str(checkpoint_path), "-o", str(tmp_path / "odd.onnx"), "--size", "big"]) == 2
    assert not (tmp_path / "odd.onnx").exists()


def test_the_graph_is_one_plain_network(model_path: Path) -> None:
    graph = onnx.load_model(model_path).graph
    kinds = {node.op_type for node in graph.node}
    # No batch norm (folded), no Shape, Gather or Floor (sizes computed at run time), no Loop.
    assert kinds == {"Transpose", "Cast", "Constant", "Sub", "Div", "Conv", "Clip", "Relu", "Add", "Resize", "Concat"}
    assert [dim.dim_param or dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        "height",
        "width",
        3,
    ]


def test_a_model_that_disagrees_is_not_written(
    checkpoint_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = torch.onnx.export

    def corrupted(network: torch.nn.Module, inputs: Any, path: Path, **options: Any) -> None:
        export(network, inputs, path, **options)
        model = onnx.load_model(path)
        biases = next(item for item in model.graph.initializer if item.name == "network.classifier.bias")
        biases.raw_data = np.roll(np.arange(len(NAMES), dtype=np.float32), 1).tobytes()
        onnx.save_model(model, path)

    monkeypatch.setattr(torch.onnx, "export", corrupted)
    with pytest.raises(ExportError, match="disagrees with its checkpoint") as caught:
        export_model(checkpoint_path, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_disagrees_does_not_replace_an_older_one(
    checkpoint_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "model.onnx"
    output.write_text("older")

    def disagrees(*_: Any) -> None:
        raise ExportError("disagrees")

    monkeypatch.setattr(convert, "verify", disagrees)
    with pytest.raises(ExportError, match="disagrees"):
        export_model(checkpoint_path, output, overwrite=True)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


def test_scores_that_are_not_numbers_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    weights = {**checkpoint.weights, "classifier.bias": torch.full((len(NAMES),), float("nan"))}
    checkpoints.save(dataclasses.replace(checkpoint, weights=weights), tmp_path / "best.pt")
    with pytest.raises(ExportError, match="not finite"):
        export_model(tmp_path / "best.pt", tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


def test_the_checkpoint_itself_is_never_replaced(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "odd.onnx"
    checkpoints.save(checkpoint, path)
    with pytest.raises(ExportError, match="checkpoint itself"):
        export_model(path, path, overwrite=True)


@pytest.mark.parametrize("name", ["model.pt", "missing/model.onnx", "folder.onnx"])
def test_an_output_that_cannot_be_is_found_before_any_work(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ExportError):  # and not CheckpointError: the checkpoint is not looked at yet
        export_model(tmp_path / "no.pt", tmp_path / name, overwrite=True)


def test_weights_of_another_network_are_told_in_one_line(checkpoint: Checkpoint, tmp_path: Path) -> None:
    other = dataclasses.replace(checkpoint, network=UNetSettings(len(NAMES), decoder_channels=(16, 8, 8, 8)))
    checkpoints.save(other, tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match="do not fit") as caught:
        export_model(tmp_path / "best.pt", tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)


def test_what_is_no_checkpoint_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.pt"
    path.write_text("not a checkpoint")
    with pytest.raises(CheckpointError) as caught:
        export_model(path, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.onnx").exists()


def test_a_picture_that_is_none_is_told_before_the_work(checkpoint_path: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(DataError, match=r"a\.png"):
        export_model(checkpoint_path, tmp_path / "model.onnx", pictures=find_pictures(tmp_path))


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_pictures_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExportError, match=name):
        find_pictures(tmp_path / name)


def test_a_model_without_its_spec_is_refused(model_path: Path, tmp_path: Path) -> None:
    model = onnx.load_model(model_path)
    del model.metadata_props[:]
    onnx.save_model(model, tmp_path / "bare.onnx")
    with pytest.raises(ModelError, match="does not describe itself"):
        Model.load(tmp_path / "bare.onnx", device="cpu")


def test_the_command_prints_the_file_on_stdout_and_the_rest_on_stderr(
    checkpoint_path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "model.onnx"
    assert main(["export", str(checkpoint_path), "-o", str(output)]) == 0
    out, err = capfd.readouterr()
    assert out == f"{output} ({output.stat().st_size / 1e6:.1f} MB)\n"
    assert err.startswith("checkpoint (torch) against model (ONNX Runtime) on drawn pictures")  # no exporter's chatter


def test_the_command_fails_with_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path / "no.pt")]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err == f"roadmask: {tmp_path / 'no.pt'}: no such checkpoint\n"
