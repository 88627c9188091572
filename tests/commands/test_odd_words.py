"""Words that name nothing of the kind: each is answered with one line, without a traceback and without waiting."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from roadmask.stream.cli import main
from tests.support.clips import cfr, make_clip
from tests.support.color_model import write_color_model
from tests.support.untrusted import write

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
LONG = "x" * 300
ESCAPE = "new\nline\x1b[2J"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of everything, whole and not."""
    folder = tmp_path_factory.mktemp("odd")
    make_clip(folder / "drive.mp4", cfr(4), size=(24, 32))
    content = write(folder / "masks.zip").read_bytes()
    write_color_model(folder / "colors.onnx")
    for suffix in (".mp4", ".zip", ".npz", ".mkv", ".onnx", ".csv", ".parquet"):
        (folder / f"empty{suffix}").touch()
        (folder / f"folder{suffix}").mkdir()
        (folder / f"junk{suffix}").write_bytes(b"PK\x03\x04 junk \xff")
        (folder / f"{ESCAPE}{suffix}").write_bytes(b"junk")
        (folder / f"loop{suffix}").symlink_to(f"loop{suffix}")
        os.mkfifo(folder / f"fifo{suffix}")
    (folder / "cut.zip").write_bytes(content[:100])
    with zipfile.ZipFile(folder / "other.zip", "w") as other:
        other.writestr("notes.txt", "no masks")
    (folder / "nan.csv").write_text("index,time,road,car,sky\nnan,0,1,0,0\n", encoding="utf-8")
    (folder / "huge.csv").write_text("index,time,road,car,sky\n1e300,0,1,0,0\n", encoding="utf-8")
    (folder / "wide.csv").write_text("index," + "x" * 200_000 + "\n", encoding="utf-8")
    return folder


MASKS = [
    f"{name}{suffix}" for name in ("empty", "folder", "junk", ESCAPE, "loop", "fifo") for suffix in (".zip", ".mkv")
]
MASKS += ["empty.npz", "junk.npz", "cut.zip", "other.zip", "/dev/null", "/dev/zero", "no.zip", LONG, "", "-"]
VIDEOS = [f"{name}.mp4" for name in ("empty", "folder", "junk", ESCAPE, "loop", "fifo", "no", LONG)] + ["/dev/null", ""]
MODELS = [f"{name}.onnx" for name in ("empty", "folder", "junk", ESCAPE, "loop", "fifo", "no", LONG)] + [
    "/dev/null",
    "",
]
TABLES = [
    f"{name}.csv" for name in ("empty", "folder", "junk", ESCAPE, "loop", "fifo", "no", "nan", "huge", "wide", LONG)
]
PAGES = ["folder.zip", "/dev/full", "empty.zip/page.html", f"{LONG}.html", ""]
LINES = [
    *([command, word, *more] for word in MASKS for command, more in (("verify", ["-q"]), ("info", []))),
    *(["report", word, "-o", "page.html", "-q"] for word in MASKS if word),  # "" is this folder, and all in it
    *(["preview", word, "drive.mp4", "-o", "seen.mp4", "-q"] for word in MASKS),
    *(["convert", word, "-o", "copy.zip", "-q"] for word in MASKS),
    *(["verify", "masks.zip", word, "-q"] for word in VIDEOS),
    *(["preview", "masks.zip", word, "-o", "seen.mp4", "-q"] for word in VIDEOS),
    *(["bench", word, "-m", "colors.onnx"] for word in VIDEOS if word),
    *([command, "-m", word] for word in MODELS for command in ("warmup", "bench")),
    *(["info", word] for word in MODELS),
    *(
        ["report", "masks.zip", "--stats", word, "-o", "page.html", "-q"]
        for word in [*TABLES, "empty.parquet", "fifo.parquet"]
    ),
    *(["report", "masks.zip", "-o", word, "-q"] for word in PAGES),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line)[:60].encode("unicode_escape").decode())
@pytest.mark.timeout(20)
def test_a_word_that_names_nothing_of_the_kind_is_one_line(
    line: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    whole = (folder / "masks.zip").read_bytes()
    assert main(line) in (1, 2)
    talk = capsys.readouterr()
    assert talk.out == ""
    told = [line for line in talk.err.splitlines() if line.startswith(("roadmask: ", "Error: "))]
    assert len(told) == 1
    assert len(talk.err.splitlines()) == 1 or told[0].startswith("Error: ")
    assert "\x1b" not in talk.err
    assert (folder / "masks.zip").read_bytes() == whole
    assert not (folder / "page.html").exists()
    assert not list(folder.glob("seen*"))
