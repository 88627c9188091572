"""The promise between the writer of a model file and its reader."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from roadmask.export.metadata import metadata
from roadmask.stream.errors import ModelError
from roadmask.stream.spec import MAX_PIXELS, METADATA_KEY, parse_spec
from roadmask.training import shape
from roadmask.training.checkpoint import Checkpoint
from roadmask.training.shape import UNetSettings
from tests.support.own_process import ROOT

# Written by hand when schema 1 was settled. Files like it are in use: never edit it, add spec_v2.json beside it.
GOLDEN = ROOT / "tests/golden/spec_v1.json"

Content = dict[str, Any]


def checkpoint(**changes: Any) -> Checkpoint:
    """As `train` would leave it, but without weights."""
    fields: Content = {
        "network": UNetSettings(2),
        "weights": {},
        "class_names": ("Road", "Sky"),
        "class_colors": ((128, 64, 128), (128, 128, 128)),
        "input_mean": 127.0,
        "input_std": 128.0,
        "input_height": 64,
        "input_width": 96,
        "stride": 32,
        "settings": {
            "data": "/home/somebody/drives",
            "epochs": 3,
            "crop": [32, 64],
            "lr": 0.003,
            "weights": "imagenet",
        },
        "provenance": {"data": "drives, 9 pictures", "license_note": "mine", "commit": "", "torch": "2.13.0"},
        "scores": {"miou": 0.5, "accuracy": 0.75, "iou_Road": 0.5, "iou_Sky": float("nan")},
        "progress": None,
    }
    return Checkpoint(**{**fields, **changes})


def test_what_export_writes_stream_reads() -> None:
    spec = parse_spec(metadata(checkpoint())[METADATA_KEY], "model.onnx")
    assert spec.schema == 1
    assert spec.class_names == ("Road", "Sky")
    assert [item.color for item in spec.classes] == [(128, 64, 128), (128, 128, 128)]
    assert (spec.height, spec.width, spec.stride) == (64, 96, 32)
    assert (spec.input_name, spec.output_name) == ("image", "scores")
    assert spec.provenance["license_note"] == "mine"
    assert spec.provenance["recipe"] == "epochs 3, crop 64x32, lr 0.003, weights imagenet"
    assert "commit" not in spec.provenance  # not known


def test_scores_of_classes_that_do_not_occur_are_left_out() -> None:
    spec = parse_spec(metadata(checkpoint())[METADATA_KEY], "model.onnx")
    assert spec.scores == {"miou": 0.5, "accuracy": 0.75, "iou_Road": 0.5}


def test_no_folder_of_the_trainer_is_handed_on() -> None:
    settings = {"data": "/home/somebody/drives", "valid_list": "/home/somebody/list.txt", "weights": "/home/somebody/w"}
    provenance = {"data": "drives", "folder": "/home/somebody"}
    assert "somebody" not in str(metadata(checkpoint(settings=settings, provenance=provenance)))


def test_names_of_other_alphabets_survive() -> None:
    written = metadata(checkpoint(class_names=("Straße", "空")))[METADATA_KEY]
    assert parse_spec(written, "model.onnx").class_names == ("Straße", "空")


def test_files_of_schema_1_are_read_for_ever() -> None:
    spec = parse_spec(GOLDEN.read_text(encoding="utf-8"), "model.onnx")
    assert spec.class_names == ("Sky", "Road", "Bicyclist")
    assert [item.color for item in spec.classes] == [(128, 128, 128), (128, 64, 128), (0, 128, 192)]
    assert (spec.height, spec.width, spec.stride) == (352, 480, 32)
    assert (spec.input_name, spec.output_name) == ("image", "scores")
    assert set(spec.provenance) == {"data", "license_note", "commit", "torch", "started", "recipe"}
    assert spec.scores == {"miou": 0.75, "accuracy": 0.95, "iou_Sky": 0.9, "iou_Road": 0.6}
    assert spec.least_lead is None  # such files say nothing of it


def test_today_s_writer_still_has_the_golden_file_s_shape() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    written = json.loads(metadata(checkpoint())[METADATA_KEY])
    assert list(written) == list(golden)
    assert list(written["input"]) == list(golden["input"])
    assert written["output"] == golden["output"]


def spoil(*path: str | int, to: Any) -> Callable[[Content], None]:
    """Put `to` at the place `path` names."""

    def change(content: Content) -> None:
        place: Any = content
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


def drop(*path: str | int) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        place: Any = content
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return change


def both(side: int, *, stride: int = 32) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        content["input"] |= {"height": side, "width": side, "stride": stride}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil("schema", to=2), "schema 2 is newer"),
        (spoil("schema", to="1"), "no schema number"),
        (spoil("schema", to=True), "no schema number"),
        (spoil("schema", to=0), "no schema number"),
        (drop("schema"), "no schema number"),
        (drop("input"), "input is missing"),
        (drop("output", "kind"), "kind is missing"),
        (drop("classes", 1, "name"), "name is missing"),
        (drop("provenance"), "provenance is missing"),
        (spoil("input", "color", to="BGR"), "'BGR', not 'RGB'"),
        (spoil("input", "layout", to="NCHW"), "'NCHW', not 'NHWC'"),
        (spoil("output", "kind", to="labels"), "'labels', not 'scores'"),
        (spoil("input", "height", to=0), "height is 0"),
        (spoil("input", "height", to=33), "not a multiple of the stride"),
        (spoil("input", "height", to=4096 * 2304 + 32), "pixels in steps of"),
        (both(8192), "input 8192x8192 in steps of 32 is too large"),
        (both(2048, stride=2048), "input 2048x2048 in steps of 2048 is too large"),
        (spoil("provenance", "scores", "miou", to=float("nan")), "not a finite number"),
        (spoil("provenance", "scores", "miou", to=10**400), "too large"),
        (spoil("classes", 0, "color", to=[True, 0, 0]), "not three numbers"),
        (spoil("classes", 0, "name", to="two\nlines"), "not a word"),
        (spoil("input", "stride", to="32"), "stride is '32'"),
        (spoil("classes", 0, "color", to=[0, 0, 256]), "256"),
        (spoil("classes", 0, "color", to=[0, 0]), "not three numbers"),
        (spoil("classes", 0, "name", to=""), "not a word"),
        (spoil("classes", 1, "name", to="SKY"), "same name"),
        (spoil("classes", to=[]), "0 classes"),
        (spoil("classes", to=None), METADATA_KEY),
        (spoil("classes", 0, to="Sky"), METADATA_KEY),
        (spoil("provenance", "scores", "miou", to="high"), "high"),
        (spoil("familiar", to={}), "lead is missing"),
        (spoil("familiar", to=7), METADATA_KEY),
        (spoil("familiar", to={"lead": float("nan")}), "not a finite number"),
    ],
)
def test_a_bad_spec_is_told_in_one_line(change: Callable[[Content], None], message: str) -> None:
    content = json.loads(GOLDEN.read_text(encoding="utf-8"))
    change(content)
    with pytest.raises(ModelError) as caught:
        parse_spec(json.dumps(content), "model.onnx")
    assert str(caught.value).startswith("model.onnx: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "7", '"schema"', "9" * 5000, "[" * 100_000])
def test_what_is_no_spec_at_all_is_told_in_one_line(text: str) -> None:
    with pytest.raises(ModelError, match="export the model again") as caught:
        parse_spec(text, "model.onnx")
    assert "\n" not in str(caught.value)


def test_a_tensor_among_the_scores_is_written_as_a_number() -> None:
    written = metadata(checkpoint(scores={"miou": torch.tensor(0.5)}))[METADATA_KEY]
    assert parse_spec(written, "model.onnx").scores == {"miou": 0.5}


def test_the_largest_input_that_a_file_may_ask_for_takes_no_other_shape_of_many_more_pixels() -> None:
    content = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert MAX_PIXELS == shape.MAX_PIXELS  # what can be trained can be run
    for side, stride in ((3072, 256), (256, 256), (3072, 1)):
        both(side, stride=stride)(content)
        spec = parse_spec(json.dumps(content), "model.onnx")
        for height, width in ((1080, 1920), (1, 100_000), (100_000, 1)):
            rows, columns = spec.input_size(height, width)
            assert rows * columns <= 1.5 * MAX_PIXELS
