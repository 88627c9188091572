"""Names of files and classes, from anywhere, reach no terminal raw and lead to no place but that of the results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roadmask.stream.cli import main
from roadmask.stream.system.talk import printable
from tests.support.clips import cfr, make_clip
from tests.support.own_process import PYTHONPATH
from tests.support.run_command import run
from tests.support.untrusted import changed, everything, write

NAMES = [
    "-rf.mp4",
    "a\nb.mp4",
    "<b>&amp;.mp4",
    "[bold]x.mp4",
    "\u202eevil.mp4",
    "\x1b[31mred\x1b]0;title\x07.mp4",
    os.fsdecode(b"no\xfftext.mp4"),
]


def test_no_name_reaches_the_terminal_raw_or_leaves_the_results(tmp_path: Path, model: Path) -> None:
    """In tables, lines, archives and pages."""
    make_clip(tmp_path / "clip.mp4", cfr(2))
    (tmp_path / "in").mkdir()
    for name in NAMES:
        (tmp_path / "in" / name).write_bytes((tmp_path / "clip.mp4").read_bytes())
    settings = ["--model", str(model), "--device", "cpu", "--preset", "ultrafast", "--progress", "none"]
    _, told = ran_in(tmp_path, "run", "in", "-o", "out/", *settings)
    for name in NAMES[-2:]:
        masks = f"out/{Path(name).stem}_masks"
        told += b"".join(ran_in(tmp_path, "info", masks) + ran_in(tmp_path, "verify", masks, f"in/{name}"))
    told += b"".join(ran_in(tmp_path, "report", "out", "-o", "out/report.html"))
    for raw in (b"\x1b", b"\x07", "\u202e".encode(), b"a\nb"):
        assert raw not in told
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out", "clip.mp4"}
    assert "<b>&amp;" not in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def ran_in(folder: Path, *arguments: str) -> tuple[bytes, bytes]:
    """What a command that ends well writes, for programs and for people."""
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    done = subprocess.run(
        [sys.executable, "-m", "roadmask", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_a_name_of_dots_leaves_the_folder_of_results_as_little(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("..mp4", "...mp4"):
        make_clip(tmp_path / "clip.mp4", cfr(2)).rename(tmp_path / name)
        assert run(name, "-o", "out/", model=model) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"..mp4", "...mp4", "out"}
    assert {"..mp4_overlay.mp4", "...mp4_overlay.mp4"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_what_a_terminal_obeys_is_written_out() -> None:
    assert printable("a\x1b[31m\n\x9b\u2028\u202e\udcff é 日 \t") == r"a\x1b[31m\n\x9b\u2028\u202e\udcff é 日 \t"


def test_classes_named_like_paths_make_no_files_and_no_markup(tmp_path: Path) -> None:
    names = ["../../evil", "/etc/evil", "<script>evil()</script>"]

    def renamed(text: str) -> str:
        header = json.loads(text)
        for item, name in zip(header["classes"], names, strict=True):
            item["name"] = name
        return json.dumps(header)

    archive = changed(write(tmp_path / "masks"), header=renamed)
    (tmp_path / "target").mkdir()
    before = everything(tmp_path, but=tmp_path / "target")
    tools = ["cvat", "camvid", "label-studio", "fiftyone", "color", "coco"]
    for tool in tools:
        if tool == "coco":
            pytest.importorskip("pycocotools")
        assert main(["convert", str(archive), "--to", tool, "-o", f"{tmp_path}/target/{tool}", "--quiet"]) in (0, 1)
    assert main(["report", str(archive), "-o", f"{tmp_path}/target/report.html"]) == 0
    assert everything(tmp_path, but=tmp_path / "target") == before
    assert not any("evil" in path.name for path in (tmp_path / "target").rglob("*"))
    assert "<script>evil" not in (tmp_path / "target/report.html").read_text()
    assert "<script>" not in (tmp_path / "target/label-studio/label_config.xml").read_text()
