"""An archive from anywhere opens nothing but itself, fills nothing but its target, and is believed nothing."""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.archive.verify import archive_problems
from roadmask.stream.errors import ArchiveError
from tests.support.untrusted import COUNT, KINDS, SECRET, all_refuse, change_records, changed, replace_entry, write


@pytest.mark.parametrize("kind", ["masks", "masks.zip"])
@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "C:\\secret.png", "..\\secret.png", "a/b.png", "..", ".", "", "x\0.png", 7]
)
def test_a_manifest_names_no_file_outside_its_archive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, name: object
) -> None:
    (tmp_path / "secret.png").write_text(SECRET)
    archive = changed(write(tmp_path / kind), manifest=lambda text: change_records(text, file=name))
    all_refuse(archive, tmp_path, capsys, says="masks")


@pytest.mark.parametrize("name", ["classes.json", "manifest.jsonl", "frame_000001.png"])
def test_a_link_out_of_a_folder_is_not_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "secret").write_text(SECRET)
    archive = write(tmp_path / "masks")
    (archive / name).unlink(missing_ok=True)
    (archive / name).symlink_to(tmp_path / "secret")
    all_refuse(archive, tmp_path, capsys, says=f"{name} leads out of the folder")


def test_a_link_out_of_a_zarr_is_not_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = write(tmp_path / "masks.zarr")
    (archive / "masks").rename(tmp_path / "elsewhere")
    (archive / "masks").symlink_to(tmp_path / "elsewhere")
    all_refuse(archive, tmp_path, capsys, says="leads out of the folder")


def test_an_archive_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(write(tmp_path / "masks"))
    with open_masks(tmp_path / "link") as masks:
        assert len(list(masks)) == COUNT


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
@pytest.mark.parametrize("name", ["masks/frame_000001.png", "masks/manifest.jsonl", "pipe.zip", "pipe.mkv"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    write(tmp_path / "masks")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    archive = tmp_path / (name.partition("/")[0])
    all_refuse(archive, tmp_path, capsys, says="not a regular file" if "/" in name else "a pipe, a device or a socket")


def test_a_link_in_a_zip_is_no_more_than_its_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret").write_text(SECRET)
    archive = changed(write(tmp_path / "masks.zip"))
    with zipfile.ZipFile(archive) as old:
        content = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(archive, "w") as new:
        for name, piece in content.items():
            info = zipfile.ZipInfo(name)
            if name == "frame_000001.png":
                info.external_attr, piece = 0o120777 << 16, str(tmp_path / "secret").encode()
            new.writestr(info, piece)
    all_refuse(archive, tmp_path, capsys, says="frame 1 (frame_000001.png) is damaged: it cannot be decoded")


BAD_RECORDS: dict[str, dict[str, Any]] = {
    "a huge number": {"index": 10**40},
    "not a number": {"pts": float("nan")},
    "without end": {"pts": float("inf")},
    "a negative frame": {"index": -1},
    "a half frame": {"index": 1.5},
    "a truth": {"index": True},
    "a text for a number": {"width": "32"},
    "a mask of petabytes": {"width": 1 << 40, "height": 1 << 40},
    "a mask of gigabytes": {"width": 1 << 16, "height": 1 << 16},
    "a mask without pixels": {"width": 0},
    "a time base that takes years": {"time_base": "1e999999999"},
    "a time base of no time": {"time_base": "0/1"},
    "a time base that divides by nothing": {"time_base": "1/0"},
    "a time base of a list": {"time_base": [1, 25]},
    "a list for a name": {"file": ["frame_000000.png"]},
    "a long line": {"file": "x" * 100_000},
}


@pytest.mark.parametrize("bad", BAD_RECORDS)
@pytest.mark.parametrize("kind", ["masks", "masks.zip"])
def test_a_manifest_of_something_else_is_refused_by_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, bad: str
) -> None:
    archive = changed(write(tmp_path / kind), manifest=lambda text: change_records(text, **BAD_RECORDS[bad]))
    all_refuse(archive, tmp_path, capsys, says=f"{kind}: line 1 of its manifest.jsonl cannot be used")


@pytest.mark.parametrize(
    "text", ["[" * 3000 + "]" * 3000, '{"index": ' + "9" * 4000 + "}", "null", "[]", '"', "\0", ""]
)
def test_a_manifest_that_is_no_manifest_is_refused_by_its_line(tmp_path: Path, text: str) -> None:
    archive = changed(write(tmp_path / "masks"), manifest=lambda _: f"{text}\n")
    with pytest.raises(ArchiveError, match=r"masks: line 1 of its manifest\.jsonl cannot be used"):
        open_masks(archive)


BAD_HEADERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "thousands of classes": lambda header: header | {"classes": header["classes"][:1] * 5000},
    "no class": lambda header: header | {"classes": []},
    "a class without end": lambda header: header | {"classes": [{"name": "x" * 500_000, "color": [1, 2, 3]}]},
    "a class of control characters": lambda header: header | {"classes": [{"name": "\x1b[2J", "color": [1, 2, 3]}]},
    "a class that is a list": lambda header: header | {"classes": [{"name": ["car"], "color": [1, 2, 3]}]},
    "a colour of four": lambda header: header | {"classes": [{"name": "car", "color": [1, 2, 3, 4]}]},
    "a colour out of range": lambda header: header | {"classes": [{"name": "car", "color": [1, 2, 1 << 80]}]},
    "a width without end": lambda header: header | {"width": 1 << 80},
    "a source that is a list": lambda header: header | {"source": ["drive.mp4"]},
    "a list": lambda header: [header],
    "lists in lists": lambda _: eval("[" * 90 + "]" * 90),
    "a schema of text": lambda header: header | {"schema": "1"},
}


@pytest.mark.parametrize("bad", BAD_HEADERS)
def test_a_table_of_classes_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: str
) -> None:
    def broken(text: str) -> str:
        return json.dumps(BAD_HEADERS[bad](json.loads(text)))

    archive = changed(write(tmp_path / "masks"), header=broken)
    all_refuse(archive, tmp_path, capsys, says="masks: its classes.json cannot be used")


def test_arrays_that_would_run_code_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path}/harm",)

    pickled = io.BytesIO()
    np.save(pickled, np.array([Harm()], dtype=object), allow_pickle=True)
    archive = write(tmp_path / "masks.npz")
    for name in ("header.npy", "manifest.npy", "masks.npy"):
        replace_entry(archive, name, pickled.getvalue())
        all_refuse(archive, tmp_path, capsys, says="masks.npz: not a mask archive, or not a whole one")
    assert not (tmp_path / "harm").exists()


def test_codecs_that_a_zarr_names_are_not_loaded(tmp_path: Path) -> None:
    archive = write(tmp_path / "masks.zarr")
    content = json.loads((archive / "masks/zarr.json").read_text())
    content["codecs"] = [{"name": "pickle", "configuration": {"module": "os"}}]
    (archive / "masks/zarr.json").write_text(json.dumps(content))
    with open_masks(archive) as masks:
        assert len(list(masks)) == COUNT, "what packs the masks is known, whatever the archive says"


def mutated(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 3, 20])):
        at = chance.randrange(len(changed) or 1)
        piece = chance.choice([b"\xff" * 4, bytes(8), b"\x7f" * 2, b'"', b"[", changed[: chance.randrange(30)]])
        changed[at : at + chance.choice([0, 1, len(piece)])] = piece
    return bytes(changed)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_changed_in_an_archive_is_told_in_one_line(tmp_path: Path, kind: str) -> None:
    chance = random.Random(kind)
    archive = write(tmp_path / kind)
    files = [path for path in [archive, *sorted(archive.rglob("*"))] if path.is_file()]
    told: list[str] = []
    for _ in range(150):
        path = chance.choice(files)
        content = path.read_bytes()
        path.write_bytes(mutated(content, chance))
        try:
            with open_masks(archive) as masks:
                told += archive_problems(masks)
        except ArchiveError as refused:
            told.append(str(refused))
        path.write_bytes(content)
    assert told
    assert not any("\n" in line for line in told)
