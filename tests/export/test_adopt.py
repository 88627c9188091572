"""Networks that were trained and exported elsewhere become model files that everything here runs."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.nn import functional

import roadmask
from roadmask import Model
from roadmask.export.adopt import read_classes
from roadmask.export.errors import ExportError
from roadmask.stream.cli import main
from tests.support.clips import cfr, make_clip

CLASSES = ("Road", "Sky", "Car", "Tree")


class Torchvision(nn.Module):
    """As its DeepLabV3: two outputs, scores of the pictures' own size."""

    def __init__(self, classes: int = len(CLASSES)) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1))
        self.head, self.aux = nn.Conv2d(16, classes, 1), nn.Conv2d(16, classes, 1)

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        seen, size = self.body(pictures), pictures.shape[-2:]
        resized = {"out": self.head(seen), "aux": self.aux(seen)}
        return {name: functional.interpolate(item, size=size, mode="bilinear") for name, item in resized.items()}


class SegFormer(Torchvision):
    """As Hugging Face's: scores of a quarter of the size."""

    def forward(self, pictures: Tensor) -> Tensor:  # type: ignore[override]
        return self.head(self.body(pictures))


class WithArgMax(Torchvision):
    def forward(self, pictures: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(pictures)["out"].argmax(1)


class LabelsWithAChannel(Torchvision):
    def forward(self, pictures: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(pictures)["out"].argmax(1, keepdim=True).int()


class ChannelsLast(SegFormer):
    """As networks that were made in TensorFlow: pictures and scores."""

    def forward(self, pictures: Tensor) -> Tensor:
        return super().forward(pictures.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class YesOrNo(SegFormer):
    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, pictures: Tensor) -> Tensor:
        return super().forward(pictures).sigmoid()


def exported(
    network: nn.Module, path: Path, *, size: tuple[int, int] = (96, 128), free: bool = True, last: bool = False
) -> Path:
    height, width = size
    shape = (1, height, width, 3) if last else (1, 3, height, width)
    sides = {0: "n", **({1: "h", 2: "w"} if last else {2: "h", 3: "w"})}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.zeros(shape),),
            path,
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            dynamic_axes={"x": sides} if free else {},
        )
    return path


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    return tmp_path / "classes.txt"


def adopted(path: Path, *options: object, code: int = 0) -> Path:
    made = path.with_name("made.onnx")
    assert main(["adopt", str(path), "-o", str(made), *map(str, options)]) == code
    return made


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (Torchvision(), "scores, nchw"),
        (SegFormer(), "scores, nchw"),
        (WithArgMax(), "labels"),
        (LabelsWithAChannel(), "labels"),
        (ChannelsLast(), "scores, nhwc"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
@pytest.mark.parametrize("free", [True, False])
def test_a_network_of_any_form_labels_as_before(
    network: nn.Module, told: str, free: bool, classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = isinstance(network, ChannelsLast)
    source = exported(network, tmp_path / "net.onnx", free=free, last=last)
    made = adopted(source, "--classes", classes, *([] if not free else ["--size", "128x96"]))
    said = capsys.readouterr().err
    assert told in said
    assert ("128x96 alone" in said) != free
    model = Model.load(made, device="cpu")
    assert model.spec.class_names == CLASSES
    picture = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    normal = (picture / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    given = torch.from_numpy(normal.astype(np.float32))[None]
    with torch.inference_mode():
        out: Any = network.eval()(given if last else given.permute(0, 3, 1, 2))
    expected = out["out"] if isinstance(out, dict) else out
    if expected.is_floating_point():
        expected = expected.argmax(-1 if last else 1)
    actual = model.scores(picture[None]).argmax(1)
    assert (actual == expected.reshape(actual.shape).numpy()).mean() > 0.999


def test_what_was_adopted_runs_on_video_whatever_its_size_and_batch(classes: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "drive.mp4", cfr(7), size=(90, 160))
    for free in (True, False):
        made = adopted(exported(SegFormer(), tmp_path / "net.onnx", free=free), "--classes", classes, "--overwrite")
        masks = tmp_path / f"masks{free}.zip"
        assert main(["run", str(clip), "--masks", str(masks), "--model", str(made), "--batch", "3", "--quiet"]) == 0
        with roadmask.open_masks(masks) as archive:
            assert (len(archive), archive[6].shape) == (7, (90, 160))
        results = roadmask.load(made)([np.zeros((40, 50, 3), np.uint8)] * 3)
        assert [result.mask.shape for result in results] == [(40, 50)] * 3


def test_order_scale_and_statistics_of_the_input_go_into_the_graph(classes: Path, tmp_path: Path) -> None:
    network = SegFormer().eval()
    source = exported(network, tmp_path / "net.onnx")
    caffe = ["--bgr", "--scale", 1, "--mean", "104,117,123", "--std", "1,2,4", "--softmax"]
    model = Model.load(adopted(source, "--classes", classes, *caffe), device="cpu")
    picture = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    seen = ((picture[..., ::-1].astype(np.float32) - [104, 117, 123]) / [1, 2, 4]).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(seen)[None].permute(0, 3, 1, 2)).softmax(1).numpy()
    np.testing.assert_allclose(model.scores(picture[None]), expected, atol=1e-4)
    assert model.spec.provenance["sees"] == "blue first, (pixel * 1 - [104, 117, 123]) / [1, 2, 4]"
    assert model.spec.provenance["adopted_from"].startswith("net.onnx, SHA-256 ")


def test_a_channel_that_says_yes_or_no_becomes_two_classes(tmp_path: Path) -> None:
    network = YesOrNo().eval()
    (tmp_path / "two.txt").write_text("Other\nRoad\n")
    made = adopted(exported(network, tmp_path / "net.onnx"), "--classes", tmp_path / "two.txt")
    picture = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    normal = ((picture / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).astype(np.float32)
    with torch.inference_mode():
        yes = network(torch.from_numpy(normal)[None].permute(0, 3, 1, 2))[:, 0] > 0.5
    assert (Model.load(made).scores(picture[None]).argmax(1) == yes.numpy()).mean() > 0.999


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "Road\nSky\nCar\nTree\n"),
        ("label_colors.txt", "0 0 0 Road\n70 130 180 Sky\n0 0 142 Car\n107 142 35 Tree\n"),
        ("names.json", json.dumps(CLASSES)),
        ("config.json", json.dumps({"id2label": {str(number): name for number, name in enumerate(CLASSES)}})),
        ("labels.json", json.dumps([{"name": name, "color": [number, 0, 0]} for number, name in enumerate(CLASSES)])),
    ],
)
def test_classes_are_read_as_people_have_them(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    made = adopted(exported(SegFormer(), tmp_path / "net.onnx"), "--classes", tmp_path / name)
    spec = Model.load(made).spec
    assert spec.class_names == CLASSES
    if name == "label_colors.txt":
        assert [item.color for item in spec.classes][:2] == [(0, 0, 0), (70, 130, 180)]


def test_numbered_classes_are_in_the_order_of_their_numbers_whatever_stands_first(tmp_path: Path) -> None:
    named = {str(number): f"class {number}" for number in (11, 2, 10, *range(2), *range(3, 10))}
    (tmp_path / "config.json").write_text(json.dumps({"id2label": named}))
    assert [name for name, _ in read_classes(tmp_path / "config.json")] == [f"class {n}" for n in range(12)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("one.json", '"Road"', "no list of classes; a name a line, or JSON as in"),
        ("one.json", '[["Road"]]', "no list of classes; a name a line, or JSON as in"),
        ("none.txt", "", "0 classes; 1 to 255 are possible, each with a name"),
        ("some.json", '["Road", ""]', "2 classes; 1 to 255 are possible, each with a name"),
    ],
)
def test_a_list_of_classes_that_is_none_is_told_in_one_line(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ExportError, match=f"{name}: {message}"):
        read_classes(tmp_path / name)


def of_two_inputs(path: Path) -> Path:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in ("a", "b", "c")]
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["c"])], "g", values[:2], values[2:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output-name", "nope"], r"has no output 'nope'; it has "),
        (["--size", "64x64"], r"takes pictures of 128x96 alone, not of 64x64"),
        (["--mean", "1,2"], r"is not three numbers"),
        (["--std", "1,0,1"], r"is not three numbers"),
        (["--argmax"], r"is no plane of labels"),
    ],
)
def test_what_cannot_be_is_told_in_one_line_and_nothing_is_written(
    options: list[str], message: str, classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = exported(SegFormer(), tmp_path / "net.onnx", free=False)
    made = adopted(source, "--classes", classes, *options, code=2 if "three" in message else 1)
    assert re.search(message, " ".join(capsys.readouterr().err.replace("│", " ").split()))
    assert not made.exists()


def test_files_that_are_no_such_network_are_refused(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none.onnx").write_bytes(b"?")
    (tmp_path / "three.txt").write_text("Road\nSky\nCar\n")
    (tmp_path / "twice.txt").write_text("Road\nroad\n")
    network = exported(SegFormer(), tmp_path / "net.onnx")
    outside = onnx.load_model(network)
    outside.graph.initializer[0].data_location = TensorProto.EXTERNAL
    (tmp_path / "outside.onnx").write_bytes(outside.SerializeToString())
    for source, names, message in [
        (tmp_path / "none.onnx", classes, "not an ONNX file"),
        (tmp_path / "nowhere.onnx", classes, "no such model file"),
        (tmp_path / "outside.onnx", classes, "keeps weights in another file"),
        (of_two_inputs(tmp_path / "two.onnx"), classes, "takes 2 inputs (a, b), and not pictures alone"),
        (network, tmp_path / "three.txt", "no output is scores of 3 classes, or labels"),
        (network, tmp_path / "twice.txt", "names road twice"),
        (network, tmp_path / "nowhere.txt", "nowhere.txt"),
    ]:
        made = adopted(source, "--classes", names, code=1)
        said = capsys.readouterr().err
        assert message in said
        assert len(said.splitlines()) == 1
        assert not made.exists()


class Fractions(YesOrNo):
    """A plane of probabilities without a channel, which is no plane of labels."""

    def forward(self, pictures: Tensor) -> Tensor:
        return super().forward(pictures)[:, 0]


@pytest.mark.parametrize(
    ("network", "names", "message"),
    [
        (Fractions(), ("Other", "Road"), "holds fractions, and no labels; export it as scores"),
        (YesOrNo(), ("Road",), "has one channel, which says yes or no: name two classes, no's first"),
        (WithArgMax(), ("Other", "Road"), "labels as 3, and 2 classes are named"),
    ],
    ids=["fractions", "one class", "too few classes"],
)
def test_an_output_that_would_be_misread_is_refused(
    network: nn.Module, names: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "names.txt").write_text("\n".join(names))
    made = adopted(exported(network, tmp_path / "net.onnx", free=False), "--classes", tmp_path / "names.txt", code=1)
    assert message in capsys.readouterr().err
    assert not made.exists()


def test_weights_in_a_file_beside_it_are_taken_in_and_such_elsewhere_are_not(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `torch.onnx.export` writes them by default."""
    network, source = exported(SegFormer(), tmp_path / "net.onnx"), tmp_path / "parts" / "net.onnx"
    source.parent.mkdir()
    model = onnx.load_model(network)
    onnx.save_model(model, source, save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    data = source.with_name("net.onnx.data")
    made = adopted(source, "--classes", classes)
    data.rename(tmp_path / "net.onnx.data")
    scores = Model.load(made, device="cpu").scores(np.zeros((1, 96, 128, 3), np.uint8))
    assert scores.shape[1] == len(CLASSES), "it needs no other file"
    capsys.readouterr()
    for place in ("away", "link"):
        if place == "link":
            data.symlink_to(tmp_path / "net.onnx.data")
        adopted(source, "--classes", classes, "--overwrite", code=1)
        assert "keeps weights in another file, 'net.onnx.data', and there is none" in capsys.readouterr().err


def test_what_people_try_first_is_answered_with_what_to_do(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({}, tmp_path / "net.pt")
    own = adopted(exported(SegFormer(), tmp_path / "net.onnx"), "--classes", classes)
    own = own.rename(tmp_path / "own.onnx")
    for source, message in [
        (tmp_path / "net.pt", "not an ONNX file, or a damaged one; torch.onnx.export makes one of it"),
        (own, "is a model file already; --model takes it as it is"),
    ]:
        adopted(source, "--classes", classes, code=1)
        assert message in capsys.readouterr().err
