"""A value that is wrong by itself is wrong usage, 2; a file or a device that is not there is a failure, 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadmask.stream.cli import main
from tests.support.clips import cfr, make_clip
from tests.support.color_model import write_color_model
from tests.support.datasets import make_fastai
from tests.support.untrusted import write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video, its masks, a model and a data set."""
    folder = tmp_path_factory.mktemp("values")
    make_clip(folder / "drive.mp4", cfr(4), size=(24, 32))
    write(folder / "masks.zip")
    write_color_model(folder / "colors.onnx")
    make_fastai(folder / "data")
    return folder


RUN = "run drive.mp4 -m colors.onnx"
CAMERA = "run rtsp://127.0.0.1:1/live -m colors.onnx"
TRAIN = "train data -o run"
WRONG = [
    *(
        f"{RUN} {option}"
        for option in (
            "--classes rode",
            "--exclude rode",
            "--classes ,",
            "--alpha nan",
            "--alpha inf",
            "--palette nonsense",
            "--palette gone.json",
            "--style nonsense",
            "--legend top-middle",
            "--legend foo",
            "--device nonsense",
            "--device cuda:x",
            "--device cpu:1",
            "--overlay x.txt",
            "-o x.txt",
            "--masks x.txt",
            "--stats x.txt",
            "--decode nonsense",
            "--input-format nonsense",
            "--input-size abc",
            "--input-size 0x5",
            "--input-rate abc",
            "--input-rate 0",
            "--input-rate 1/0",
            "--input-pixels nonsense",
            "--timeout inf",
            "--timeout nan",
            "--batch 0",
            "--batch ²",
            "--batch 99999999999999999999",
            "--threads 99999999999",
            "--size huge",
            "--size 640",
            "--size 9999x9999",
            "--size 1x1",
            "--stride 0",
            "--max-pixels 999999999999999999999",
            f"--start {'9' * 5000}",
            "--start 1e3",
            f"--segment-time {'9' * 400}h",
            "--segment-time nan",
        )
    ),
    f"{CAMERA} --serve nonsense",
    f"{CAMERA} --serve 127.0.0.1:99999",
    f"{CAMERA} --timeout nan",
    f"{CAMERA} -o udp://nowhere",
    f"{CAMERA} -o srt://a:1",
    "warmup --video-size ²x²",
    "warmup --video-size 0x0",
    "bench --video-size 100000x100000",
    "bench --device nonsense",
    "bench --size huge",
    "warmup --size ²x²",
    "preview masks.zip drive.mp4 -o x.txt",
    "preview masks.zip drive.mp4 -o x.mp4 --classes rode",
    "convert masks.zip -o x.txt",
    "convert masks.zip -o x.mp4 --to cvat",
    "convert masks.zip -o x.zip --to cvat --classes rode",
    "convert masks.zip -o x.zip --to cvat --blur road",
    "report masks.zip --stats x.txt",
    "report masks.zip --style outline",
    "report masks.zip -o .",
    "report masks.zip -o x.png",
    "suggest-ignore drive.mp4 -o x.jpg",
    "doctor nonsense",
    *(
        f"{TRAIN} {option}"
        for option in (
            "--epochs 0",
            "--lr nan",
            "--lr inf",
            "--lr -1",
            "--encoder-lr -1",
            "--decoder 1,2,3,0",
            "--decoder 1,2,3,9999999",
            "--decoder ²,2,3,4",
            "--scale 2,1",
            "--scale 1,inf",
            "--dropout nan",
            "--size ²x²",
            "--size 33x64",
            "--crop 99999x99999",
            "--shares 1,2",
            "--shares 1;2",
            "--scale 1",
            "--crop 64",
            "--split 0.2 --valid-drive A",
            "--teacher-scales 0",
            "--unlabelled data",
            "--device nonsense",
            "--valid-drive nowhere",
            "--folds drives --valid-drive A",
            f"--budget {'9' * 400}h",
        )
    ),
    "data data -o sheet.nonsense",
    "export best.pt -o x.txt",
    "export best.pt --size 33x64",
    "export best.pt --int8",
    "export best.pt --calibrate data",
    "eval colors.onnx data --device nonsense",
    "eval colors.onnx data --size huge",
    "eval colors.onnx data --drive nowhere",
    "eval colors.onnx data --drive A --all",
    "eval colors.onnx data --map nonsense",
    "eval colors.onnx data --map Sky=rode",
]


@pytest.mark.parametrize("command", WRONG, ids=lambda command: command[:60])
def test_a_wrong_value_of_an_option_is_wrong_usage_and_makes_nothing(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    assert main(command.split(" ")) == 2
    lines = capsys.readouterr().err.splitlines()
    told = [line for line in lines if line.startswith(("roadmask: ", "Error: "))]
    assert len(told) == 1
    assert len(told[0]) < 400
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    "command",
    [
        "run no.mp4 -m colors.onnx",
        "run drive.mp4 -m no.onnx",
        "run drive.mp4 -m colors.onnx --device cuda",
        "run drive.mp4 -m colors.onnx --stream 7",
        "info no.mp4",
        "verify no.zip",
        "report masks.zip --stats no.csv",
        "train data -o run --start-from no.pt",
        "train data -o run --valid-list no.txt",
        "export no.pt",
        "eval no.onnx data",
    ],
)
def test_what_is_not_there_is_a_failure(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert main(command.split(" ")) == 1
