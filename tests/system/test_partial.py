"""Outputs have a temporary name until they are whole."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import pytest

from roadmask.stream.errors import OutputError
from roadmask.stream.system.disk import PartialOutput, partial_path, replace_file
from tests.support.full_disk import full_disk

MARKER = "classes.json"


def write_file(final: Path, text: str = "new", *, overwrite: bool = False, exc: BaseException | None = None) -> None:
    with PartialOutput(final, overwrite=overwrite) as output:
        output.path.write_text(text)
        output.used = True
        if exc:
            raise exc


def write_folder(final: Path, text: str = "new", *, overwrite: bool = False) -> None:
    with PartialOutput(final, overwrite=overwrite, marker=MARKER) as output:
        (output.path / MARKER).write_text(text)
        output.used = True


@pytest.mark.parametrize(
    ("final", "partial"),
    [("out.mp4", "out.partial.mp4"), ("masks.zip", "masks.partial.zip"), ("masks", "masks.partial")],
)
def test_a_partial_name_keeps_the_suffix(final: str, partial: str) -> None:
    assert partial_path(Path("a.b") / final) == Path("a.b") / partial


def test_a_whole_file_gets_its_name_and_missing_folders_are_made(tmp_path: Path) -> None:
    final = tmp_path / "new" / "folder" / "out.csv"
    write_file(final)
    assert final.read_text() == "new"
    assert list(final.parent.iterdir()) == [final]


def test_an_existing_file_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    final = tmp_path / "out.mp4"
    final.write_text("old")
    with pytest.raises(OutputError, match=r"out\.mp4: exists; pass --overwrite to replace it"):
        PartialOutput(final)
    assert final.read_text() == "old"


def test_overwriting_replaces_a_file_only_once_the_new_one_is_whole(tmp_path: Path) -> None:
    final = tmp_path / "out.csv"
    final.write_text("old")
    with PartialOutput(final, overwrite=True) as output:
        output.path.write_text("new")
        output.used = True
        assert final.read_text() == "old"
    assert final.read_text() == "new"


def test_overwriting_replaces_a_folder_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    final = tmp_path / "masks"
    write_folder(final, "old")
    (final / "frame_000001.png").touch()
    write_folder(final, "new", overwrite=True)
    assert [path.name for path in final.iterdir()] == [MARKER]
    assert (final / MARKER).read_text() == "new"
    assert list(tmp_path.iterdir()) == [final]


def test_a_folder_that_cannot_be_replaced_is_there_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    final = tmp_path / "masks"
    write_folder(final, "old")
    replace = Path.replace

    def refused(path: Path, target: Path) -> Path:
        if path == partial_path(final):
            raise PermissionError(13, "Permission denied")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(OutputError, match=r"masks: cannot be written \(Permission denied\)"):
        write_folder(final, "new", overwrite=True)
    assert (final / MARKER).read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks", "masks.partial"]


def test_a_folder_of_the_users_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(OutputError, match=r"holds no classes\.json"):
        PartialOutput(tmp_path, overwrite=True, marker=MARKER)


def test_a_file_and_a_folder_do_not_replace_each_other(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        PartialOutput(tmp_path / "file", overwrite=True, marker=MARKER)
    with pytest.raises(OutputError, match="is a folder"):
        PartialOutput(tmp_path, overwrite=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_what_is_no_file_is_not_replaced_whatever_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.csv")
    with pytest.raises(OutputError, match=r"out\.csv: is a device, a pipe or a socket, which is not replaced"):
        PartialOutput(tmp_path / "out.csv", overwrite=True)
    assert (tmp_path / "out.csv").is_fifo()


def test_ctrl_c_finishes_the_file(tmp_path: Path) -> None:
    final = tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        write_file(final, exc=KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == [final]


def test_an_error_keeps_what_was_written_under_the_partial_name(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        write_file(tmp_path / "out.csv", exc=RuntimeError())
    assert list(tmp_path.iterdir()) == [tmp_path / "out.partial.csv"]


def test_an_error_before_the_first_frame_leaves_nothing(tmp_path: Path) -> None:
    for marker in (None, MARKER):
        with pytest.raises(RuntimeError), PartialOutput(tmp_path / "out", marker=marker):
            raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_a_crash_left_or_somebody_put_there_is_replaced_only_when_told(tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "frame.png").touch()
    with pytest.raises(OutputError, match=r"out\.partial: is there, and not of this run; .+ or pass --overwrite"):
        write_folder(tmp_path / "out")
    assert (tmp_path / "out.partial" / "frame.png").exists()
    write_folder(tmp_path / "out", overwrite=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [MARKER]


def test_a_crash_that_left_nothing_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    write_folder(tmp_path / "out")
    (tmp_path / "out.partial.csv").touch()
    write_file(tmp_path / "out.csv")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out.csv"}


def test_a_folder_whose_publishing_was_killed_in_between_comes_out_whole(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", "old")
    (tmp_path / "out").rename(tmp_path / ".out.replaced")
    write_folder(tmp_path / "out", "new")
    assert (tmp_path / "out" / MARKER).read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_place_that_cannot_be_written_to_is_found_on_entering(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    output = PartialOutput(tmp_path / "file" / "out.mp4")
    with pytest.raises(OutputError, match=r"out\.mp4: cannot be written \("), output:
        pass


def test_a_file_whose_new_content_cannot_be_written_keeps_the_old(tmp_path: Path) -> None:
    def write_half(file: BinaryIO) -> None:
        file.write(b"ne")
        raise OSError("disk full")

    path = tmp_path / "state"
    replace_file(path, b"old")
    with pytest.raises(OSError, match="disk full"):
        replace_file(path, write_half)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    replace_file(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"


def test_what_is_imported_on_a_disk_that_a_test_fills_is_not_kept_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "long_module_of_a_test.py").write_text(f"TEXT = {'x' * 1000!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with full_disk(100):
        assert len(import_module("long_module_of_a_test").TEXT) == 1000
    assert not list(tmp_path.rglob("*.pyc"))
