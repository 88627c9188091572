"""The table of class shares."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from clips import SPEC, result_of

from stream.partial import partial_path
from stream.stats_sink import StatsSink

MASK = np.array([[0, 0, 1, 2], [0, 0, 1, 1]], np.uint8)  # half road, three eighths car, one eighth sky


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_a_row_holds_index_time_and_the_share_of_each_class(tmp_path: Path) -> None:
    path = tmp_path / "stats.csv"
    with StatsSink(path, SPEC) as sink:
        sink.write(result_of(MASK, index=25))
    assert rows_of(path) == [
        ["index", "time", "road", "car", "sky"],
        ["25", "1.000000", "0.500000", "0.375000", "0.125000"],
    ]


def test_each_row_is_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "stats.csv"
    with StatsSink(path, SPEC) as sink:
        for index in range(3):
            sink.write(result_of(MASK, index=index))
            assert len(rows_of(partial_path(path))) == index + 2


def test_a_crash_keeps_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "stats.csv"

    def write_and_crash() -> None:
        with StatsSink(path, SPEC) as sink:
            sink.write(result_of(MASK))
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        write_and_crash()
    assert not path.exists()
    assert len(rows_of(partial_path(path))) == 2
