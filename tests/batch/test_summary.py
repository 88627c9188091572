"""`summary.json` and its journal: nothing is lost, little is written, and what cannot be read is not replaced."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest

from roadmask.stream.batch.batch import Outcome
from roadmask.stream.batch.summary import is_summary, open_summary
from roadmask.stream.run.settings import Report, SegmentSettings
from tests.support.clips import cfr, make_clip
from tests.support.own_process import LIMIT_S, started
from tests.support.power import Disk
from tests.support.run_command import run

FACTS = {"roadmask": "1.0.0"}
JOURNAL = ".summary.json.journal"


def job(folder: Path, number: int) -> SegmentSettings:
    return SegmentSettings(Path(f"/drives/{number}.mp4"), masks=folder / f"{number}_masks")


def outcome(of: SegmentSettings) -> Outcome:
    now = datetime.now(UTC)
    return Outcome(of, "done", now, now, report=Report(300, 0, 0, 12.3, interrupted=False))


def summary(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return content


def states(out: Path) -> dict[str, str]:
    return {Path(entry["source"]).stem: entry["state"] for entry in summary(out)["sources"]}


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="asks Linux how much was written")
def test_what_is_written_for_a_batch_grows_with_its_files_and_not_with_their_square(tmp_path: Path) -> None:
    def written() -> int:
        return int(Path("/proc/self/io").read_text().partition("wchar: ")[2].split()[0])

    before = written()
    with open_summary(tmp_path / "summary.json", FACTS) as noted:
        for number in range(200):
            noted.begin(job(tmp_path, number), {"model": "m"})
            noted.end(outcome(job(tmp_path, number)))
    size = (tmp_path / "summary.json").stat().st_size
    assert len(summary(tmp_path)["sources"]) == 200
    assert written() - before < 4 * size
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_what_becomes_of_a_file_is_on_disk_before_anything_relies_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, one = Disk(monkeypatch), job(tmp_path, 1)
    with open_summary(tmp_path / "summary.json", FACTS) as noted:
        noted.begin(one, {"model": "m"})
        assert disk.has(tmp_path / JOURNAL)
        noted.end(outcome(one))
        assert disk.has(tmp_path / JOURNAL)
    assert disk.has(tmp_path / "summary.json")
    assert disk.has_name(tmp_path / "summary.json")


@pytest.mark.parametrize("torn", [b"", b'{"source": "/drives/1.mp4", "sta', b"\xff\xfe\n"])
def test_what_a_killed_batch_has_noted_is_known_to_the_next(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "summary.json"
    with open_summary(path, FACTS) as noted:
        noted.begin(job(tmp_path, 1), {"model": "m"})
        noted.end(outcome(job(tmp_path, 1)))
        noted.begin(job(tmp_path, 2), {"model": "m"})
        killed = {name: (tmp_path / name).read_bytes() for name in ("summary.json", JOURNAL)}
    path.write_bytes(killed["summary.json"])
    (tmp_path / JOURNAL).write_bytes(killed[JOURNAL] + torn)
    assert is_summary(path)
    with open_summary(path, FACTS) as noted:
        assert states(tmp_path) == {"1": "done", "2": "running"}, "the summary is whole before the work"
        known = noted.entry(job(tmp_path, 1))
        assert known is not None
        assert known.frames == 300
    assert states(tmp_path) == {"1": "done", "2": "running"}
    assert not (tmp_path / JOURNAL).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_killed_command_s_results_are_not_made_again(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    make_clip(tmp_path / "in/a.mp4", cfr(12), size=(48, 64))
    make_clip(tmp_path / "in/b.mp4", cfr(2500), size=(32, 32))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "roadmask", "run", tmp_path / "in", "-o", f"{out}/", "--model", model, "-q"]
    process = started(command, lambda: (out / "b_masks.partial/manifest.jsonl").exists())
    process.kill()
    process.communicate(timeout=LIMIT_S)
    made = (out / "a_overlay.mp4").stat().st_mtime_ns
    (tmp_path / "in/b.mp4").unlink()
    assert run(tmp_path / "in", "-o", f"{out}/", model=model) == 0
    assert "1 file: 1 done before" in capsys.readouterr().err
    assert (out / "a_overlay.mp4").stat().st_mtime_ns == made
    assert states(out) == {"a": "done", "b": "running"}
    assert summary(out)["sources"][0]["frames"] == 12


def test_a_call_that_fails_leaves_what_is_noted_of_the_results_that_are_still_there(
    model: Path, tmp_path: Path
) -> None:
    clip, out = make_clip(tmp_path / "a.mp4", cfr(3), size=(32, 48)), tmp_path / "out"
    assert run(clip, "-o", f"{out}/", model=model) == 0
    noted = (out / "a_run.json").read_bytes()
    clip.write_bytes(b"no video")
    assert run(clip, "-o", f"{out}/", "--overwrite", model=model) == 1
    assert (out / "a_overlay.mp4").exists()
    assert (out / "a_run.json").read_bytes() == noted


def test_the_summary_holds_json_s_own_types(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_clip(tmp_path / "in/a.mp4", cfr(50), size=(48, 64))
    options = ["--start", "0.5", "--end", "0:01", "--classes", "road", "--no-smooth"]
    assert run(tmp_path / "in", "-o", f"{tmp_path}/out/", *options, model=model) == 0
    settings, identity = summary(tmp_path / "out")["settings"], summary(tmp_path / "out")["sources"][0]["identity"]
    for name, value in {"start": 0.5, "end": 1, "max_frames": None, "smooth": False, "classes": ["road"]}.items():
        assert settings[name] == identity[f"--{name.replace('_', '-')}"] == value
    assert settings["map"] == identity["--map"] == []
    assert run(tmp_path / "in", "-o", f"{tmp_path}/out/", *options, model=model) == 0
    assert summary(tmp_path / "out")["last_call"]["done_before"] == 1


@pytest.mark.logs_errors
def test_a_summary_of_1_0_0_is_understood(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which held what options were as text, and whose overlays had the model's colours."""
    (tmp_path / "in").mkdir()
    make_clip(tmp_path / "in/a.mp4", cfr(12), size=(48, 64))
    out = tmp_path / "out"
    as_then = ["--start", "0", "--palette", "camvid"]
    assert run(tmp_path / "in", "-o", f"{out}/", *as_then, model=model) == 0
    content = summary(out)
    (entry,) = content["sources"]
    entry["identity"] |= {"--legend": False}
    del entry["identity"]["--palette"], entry["identity"]["--style"]
    for name, value in entry["identity"].items():
        entry["identity"][name] = ",".join(value) if isinstance(value, list) else str(value)
    (out / "summary.json").write_text(json.dumps(content), encoding="utf-8")
    assert run(tmp_path / "in", "-o", f"{out}/", *as_then, model=model) == 0
    assert summary(out)["last_call"]["done_before"] == 1
    assert run(tmp_path / "in", "-o", f"{out}/", "--start", "0", model=model) == 1
    assert "--palette was camvid, is now clear" in capsys.readouterr().err


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    """A store with a video, and a summary of earlier calls."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pipe("/in/a.mp4", make_clip(tmp_path / "a.mp4", cfr(12), size=(48, 64)).read_bytes())
    yield memory
    memory.store.clear()


@pytest.mark.parametrize("way", ["info", "get_file"])
def test_a_remote_summary_that_cannot_be_read_is_not_replaced(
    way: str, store: Any, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("memory://in/a.mp4", "-o", "memory://out/", model=model) == 0
    before = store.cat("/out/summary.json")
    store.pipe("/in/b.mp4", store.cat("/in/a.mp4"))
    asked = getattr(type(store), way)

    def refused(self: Any, path: str, *arguments: Any, **options: Any) -> Any:
        if "summary.json" in path:
            raise PermissionError("Forbidden: the token has expired")
        return asked(self, path, *arguments, **options)

    monkeypatch.setattr(type(store), way, refused)
    capsys.readouterr()
    assert run("memory://in/", "-o", "memory://out/", model=model) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "roadmask: memory://out/summary.json: Forbidden: the token has expired"
    assert store.cat("/out/summary.json") == before
    assert not store.exists("/out/b_overlay.mp4"), "it is found before the work"


def test_a_summary_of_a_newer_version_is_not_replaced(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_clip(tmp_path / "a.mp4", cfr(3), size=(24, 32))
    (tmp_path / "out").mkdir()
    summary = tmp_path / "out" / "summary.json"
    summary.write_text('{"schema": 99, "sources": []}')
    assert run(tmp_path / "a.mp4", "-o", f"{tmp_path}/out/", "--summary", summary, model=model) == 1
    told = f"roadmask: {summary}: of another roadmask (schema 99); name another file: --summary FILE\n"
    assert capsys.readouterr().err == told
    assert [path.name for path in summary.parent.iterdir()] == ["summary.json"]
    assert "99" in summary.read_text()


@pytest.mark.logs_errors
def test_a_remote_result_that_cannot_be_asked_for_is_not_made_anew(
    store: Any, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("memory://in/a.mp4", "-o", "memory://out/", model=model) == 0
    before = store.modified("/out/a_overlay.mp4")
    asked = type(store).info

    def refused(self: Any, path: str, **options: Any) -> Any:
        if "a_overlay" in path:
            raise ConnectionResetError("Connection reset by peer")
        return asked(self, path, **options)

    monkeypatch.setattr(type(store), "info", refused)
    capsys.readouterr()
    assert run("memory://in/a.mp4", "-o", "memory://out/", "-q", model=model) == 1
    assert "a_overlay.mp4: Connection reset by peer" in capsys.readouterr().err
    monkeypatch.undo()
    assert store.modified("/out/a_overlay.mp4") == before


def test_a_summary_that_cannot_be_sent_is_kept(
    store: Any, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = type(store).put_file

    def refused(self: Any, path: str, place: str, **options: Any) -> None:
        if "summary.json" in place:
            raise ConnectionResetError("Connection reset by peer")
        sent(self, path, place, **options)

    monkeypatch.setattr(type(store), "put_file", refused)
    assert run("memory://in/a.mp4", "-o", "memory://out/", "-q", model=model) == 1
    assert store.exists("/out/a_overlay.mp4")
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "kept" in line]
    kept = Path(line.partition("it is kept as ")[2])
    assert states(kept.parent) == {"a": "done"}
    shutil.rmtree(kept.parent)


def test_overlays_in_a_store_are_no_sources(store: Any, model: Path) -> None:
    assert run("memory://in/", "-o", "memory://in/", model=model) == 0
    names = set(store.find("/in"))
    assert run("memory://in/", "-o", "memory://out/", model=model) == 0
    assert names == set(store.find("/in"))
    assert not store.exists("/out/a_overlay_overlay.mp4")


def test_a_file_of_the_user_s_where_a_run_is_noted_is_not_replaced(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_clip(tmp_path / "drive.mp4", cfr(3))
    noted = tmp_path / "out" / "drive_run.json"
    noted.parent.mkdir()
    noted.write_text("mine")
    words = [tmp_path / "drive.mp4", "-o", f"{noted.parent}/", "-q"]
    assert run(*words, model=model) == 1
    assert "drive_run.json: not a summary that roadmask wrote" in capsys.readouterr().err
    assert noted.read_text() == "mine"
    assert [path.name for path in noted.parent.iterdir()] == ["drive_run.json"]
    assert run(*words, "--overwrite", model=model) == 0
