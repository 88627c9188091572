"""`roadmask run` for many files: what becomes of one harms no other, and a second call does what is missing."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.batch.batch import Outcome, run_batch
from roadmask.stream.cli import main
from roadmask.stream.errors import OutputError
from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import Report, SegmentSettings
from roadmask.stream.system.hold import hold
from roadmask.stream.system.stop import Stop
from tests.support.clips import cfr, make_clip
from tests.support.color_model import write_color_model
from tests.support.own_process import LIMIT_S, started
from tests.support.run_command import run

FRAMES = 12


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "drive.mp4", cfr(FRAMES), size=(48, 64))


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "long.mp4", cfr(2500), size=(32, 32))


@pytest.fixture
def drives(tmp_path: Path, clip: Path) -> Path:
    """A folder of three."""
    folder = tmp_path / "drives"
    folder.mkdir()
    for name in ("a", "b", "c"):
        shutil.copy(clip, folder / f"{name}.mp4")
    return folder


def summary(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return content


def states(out: Path) -> dict[str, str]:
    return {Path(entry["source"]).stem: entry["state"] for entry in summary(out)["sources"]}


def content(out: Path) -> dict[str, bytes]:
    """All results, without the summary, which tells times."""
    paths = (path for path in sorted(out.rglob("*")) if path.is_file() and "summary" not in path.name)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def cut_off(path: Path) -> None:
    """As a power loss leaves a file whose length stands at its beginning."""
    whole = make_clip(path.with_name("whole.mkv"), cfr(60), size=(48, 64), codec="mjpeg")
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    whole.unlink()


@pytest.mark.logs_errors
def test_each_ends_as_it_is_and_the_summary_and_the_code_say_so(
    drives: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (drives / "b.mp4").write_bytes(b"\xfe junk")
    cut_off(drives / "d.mkv")
    assert run(drives, "-o", f"{tmp_path}/out/", model=model) == 3
    out = tmp_path / "out"
    assert states(out) == {"a": "done", "b": "failed", "c": "done", "d": "partial"}
    reasons = {Path(entry["source"]).stem: entry.get("reason") for entry in summary(out)["sources"]}
    assert reasons["a"] is None
    assert reasons["b"].startswith("not a video that can be read"), "the name is in `source`"
    assert "before the length that it declares" in reasons["d"]
    assert summary(out)["last_call"]["failed"] == summary(out)["last_call"]["partial"] == 1
    assert "4 files: 2 done, 1 partial, 1 failed" in capsys.readouterr().err
    with open_masks(out / "a_masks") as masks:
        assert len(masks) == FRAMES


@pytest.mark.logs_errors
def test_if_all_fail_the_code_is_1(drives: Path, model: Path, tmp_path: Path) -> None:
    for path in drives.iterdir():
        path.write_bytes(b"\xfe junk")
    assert run(drives, "-o", f"{tmp_path}/out/", model=model) == 1


def test_several_at_a_time_give_the_same_files_as_one_by_one(drives: Path, model: Path, tmp_path: Path) -> None:
    assert run(drives, "-o", f"{tmp_path}/one/", model=model) == 0
    assert run(drives, "-o", f"{tmp_path}/two/", "--jobs", "3", model=model) == 0
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert len(content(tmp_path / "one")) > 3 * FRAMES


def test_a_second_call_does_only_what_is_missing(
    drives: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(drives, "-o", f"{out}/", model=model) == 0
    before = content(out)
    times = {name: (out / name).stat().st_mtime_ns for name in before}
    (out / "b_overlay.mp4").unlink()
    capsys.readouterr()
    assert run(drives, "-o", f"{out}/", model=model) == 0
    assert "3 files: 1 done, 2 done before" in capsys.readouterr().err
    assert content(out) == before
    again = {name for name in before if (out / name).stat().st_mtime_ns != times[name]}
    assert {name.partition("_")[0] for name in again} == {"b"}


def test_masks_alone_of_many_are_made_once_each_in_a_file_of_its_own(
    drives: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for told in ("3 files: 3 done", "3 files: 3 done before"):
        capsys.readouterr()
        assert run(drives, "--masks", f"{tmp_path}/masks/*.zip", model=model) == 0
        assert told in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "masks").iterdir()} == {"a.zip", "b.zip", "c.zip", "summary.json"}


@pytest.mark.parametrize("change", ["model", "setting", "source"])
@pytest.mark.logs_errors
def test_what_was_made_in_another_way_is_refused_by_name_and_made_anew_if_wanted(
    change: str, drives: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(drives, "-o", f"{out}/", model=model) == 0
    before = content(out)
    options: list[object] = []
    if change == "model":
        model = write_color_model(tmp_path / "other.onnx", batch="n")
    elif change == "setting":
        options = ["--no-smooth"]
    else:
        make_clip(drives / "b.mp4", cfr(FRAMES + 1), size=(48, 64))
    capsys.readouterr()
    assert run(drives, "-o", f"{out}/", *options, model=model) == (3 if change == "source" else 1)
    talk = capsys.readouterr().err
    assert "b_overlay.mp4: made before, but" in talk
    assert "pass --overwrite to make it anew" in talk
    assert content(out) == before
    assert run(drives, "-o", f"{out}/", *options, "--overwrite", model=model) == 0
    assert content(out) != before


@pytest.mark.logs_errors
def test_results_of_something_else_are_not_replaced(drives: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "b_stats.csv").write_text("mine")
    assert run(drives, "-o", f"{out}/", model=model) == 3
    assert states(out) == {"a": "done", "b": "failed", "c": "done"}
    assert (out / "b_stats.csv").read_text() == "mine"


@pytest.mark.logs_errors
def test_a_fault_of_one_is_told_in_a_line_and_kept_for_those_who_mend_it(
    drives: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def faulty(job: SegmentSettings, *arguments: Any, **options: Any) -> Report:
        if job.name == "b.mp4":
            raise ZeroDivisionError("by zero")
        return process_video(job, *arguments, **options)

    monkeypatch.setattr("roadmask.stream.commands.run_files.process_video", faulty)
    assert run(drives, "-o", f"{tmp_path}/out/", model=model) == 3
    assert "b.mp4: ZeroDivisionError: by zero" in capsys.readouterr().err
    (entry,) = [entry for entry in summary(tmp_path / "out")["sources"] if entry["state"] == "failed"]
    assert "in faulty" in entry["traceback"]


@pytest.mark.logs_errors
def test_a_full_disk_ends_all_and_the_same_command_goes_on_later(
    drives: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(job: SegmentSettings, *arguments: Any, **options: Any) -> Report:
        if job.name == "b.mp4":
            raise OutputError("b_masks: cannot be written") from OSError(errno.ENOSPC, "No space left on device")
        return process_video(job, *arguments, **options)

    monkeypatch.setattr("roadmask.stream.commands.run_files.process_video", full)
    assert run(drives, "-o", f"{tmp_path}/out/", model=model) == 3
    assert "the disk is full, so nothing more was begun; free some space" in capsys.readouterr().err
    assert states(tmp_path / "out") == {"a": "done", "b": "failed"}
    monkeypatch.undo()
    assert run(drives, "-o", f"{tmp_path}/out/", "--resume", model=model) == 0
    assert states(tmp_path / "out") == {"a": "done", "b": "done", "c": "done"}


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_what_is_at_work_and_begins_no_more(
    number: signal.Signals, drives: Path, long_clip: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copy(long_clip, drives / "a.mp4")
    command = [sys.executable, "-m", "roadmask", "run", drives, "-o", f"{out}/", "--model", model, "--quiet"]
    manifest = out / "a_masks.partial/manifest.jsonl"
    process = started(command, lambda: manifest.exists() and manifest.stat().st_size)
    process.send_signal(number)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, errors
    assert states(out) == {"a": "interrupted"}
    with open_masks(out / "a_masks") as masks:
        assert 0 < len(masks) < 2500
    assert run(drives, "-o", f"{out}/", "--max-frames", "5", "--overwrite", model=model) == 0
    assert states(out) == {"a": "done", "b": "done", "c": "done"}


def test_progress_for_programs_is_json_a_line(
    drives: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(drives, "-o", f"{tmp_path}/out/", "--progress", "json", model=model) == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert lines[-1]["files"] == lines[-1]["done"] == 3
    assert lines[-1]["frames"] == 3 * FRAMES
    assert lines[-1]["share"] == 1


def test_two_runs_into_one_folder_do_not_mix(drives: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with hold(out / ".summary.json.lock"):
        assert run(drives, "-o", f"{out}/", model=model) == 1
    assert not [path for path in out.iterdir() if not path.name.startswith(".")]


def test_jobs_may_run_anywhere_a_function_takes_them() -> None:
    done: list[Outcome] = []
    jobs = [SegmentSettings(Path(name)) for name in "abc"]
    run_batch(jobs, lambda job: Report(len(job.name), 0, 0, 0.1, False), at_once=2, stop=Stop(), on_end=done.append)
    assert sorted(outcome.job.name for outcome in done) == ["a", "b", "c"]
    assert {outcome.state for outcome in done} == {"done"}


def test_the_model_that_jobs_share_answers_each_as_if_it_were_alone(model: Path, clip: Path, tmp_path: Path) -> None:
    loaded = Model.load(model)
    with loaded.shared(3, together=False) as shared:
        process_video(SegmentSettings(clip, masks=tmp_path / "shared.zip"), shared)
    process_video(SegmentSettings(clip, masks=tmp_path / "alone.zip"), loaded)
    assert (tmp_path / "shared.zip").read_bytes() == (tmp_path / "alone.zip").read_bytes()


@pytest.mark.logs_errors
def test_what_one_file_s_run_has_done_is_not_done_again(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", str(clip), "-o", f"{tmp_path}/", "--model", str(model)]
    assert main(arguments) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert main([*arguments, "--resume"]) == 0
    assert "1 done before" in capsys.readouterr().err
    after = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert {path: after[path] for path in before} == before
    assert main([*arguments, "--resume", "--alpha", "0.3"]) == 1
    assert "--alpha was 0.5, is now 0.3" in capsys.readouterr().err
