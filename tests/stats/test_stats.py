"""The table of class shares."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from roadmask.stream.errors import OutputError
from roadmask.stream.frames import Piece, Place
from roadmask.stream.labelling.colors import _legend
from roadmask.stream.spec import PixelClass
from roadmask.stream.stats.stats import (
    CsvStatsSink,
    PictureRow,
    open_stats_sink,
    read_shares,
    refuse_bad_stats,
    write_picture_table,
)
from roadmask.stream.system.disk import partial_path
from tests.support.clips import SPEC, result_of
from tests.support.full_disk import full_disk

MASK = np.array([[0, 0, 1, 2], [0, 0, 1, 1]], np.uint8)  # half road, three eighths car, one eighth sky


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_a_row_holds_index_time_and_the_share_of_each_class(tmp_path: Path) -> None:
    path = tmp_path / "stats.csv"
    with CsvStatsSink(path, SPEC) as sink:
        sink.write(result_of(MASK, index=25))
    assert rows_of(path) == [
        ["index", "time", "road", "car", "sky"],
        ["25", "1.000000", "0.500000", "0.375000", "0.125000"],
    ]


def test_each_row_is_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "stats.csv"
    with CsvStatsSink(path, SPEC) as sink:
        for index in range(3):
            sink.write(result_of(MASK, index=index))
            assert len(rows_of(partial_path(path))) == index + 2


def test_a_crash_keeps_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "stats.csv"

    def write_and_crash() -> None:
        with CsvStatsSink(path, SPEC) as sink:
            sink.write(result_of(MASK))
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        write_and_crash()
    assert not path.exists()
    assert len(rows_of(partial_path(path))) == 2


def write(path: Path, indices: range, *, resume: int | None = None, crash: bool = False) -> None:
    """Rows of a run; with `crash` it dies after the last of them."""
    rng = np.random.default_rng(7)
    masks = [rng.integers(0, 3, (5, 7), np.uint8) for _ in range(indices.stop)]
    sink = open_stats_sink(path, SPEC, source="drive.mp4", model="m.onnx", overwrite=resume is not None)
    if resume is not None:
        sink.resume(resume)
    with sink:
        for index in indices:
            sink.write(result_of(masks[index], index=index))
        sink.sync()
        if crash:
            raise RuntimeError("crash")


def journal(path: Path) -> Path:
    return partial_path(path if path.suffix == ".csv" else path.with_name(f"{path.name}.csv"))


@pytest.mark.parametrize("name", ["shares.csv", "shares.parquet"])
def test_a_resumed_table_is_byte_for_byte_that_of_one_run(name: str, tmp_path: Path) -> None:
    write(tmp_path / "whole" / name, range(20))
    path = tmp_path / "broken" / name
    with pytest.raises(RuntimeError, match="crash"):
        write(path, range(12), crash=True)
    with journal(path).open("ab") as file:
        file.write(b"12,0.48")  # a row that the crash tore
    write(path, range(9, 20), resume=9)
    assert path.read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert [item.name for item in path.parent.iterdir()] == [name]


@pytest.mark.parametrize("name", ["shares.csv", "shares.parquet"])
def test_a_table_that_holds_fewer_rows_or_other_columns_is_not_gone_on_with(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(RuntimeError, match="crash"):
        write(path, range(3), crash=True)
    with pytest.raises(OutputError, match="holds 3 whole rows, not the 4 that were written"):
        write(path, range(4, 5), resume=4)
    journal(path).write_text("index,time,lawn\n0,0.000000,1.000000\n")
    with pytest.raises(OutputError, match="other columns"):
        write(path, range(1, 2), resume=1)
    journal(path).unlink()
    with pytest.raises(OutputError, match="is not there any more"):
        write(path, range(1, 2), resume=1)


def test_a_parquet_table_finished_before_the_others_were_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "shares.parquet"
    write(path, range(20))
    whole = path.read_bytes()
    path.replace(partial_path(path))  # as a run that is taken up again does with what has its final name
    write(path, range(15, 20), resume=15)
    assert path.read_bytes() == whole


def test_parquet_has_the_csv_s_columns_and_tells_classes_source_and_model(tmp_path: Path) -> None:
    write(tmp_path / "shares.csv", range(5))
    write(tmp_path / "shares.parquet", range(5))
    table = pq.read_table(tmp_path / "shares.parquet")
    assert table.column_names == ["index", "time", "road", "car", "sky"]
    expected = rows_of(tmp_path / "shares.csv")[1:]
    assert [
        [str(row["index"]), *(f"{row[name]:.6f}" for name in table.column_names[1:])] for row in table.to_pylist()
    ] == expected
    facts = json.loads(table.schema.metadata[b"roadmask"])
    assert facts["classes"][1] == {"name": "car", "color": [0, 0, 142]}
    assert (facts["source"], facts["model"], facts["model_sha256"]) == ("drive.mp4", "m.onnx", None)


def test_parquet_is_written_in_groups_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadmask.stream.stats.parquet_stats.ROWS_AT_A_TIME", 8)
    write(tmp_path / "shares.parquet", range(20))
    with pq.ParquetFile(tmp_path / "shares.parquet") as file:
        assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [8, 8, 4]


def test_a_parquet_run_that_crashes_leaves_its_rows_as_csv(tmp_path: Path) -> None:
    path = tmp_path / "shares.parquet"
    with pytest.raises(RuntimeError, match="crash"):
        write(path, range(3), crash=True)
    assert [item.name for item in tmp_path.iterdir()] == ["shares.parquet.partial.csv"]
    assert len(rows_of(journal(path))) == 4


def test_a_full_disk_leaves_a_parquet_run_s_rows_to_go_on_with(tmp_path: Path) -> None:
    path = tmp_path / "shares.parquet"
    with pytest.raises(OutputError, match="cannot be written"), full_disk(1200):  # the rows fit, the table does not
        write(path, range(20))
    assert not path.exists()
    write(path, range(20, 20), resume=20)
    write(tmp_path / "whole.parquet", range(20))
    assert path.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_without_pyarrow_parquet_is_refused_with_the_command_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(OutputError, match=r"Parquet needs pyarrow: pip install .*\[parquet\]'"):
        refuse_bad_stats(tmp_path / "shares.parquet")
    refuse_bad_stats(tmp_path / "shares.csv")


def test_a_suffix_that_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"shares.xlsx: statistics are .csv or .parquet"):
        refuse_bad_stats(tmp_path / "shares.xlsx")


FORMULAS = ("=1+1", "@sum(a1)", "+a", "-b", "\uff1d1", " =2", "Car;=3")


def test_rows_that_are_torn_or_of_other_columns_are_not_appended(tmp_path: Path) -> None:
    with CsvStatsSink(tmp_path / "piece.csv", SPEC) as sink:
        sink.write(result_of(MASK, index=0))
    whole = (tmp_path / "piece.csv").read_bytes()
    piece = Piece(tmp_path / "piece", Place(0, 0, 0))
    for content in (whole[:-3], whole.replace(b"road", b"rope")):
        (tmp_path / "piece.csv").write_bytes(content)
        with CsvStatsSink(tmp_path / "all.csv", SPEC) as sink, pytest.raises(OutputError, match="is damaged"):
            sink.append(piece)


def test_the_table_of_pictures_has_merged_classes_as_a_video_s(tmp_path: Path) -> None:
    row = PictureRow((0.5, 0.3, 0.2), "2026-11-28T10:00:00", (48.1, 11.5))
    write_picture_table(tmp_path / "t.csv", [("a.jpg", row)], SPEC, (("car", "road"),))
    assert rows_of(tmp_path / "t.csv") == [
        ["picture", "taken", "latitude", "longitude", "road", "sky"],
        ["a.jpg", "2026-11-28T10:00:00", "48.100000", "11.500000", "0.800000", "0.200000"],
    ]


def test_a_class_named_like_a_formula_is_text_in_a_csv_and_is_read_back(tmp_path: Path) -> None:
    spec = replace(SPEC, classes=tuple(PixelClass(name, (0, 0, 0)) for name in FORMULAS))
    with CsvStatsSink(tmp_path / "stats.csv", spec) as sink:
        sink.write(result_of(MASK, index=0, pts=0))
    head, row = rows_of(tmp_path / "stats.csv")
    assert head == ["index", "time", "'=1+1", "'@sum(a1)", "'+a", "'-b", "'\uff1d1", "' =2", "Car;'=3"]
    assert row[2:5] == ["0.500000", "0.375000", "0.125000"]
    assert read_shares(tmp_path / "stats.csv", FORMULAS).shares.shape == (1, len(FORMULAS))
    with open_stats_sink(tmp_path / "stats.parquet", spec) as sink:
        sink.write(result_of(MASK, index=0, pts=0))
    assert pq.read_table(tmp_path / "stats.parquet").column_names[2:] == list(FORMULAS)
    assert b"'=1+1,0,0,0" in _legend(spec.classes)
