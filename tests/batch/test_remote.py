"""Videos and results by URL: fetched, sent when whole, and not made twice."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from PIL import Image

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.batch.remote import is_remote
from roadmask.stream.commands.run import as_typer_takes_them
from roadmask.stream.system.talk import install_command
from tests.support.clips import cfr, make_clip, times_of
from tests.support.color_model import halves
from tests.support.run_command import run

FRAMES = 12


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    """A store with two videos in it and one thing more."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    clip = make_clip(tmp_path / "a.mp4", cfr(FRAMES), size=(48, 64)).read_bytes()
    for name in ("in/a.mp4", "in/rear/b.mp4", "in/notes.txt"):
        memory.pipe(f"/{name}", clip)
    yield memory
    memory.store.clear()


def names(store: Any) -> set[str]:
    return {name.removeprefix("/out/") for name in store.find("/out")}


def results(name: str) -> set[str]:
    return {f"{name}_overlay.mp4", f"{name}_masks.zip", f"{name}_stats.csv"}


def test_a_folder_elsewhere_becomes_results_elsewhere(store: Any, model: Path, tmp_path: Path) -> None:
    assert run("memory://in", "-o", "memory://out/", model=model) == 0
    assert names(store) == {"summary.json"} | results("a") | results("rear/b")
    for name in ("rear/b_masks.zip", "rear/b_overlay.mp4"):
        (tmp_path / Path(name).name).write_bytes(store.cat(f"/out/{name}"))
    with open_masks(tmp_path / "b_masks.zip") as masks:
        assert len(list(masks)) == FRAMES
        assert masks.header.source == "b.mp4"
    assert len(times_of(tmp_path / "b_overlay.mp4")) == FRAMES


def test_a_second_call_makes_what_is_missing_and_notes_both(store: Any, model: Path) -> None:
    assert run("memory://in/*.mp4", "-o", "memory://out/", model=model) == 0
    assert names(store) == {"summary.json"} | results("a")
    before = store.modified("/out/a_overlay.mp4")
    assert run("memory://in/", "-o", "memory://out/", model=model) == 0
    assert store.modified("/out/a_overlay.mp4") == before
    summary = json.loads(store.cat("/out/summary.json"))
    assert {(entry["source"], entry["state"]) for entry in summary["sources"]} == {
        ("memory:///in/a.mp4", "done"),
        ("memory:///in/rear/b.mp4", "done"),
    }
    assert (summary["last_call"]["done"], summary["last_call"]["done_before"]) == (1, 1)


def test_a_file_elsewhere_may_have_its_results_here_and_the_reverse(store: Any, model: Path, tmp_path: Path) -> None:
    assert run("memory://in/a.mp4", "-o", tmp_path / "seen.mp4", model=model) == 0
    assert len(times_of(tmp_path / "seen.mp4")) == FRAMES
    assert run(tmp_path / "a.mp4", "-o", "memory://out/", model=model) == 0
    assert names(store) == {"summary.json"} | results("a")


def test_pictures_elsewhere_have_their_table_and_their_classes_beside_their_masks(
    store: Any, model: Path, tmp_path: Path
) -> None:
    Image.fromarray(halves(64, 96)).save(tmp_path / "photo.png")
    store.pipe("/photos/a.png", (tmp_path / "photo.png").read_bytes())
    assert run("memory://photos/", "-o", "memory://out/", model=model) == 0
    notes = {"summary.json", "a_stats.csv", "classes.json"}
    assert names(store) == {"a_overlay.png", "a_mask.png"} | notes
    assert b"0.5" in store.cat("/out/a_stats.csv")


@pytest.mark.logs_errors
def test_a_bad_file_elsewhere_fails_alone(store: Any, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store.pipe("/in/bad.mp4", b"\xfe junk")
    assert run("memory://in", "-o", "memory://out/", model=model) == 3
    assert names(store) == {"summary.json"} | results("a") | results("rear/b")
    told = capsys.readouterr()
    assert "memory:///in/bad.mp4: not a video that can be read" in told.err
    assert "roadmask-" not in told.err + told.out, "where it was fetched to says nothing to anybody"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(
            ["memory://in/none.mp4", "-o", "OUT/"],
            "memory://in/none.mp4: no such file",
            marks=pytest.mark.logs_errors,
        ),
        (["memory://in/*.avi", "-o", "OUT/"], "memory://in/*.avi: no videos there"),
        (["memory://in/a.mp4", "-o", "memory://out/seen.mp4"], "results go elsewhere as a folder; write memory"),
        (["memory://in/a.mp4", "--masks", "memory://out/masks.zip"], "results go elsewhere as a folder: -o s3:"),
        (["gs://bucket/a.mp4", "-o", "OUT/"], "gs://bucket/a.mp4: such URLs need more: Please install gcsfs"),
    ],
)
@pytest.mark.usefixtures("store")
def test_what_is_wrong_with_a_url_is_one_line(
    arguments: list[str], told: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*(word.replace("OUT", str(tmp_path / "out")) for word in arguments), model=model) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("roadmask: ")]
    assert told in line


@pytest.mark.usefixtures("store")
def test_without_the_extra_one_line_says_what_to_install(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert run("memory://in/a.mp4", "-o", tmp_path / "seen.mp4", model=model) == 1
    assert f"such URLs need fsspec: {install_command('remote')}" in capsys.readouterr().err


def test_a_url_that_names_no_folder_is_wrong_usage_and_no_folder_here(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.mp4").touch()
    assert run("a.mp4", "-o", "s3://", model=model) == 2
    assert "s3://: names no folder; write such as s3://bucket/results/" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_what_is_a_stream_or_a_file_is_no_such_url() -> None:
    assert all(map(is_remote, ["s3://b/a.mp4", "GS://b/a.mp4", "file:///a.mp4"]))
    assert not any(map(is_remote, ["rtsp://camera/live", "https://host/a.mp4", "a.mp4", "C://a.mp4", "s3:/b"]))


def test_a_cluster_s_address_may_be_left_out() -> None:
    for after in ([], ["drive.mp4"], ["-o", "out/"]):
        assert as_typer_takes_them(["--ray", *after]) == ["--ray", "", *after]
    for address in ("local", "auto", "ray://head:10001", "10.0.0.1:6379", "[::1]:6379"):
        assert as_typer_takes_them(["--ray", address, "a.mp4"]) == ["--ray", address, "a.mp4"]
