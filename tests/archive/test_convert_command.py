"""`roadmask convert` as its users call it; the conversion itself is in `test_archive_convert`."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.cli import main
from tests.support.clips import cfr, make_clip
from tests.support.color_model import write_color_model


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    clip, model = make_clip(tmp_path / "drive.mp4", cfr(6)), write_color_model(tmp_path / "colors.onnx")
    assert main(["run", str(clip), "--masks", str(tmp_path / "masks.mkv"), "--model", str(model), "-q"]) == 0
    return tmp_path / "masks.mkv"


def test_convert_tells_how_many_masks_and_where(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["convert", str(masks), "-o", str(tmp_path / "other.npz")]) == 0
    talk = capsys.readouterr()
    assert talk.out == f"{tmp_path / 'other.npz'}\n"
    assert "6 masks" in talk.err
    with open_masks(tmp_path / "other.npz") as other:
        assert len(other) == 6


def test_what_exists_is_not_overwritten_unasked(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "other.zip"
    target.write_bytes(b"mine")
    assert main(["convert", str(masks), "-o", str(target)]) == 1
    assert "exists; pass --overwrite" in capsys.readouterr().err
    assert target.read_bytes() == b"mine"
    assert main(["convert", str(masks), "-o", str(target), "--overwrite"]) == 0
