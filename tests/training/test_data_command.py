"""`roadmask data`: what is in a data set, and everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roadmask.stream.cli import main
from roadmask.training.dataset import open_dataset
from roadmask.training.history import write_history
from roadmask.training.label_pictures import VOID
from roadmask.training.sheet import Cell, draw_sheet, paint
from roadmask.training.split import evenly
from roadmask.training.survey import survey
from tests.support.datasets import (
    CODES,
    ID_COLORS,
    NAMES,
    draw_ids,
    frame_name,
    make_coarse,
    make_fastai,
    make_segnet,
    save_png,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_fastai(tmp_path / "data")


def test_a_sound_data_set_is_described(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(data)]) == 0
    told = capsys.readouterr().out
    assert "8 pictures in the layout of fastai" in told
    assert "sizes: 96x64 (8)" in told
    assert "2 drives: A (4), B (4)" in told
    assert "validation split by list valid.txt: 6 to train on, 2 to score on" in told
    assert all(name in told for name in NAMES)
    assert "problem" not in told


def test_segnets_layout_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(make_segnet(tmp_path))]) == 0
    assert "validation split by folder val: 4 to train on, 2 to score on" in capsys.readouterr().out


def test_the_split_can_be_tried_out(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(data), "--valid-drive", "B"]) == 0
    assert "validation split by drive B: 4 to train on, 4 to score on" in capsys.readouterr().out


def test_a_map_says_what_it_makes_of_the_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, path = make_coarse(tmp_path / "coarse")
    assert main(["data", f"{root}:{path}"]) == 0
    told = capsys.readouterr().out.splitlines()
    said = [line for line in told if " is " in line]
    assert said == ["heaven is Sky", "street is Road or Car", "vehicle is Car", "gap is void"]


def test_a_map_that_does_not_fit_is_one_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "map.json"
    path.write_text('{"Lorry": "Car"}', encoding="utf-8")
    assert main(["data", f"{data}:{path}"]) == 1
    assert capsys.readouterr().err == f"roadmask: {path}: the data has no class 'Lorry'; it has Sky, Void, Road, Car\n"
    assert main(["data", f"{data}:nonsense"]) == 1
    said = capsys.readouterr().err
    assert (
        "'nonsense' is no class map; there are cityscapes, bdd100k, camvid32, idd, idd-lite, mapillary, or give a"
        in said
    )


def test_shares_are_counted_without_void(data: Path) -> None:
    found = survey(open_dataset(data))
    ids = np.stack([draw_ids(index) for index in range(8)])
    counts = np.bincount(ids.ravel(), minlength=4)
    assert found.void_share == pytest.approx(counts[CODES.index("Void")] / ids.size)
    np.testing.assert_allclose(found.class_shares, counts[[0, 2, 3]] / counts[[0, 2, 3]].sum())


def spoil(data: Path) -> dict[str, str]:
    """One of every fault; what is to be said of which file."""
    labels, images = data / "labels", data / "images"
    (labels / f"{frame_name(0)}_P.png").unlink()
    save_png(labels / "B_9999_P.png", draw_ids(0))
    save_png(labels / f"{frame_name(2)}_P.png", draw_ids(2) + np.uint8(1))
    save_png(labels / f"{frame_name(3)}_P.png", draw_ids(3, 32, 32))
    picture = images / f"{frame_name(4)}.png"
    picture.write_bytes(picture.read_bytes()[:-30])
    (labels / f"{frame_name(4)}_P.png").write_bytes(b"")
    save_png(labels / f"{frame_name(5)}_P.png", np.full((64, 96), CODES.index("Void"), np.uint8))
    Image.fromarray(ID_COLORS[draw_ids(6)]).save(images / f"{frame_name(6)}.bmp")
    with (data / "valid.txt").open("a", encoding="utf-8") as file:
        file.write("A_7777.png\n")
    return {
        f"{frame_name(0)}_P.png": "no such file",
        "B_9999_P.png": "label without a picture",
        f"{frame_name(2)}_P.png": "class id 4 is not in the list",
        f"{frame_name(3)}_P.png": "label is 32x32",
        f"{frame_name(4)}.png": "damaged picture",
        f"{frame_name(4)}_P.png": "not a picture",
        f"{frame_name(5)}_P.png": "void everywhere",
        f"{frame_name(6)}.bmp": "another picture of this name",
        "valid.txt": "lists A_7777",
    }


def test_every_problem_is_listed_and_the_exit_code_tells(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = spoil(data)
    assert main(["data", str(data)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem: ")]
    for file, fault in expected.items():
        assert any(file in line and fault in line for line in lines), (file, fault, lines)
    assert len(lines) == len(expected)  # a name that stands twice has two files


def test_a_split_that_cannot_be_made_is_a_problem(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "valid.txt").unlink()
    assert main(["data", str(data)]) == 1
    assert "validation split: not possible" in capsys.readouterr().out


def test_no_data_set_is_one_line_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(tmp_path / "nowhere")]) == 1
    assert capsys.readouterr().err == f"roadmask: {tmp_path / 'nowhere'}: no such folder\n"


def test_a_sheet_is_drawn_where_asked_and_written_over_only_when_told(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    assert main(["data", str(data), "-o", str(sheet)]) == 0
    with Image.open(sheet) as image:
        assert image.width > 4 * 96
        assert image.height > 2 * 64
    assert main(["data", str(data), "-o", str(sheet)]) == 1
    assert "pass --overwrite" in capsys.readouterr().err
    assert main(["data", str(data), "-o", str(sheet), "--overwrite"]) == 0
    assert main(["data", str(data), "-o", str(tmp_path / "sheet.nonsense")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_sheet_of_a_spoilt_data_set_shows_what_is_readable(data: Path, tmp_path: Path) -> None:
    spoil(data)
    assert main(["data", str(data), "-o", str(tmp_path / "sheet.png")]) == 1
    assert (tmp_path / "sheet.png").is_file()


def test_paint_blends_known_pixels_and_leaves_void() -> None:
    picture = np.full((1, 3, 3), 100, np.uint8)
    painted = paint(picture, np.array([[0, 1, VOID]], np.uint8), [(0, 0, 0), (200, 100, 0)])
    assert painted.tolist() == [[[50, 50, 50], [150, 100, 50], [100, 100, 100]]]
    assert (picture == 100).all()


def test_pictures_keep_their_pixels_on_a_sheet() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (40 + index, 60, 3), np.uint8) for index in range(3)]
    names = [f"a rather long name of class {index}" for index in range(9)]
    sheet = np.asarray(
        draw_sheet(
            [[Cell("one", pictures[0]), Cell("x" * 99, pictures[1])], [Cell("", pictures[2])]],
            names,
            [(255, index, 0) for index in range(9)],
        )
    )
    for picture in pictures:
        windows = np.lib.stride_tricks.sliding_window_view(sheet, picture.shape)
        assert (windows[::1, ::1, 0] == picture).all(axis=(2, 3, 4)).any()
    for index in range(9):
        assert (sheet == (255, index, 0)).all(axis=2).any()  # the whole legend is on the sheet


def test_frames_are_chosen_evenly(data: Path) -> None:
    examples = open_dataset(data).examples
    assert evenly(examples, 3) == [examples[0], examples[4], examples[7]]
    assert evenly(examples[:2], 5) == list(examples[:2])


def test_names_that_a_terminal_or_rich_would_obey_are_shown_as_they_are(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "codes.txt").write_text("[red]Sky[/red]\nVoid\n[bold]Road\n=1+1\n", encoding="utf-8")
    for name in ("[link]C\x1b[2J_0001", "C\rD_0002", "E\n[blink]_0003", "F\udcff_0004"):
        for folder, end in (("images", ".png"), ("labels", "_P.png")):
            made = next(path for path in (data / folder).iterdir() if path.name.startswith("A_"))
            (data / folder / f"{name}{end}").write_bytes(made.read_bytes())
    assert main(["data", str(data), "-o", str(tmp_path / "sheet.png")]) == 0
    told = capsys.readouterr().out
    assert {"\x1b", "\r", "\udcff"}.isdisjoint(told)
    for shown in ("[link]C\\x1b[2J (1)", "C\\rD (1)", "E\\n[blink] (1)", "[red]Sky[/red]", "[bold]Road"):
        assert shown in told
    assert (tmp_path / "sheet.png").is_file()


@pytest.mark.parametrize("name", ["Sky\x1b[2J", "x" * 101, "Sky\u202eyks"])
def test_a_class_that_no_model_could_name_is_told_before_any_work(
    name: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "codes.txt").write_text(f"{name}\nVoid\nRoad\nCar\n", encoding="utf-8")
    for command in (["data", str(data)], ["train", str(data), "-o", str(data / "run")]):
        assert main(command) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"roadmask: {data / 'codes.txt'}: ")
        assert "is no name of a class" in line


def test_a_drive_or_data_set_named_like_a_formula_is_text_in_a_run_s_tables(tmp_path: Path) -> None:
    rows = [{"drive": "=1+1", "=cmd_miou": 0.5, "Car;@sum": -1.0, "iou_=1+1": 0.25}]
    write_history(rows, tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text().splitlines() == [
        "drive,'=cmd_miou,Car;'@sum,iou_=1+1",
        "'=1+1,0.5,-1.0,0.25",
    ]
