"""Models for other runtimes: OpenCV's, and what reads ONNX with channels first."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from roadmask import Model
from roadmask.export.pictures import draw
from roadmask.stream.cli import main
from tests.support.own_process import ROOT

CARD = "camvid-lite0"
SIZE = (160, 224)


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    return draw(*SIZE, seed=3)


def plain(folder: Path, *options: str) -> Path:
    made = folder / "plain.onnx"
    assert main(["export", CARD, "-o", str(made), "--layout", "nchw", "--size", "224x160", *options]) == 0
    return made


@pytest.mark.parametrize("numbers", ["--raw", "--normalised"])
def test_opencv_and_onnx_runtime_label_as_the_model_file_does(
    numbers: str, picture: NDArray[np.uint8], tmp_path: Path
) -> None:
    made = plain(tmp_path, numbers)
    settings = (tmp_path / "plain_nvinfer.txt").read_text()
    scale = float(re.search(r"net-scale-factor=(\S+)", settings)[1])  # type: ignore[index]
    offset = float(re.search(r"offsets=([^;]+)", settings)[1])  # type: ignore[index]
    assert (scale == 1 and offset == 0) == (numbers == "--raw")
    assert "infer-dims=3;160;224" in settings
    names = (tmp_path / "plain_labels.txt").read_text().strip().split(";")
    assert names == list(Model.load(CARD).spec.class_names)
    expected = Model.load(CARD, device="cpu").scores(picture[None]).argmax(1)
    blob = cv2.dnn.blobFromImage(picture[..., ::-1], scale, mean=(offset,) * 3, swapRB=True)
    network = cv2.dnn.readNetFromONNX(str(made))
    network.setInput(blob)
    assert (network.forward().argmax(1) == expected).mean() > 0.999
    session = onnxruntime.InferenceSession(str(made), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"image": blob})
    assert (scores.argmax(1) == expected).mean() > 0.999


def test_what_went_out_can_be_adopted_again(picture: NDArray[np.uint8], tmp_path: Path) -> None:
    made, back = plain(tmp_path), tmp_path / "back.onnx"
    (tmp_path / "names.txt").write_text("\n".join(Model.load(CARD).spec.class_names))
    options = ["--scale", "1", "--mean", "0,0,0", "--std", "1,1,1", "-o", str(back)]
    assert main(["adopt", str(made), "--classes", str(tmp_path / "names.txt"), *options]) == 0
    expected, model = Model.load(CARD, device="cpu"), Model.load(back, device="cpu")
    assert (model.scores(picture[None]).argmax(1) == expected.scores(picture[None]).argmax(1)).mean() > 0.999


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (["--layout", "nchw", "--input", "uint8"], "float32 goes with --layout nchw", 2),
        (["--normalised", "--int8", "--calibrate", "x"], "goes with --layout nchw", 2),
        (["--layout", "nchw", "--fp16"], "nchw is for runtimes that round by themselves", 2),
        (["--layout", "nchw", "--size", "100x100"], "multiples of 32", 2),
    ],
)
def test_what_does_not_go_together_is_refused(
    options: list[str], message: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", CARD, "-o", str(tmp_path / "no.onnx"), *options]) == code
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not [*tmp_path.iterdir()]


def test_an_int8_model_is_none_to_begin_with_and_nothing_is_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    int8 = ROOT / "stream" / "models" / "camvid-lite0-int8.onnx"
    assert main(["export", str(int8), "-o", str(tmp_path / "no.onnx"), "--layout", "nchw"]) == 1
    assert "does not begin as a float32 model does; give that, or its checkpoint" in capsys.readouterr().err
    (tmp_path / "plain_labels.txt").write_text("mine")
    assert main(["export", CARD, "-o", str(tmp_path / "plain.onnx"), "--layout", "nchw"]) == 1
    assert "plain_labels.txt: exists; pass --overwrite" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["plain_labels.txt"]
