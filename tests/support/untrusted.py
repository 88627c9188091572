"""Archives of masks to change, and all that read them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadmask.stream.cli import main
from tests.support.clips import SPEC, result_of, video_info
from tests.support.tool_masks import any_archive

KINDS = ["masks", "masks.zip", "masks.mkv", "masks.npz", "masks.zarr"]
HEIGHT, WIDTH, COUNT = 24, 32, 4
SECRET = "root:x:0:0:a secret of this machine"


def write(path: Path) -> Path:
    with any_archive(path, video_info(WIDTH, HEIGHT), SPEC, source="drive.mp4") as sink:
        for number in range(COUNT):
            sink.write(result_of(np.full((HEIGHT, WIDTH), number % 3, np.uint8), index=number, pts=512 * number))
    return path


def commands(archive: Path, target: Path) -> list[list[str]]:
    """All that read masks."""
    return [
        ["info", str(archive)],
        ["verify", str(archive), "--quiet"],
        ["convert", str(archive), "-o", str(target / "copy.npz"), "--quiet"],
        ["convert", str(archive), "--to", "cvat", "-o", str(target / "cvat"), "--quiet"],
        ["report", str(archive), "-o", str(target / "report.html"), "--quiet"],
    ]


def all_refuse(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, says: str) -> None:
    """Each command ends with 1 and a line, or has a line about each mask, and writes nothing but into its target."""
    target = tmp_path / "target"
    target.mkdir(exist_ok=True)
    before = everything(tmp_path, but=target)
    told = ""
    for arguments in commands(archive, target):
        code = main(arguments)
        talk = capsys.readouterr()
        assert code == 1 or arguments[0] in ("info", "report"), arguments
        assert "Traceback" not in talk.err
        assert code == 0 or len(talk.err.splitlines()) <= 2
        told += talk.out + talk.err
    assert says in told
    assert SECRET not in told
    assert everything(tmp_path, but=target) == before
    assert not any(SECRET.encode() in path.read_bytes() for path in target.rglob("*") if path.is_file())


def everything(folder: Path, *, but: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_relative_to(but)}


def change_records(manifest: str, **changes: Any) -> str:
    return "".join(json.dumps(json.loads(line) | changes) + "\n" for line in manifest.splitlines())


def changed(path: Path, *, manifest: Callable[[str], str] = str, header: Callable[[str], str] = str) -> Path:
    """An archive, a folder or a zip, whose texts are others."""
    if path.suffix != ".zip":
        for name, change in (("manifest.jsonl", manifest), ("classes.json", header)):
            (path / name).write_text(change((path / name).read_text()))
        return path
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in old.namelist()}
    content["manifest.jsonl"] = manifest(content["manifest.jsonl"].decode()).encode()
    content["classes.json"] = header(content["classes.json"].decode()).encode()
    with zipfile.ZipFile(path, "w") as new:
        for name, piece in content.items():
            new.writestr(name, piece)
    return path


def replace_entry(archive: Path, replaced: str, content: bytes, *, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(archive) as old:
        entries = {name: old.read(name) for name in old.namelist()} | {replaced: content}
    with zipfile.ZipFile(archive, "w", compression) as new:
        for name, piece in entries.items():
            new.writestr(name, piece)
