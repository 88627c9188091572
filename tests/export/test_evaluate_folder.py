"""What `roadmask eval -o` writes, and that nothing else is touched."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roadmask.export.choice import everything
from roadmask.export.confusion_plot import confusion_plot
from roadmask.export.errors import ExportError
from roadmask.export.eval_folder import result_folder
from roadmask.export.evaluate import evaluate_model
from roadmask.export.worst import WorstFrames
from roadmask.stream.cli import main
from tests.support.color_model import COLORS, spec, write_color_model
from tests.support.labelled_colors import HEIGHT, QUARTER, WIDTH, start, street, street_ids, two_drives
from tests.support.labelled_colors import add as add_frame

FILES = {"scores.json", "confusion.csv", "confusion.png", "worst.png", "frames.csv"}


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return two_drives(tmp_path / "drives")


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_all_files_are_written_and_say_the_same(
    model_path: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "scores"
    assert main(["eval", str(model_path), str(data), "--all", "-o", str(folder), "--json"]) == 0
    out, err = capfd.readouterr()
    assert {path.name for path in folder.iterdir()} == FILES
    assert all(f"wrote {folder / name}" in err for name in FILES)
    assert json.loads((folder / "scores.json").read_text(encoding="utf-8")) == json.loads(out)
    assert rows_of(folder / "confusion.csv") == [
        ["truth", "Road", "Sky", "Car"],
        ["Road", str(4 * QUARTER), str(QUARTER), "0"],
        ["Sky", "0", str(3 * QUARTER), "0"],
        ["Car", "0", "0", "0"],
    ]
    assert rows_of(folder / "frames.csv") == [
        ["name", "drive", "miou", "accuracy", "flicker"],
        ["a_1", "a", "1.000000", "1.000000", ""],
        ["b_1", "b", "0.583333", "0.750000", ""],
    ]
    with Image.open(folder / "confusion.png") as picture:
        assert picture.width > 200


def test_a_folder_with_results_is_replaced_only_when_told(
    model_path: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scores.json").write_text("mine", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("mine too", encoding="utf-8")
    arguments = ["eval", str(model_path), str(data), "-o", str(tmp_path)]
    assert main(arguments) == 1
    assert "holds scores.json already; pass --overwrite" in capfd.readouterr().err
    assert (tmp_path / "scores.json").read_text(encoding="utf-8") == "mine"
    assert main([*arguments, "--overwrite"]) == 0
    assert "miou" in (tmp_path / "scores.json").read_text(encoding="utf-8")
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine too"


def test_a_failed_run_leaves_the_folder_as_it_was(model_path: Path, data: Path, tmp_path: Path) -> None:
    (data / "labels" / "b_1_P.png").write_bytes(b"no picture")
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (old / "scores.json").write_text("mine", encoding="utf-8")
    for folder in (old, new):
        assert main(["eval", str(model_path), str(data), "--overwrite", "-o", str(folder)]) == 1
    assert [path.name for path in old.iterdir()] == ["scores.json"]
    assert (old / "scores.json").read_text(encoding="utf-8") == "mine"
    assert not new.exists()


def test_files_have_their_names_only_when_all_are_whole(tmp_path: Path) -> None:
    with result_folder(tmp_path, overwrite=False) as staging:
        (staging / "scores.json").write_text("{}", encoding="utf-8")
        assert not (tmp_path / "scores.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]


def test_a_place_that_cannot_be_written_to_is_found_before_the_work(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder, message in ((file, "is a file; name a folder"), (file / "below", "cannot be written")):
        with pytest.raises(ExportError, match=message), result_folder(folder, overwrite=True):
            pytest.fail("it was entered")


def test_the_sheet_holds_the_worst_frames_and_the_worst_first(model_path: Path, data: Path) -> None:
    for index, wrong_rows in enumerate((8, 30, 0, 20), start=1):
        ids = street_ids()
        ids[:wrong_rows, : WIDTH // 2] = 2
        add_frame(data, f"c_{index}", ids)
    add_frame(data, "d_1", np.full_like(street_ids(), 1))  # void: no score, so not among the worst
    worst = WorstFrames(3)
    result = evaluate_model(model_path, data, choice=everything, on_frame=worst.add)
    assert worst.names == ["b_1", "c_2", "c_4"]  # 32, 30 and 20 rows wrong
    scores = {frame.name: frame.mean_iou for frame in result.frames}
    assert scores["b_1"] < scores["c_2"] < scores["c_4"] < scores["c_1"] < scores["c_3"] == 1
    assert np.isnan(scores["d_1"])
    sheet = np.asarray(worst.sheet(result.labels))
    is_red = (sheet[..., 0] > 150) & (sheet[..., 1] < 100) & (sheet[..., 2] < 100)
    last_column = is_red[:, 3 * (WIDTH + 8) :]
    first_row = last_column[: HEIGHT + 32]
    assert first_row.sum() == QUARTER  # of the worst frame, each pixel that is wrong and no other
    assert last_column.sum() == (32 + 30 + 20) * WIDTH // 2


def test_what_is_white_in_the_picture_is_white_under_its_errors(tmp_path: Path, model_path: Path) -> None:
    root = tmp_path / "white"
    start(root)
    add_frame(root, "b_1", street_ids(), np.full((HEIGHT, WIDTH, 3), 255, np.uint8))
    (root / "valid.txt").write_text("b_1.png\n", encoding="utf-8")
    worst = WorstFrames(1)
    result = evaluate_model(model_path, root, on_frame=worst.add)
    last = np.asarray(worst.sheet(result.labels))[32 : 32 + HEIGHT, 3 * (WIDTH + 8) + 8 :][:, :WIDTH]
    assert (last == 255).all(axis=2).any()
    assert not (last == 0).all(axis=2).any()


def test_large_pictures_are_shrunk_to_fit_the_sheet(model_path: Path, data: Path) -> None:
    ids = np.kron(street_ids(), np.ones((6, 6), np.uint8))
    picture = np.kron(street(), np.ones((6, 6, 1), np.uint8))
    add_frame(data, "b_1", ids, picture)
    worst = WorstFrames(1)
    result = evaluate_model(model_path, data, on_frame=worst.add)
    assert worst.sheet(result.labels).width == 4 * 480 + 5 * 8


def test_the_confusion_picture_has_the_share_of_each_row_and_literal_names() -> None:
    figure = confusion_plot(np.array([[3, 1], [0, 0]]), ["a$b$", "c"], "title")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["0.75", "0.25"]  # no number for a row without pixels
    assert [label.get_text() for label in axes.get_yticklabels()] == [r"a\$b\$  100.0%", "c  0.0%"]


def test_a_confusion_picture_of_many_classes_leaves_the_numbers_to_the_csv_file() -> None:
    figure = confusion_plot(np.eye(41, dtype=np.int64), [f"class {index}" for index in range(41)], "title")
    assert not figure.axes[0].texts


def test_a_frame_or_class_named_like_a_formula_is_text_in_the_tables(tmp_path: Path, data: Path) -> None:
    content = spec(classes=[{"name": name, "color": list(color)} for name, color in COLORS.items()])
    content["classes"][0]["name"] = "=1+1"
    model = write_color_model(tmp_path / "formula.onnx", metadata=content)
    add_frame(data, "=cmd_000001", street_ids())
    mapped = ["--map", "Road==1+1"]
    assert main(["eval", str(model), str(data), "--all", *mapped, "-o", str(tmp_path / "scores")]) == 0
    header, first, *_ = rows_of(tmp_path / "scores" / "confusion.csv")
    assert (header[1], first[0]) == ("'=1+1", "'=1+1")
    names = [row[:2] for row in rows_of(tmp_path / "scores" / "frames.csv")]
    assert ["'=cmd_000001", "'=cmd"] in names
