"""`roadmask run FOLDER --watch`, as it is called and as it is ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.system.hold import hold, mark_path
from tests.support.clips import cfr, make_clip
from tests.support.run_command import run
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

FRAMES = 12
LONG_S = 60.0  # on a busy machine


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "drive.ts", cfr(FRAMES), size=(48, 64))


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "long.mkv", cfr(400), size=(32, 32))


class Watched:
    """A folder that is watched by the command, in this process, while a test acts on another thread.

    Args:
        tmp_path: in which are `in`, watched, and `out`.
        model: to run.
    """

    def __init__(self, tmp_path: Path, model: Path) -> None:
        self.folder, self.out = tmp_path / "in", tmp_path / "out"
        self.folder.mkdir()
        self._model = model

    def put(self, source: Path, name: str, *, age_s: int = 0) -> Path:
        """A copy that is there all at once."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        shutil.copyfile(source, part)
        os.utime(part, (1_700_000_000 - age_s,) * 2)
        return part.rename(path)

    def until_done(self, name: str, frames: int = FRAMES) -> None:
        """Until the file's results are there, with so many frames."""
        eventually(lambda: self.frames(name) == frames, LONG_S, what=f"{name} is done")

    def frames(self, name: str) -> int:
        """Of the file whose results have this name, once it is done."""
        return next(
            (entry["frames"] or 0 for entry in self.entries() if entry["outputs"]["stats"] == f"{name}_stats.csv"), 0
        )

    def entries(self) -> list[dict[str, Any]]:
        """Of the summary, as far as it is written, the newest first."""
        summary, journal = self.out / "summary.json", self.out / ".summary.json.journal"
        if not summary.exists():
            return []
        entries = json.loads(summary.read_text(encoding="utf-8"))["sources"]
        with suppress(FileNotFoundError, json.JSONDecodeError):
            entries += map(json.loads, journal.read_text(encoding="utf-8").splitlines())
        return [{"frames": None, **entry} for entry in reversed(entries) if "outputs" in entry]

    def run(
        self, *options: object, act: Callable[[], object], number: signal.Signals = signal.SIGTERM, code: int = 0
    ) -> None:
        """Watch until `act` is over; its failure is the test's."""
        failures, over = list[BaseException](), threading.Event()

        def work() -> None:
            try:
                act()
            except BaseException as exc:  # noqa: BLE001 - carried to the test
                failures.append(exc)
            if not over.is_set():  # or it would end the tests
                os.kill(os.getpid(), number)

        thread = threading.Thread(target=work)
        thread.start()
        words = [self.folder, "-o", f"{self.out}/", "--watch", "--settle", "0.1s", *options]
        ended = run(*words, model=self._model)
        over.set()
        thread.join()
        if failures:
            raise failures[0]
        assert ended == code

    def states(self) -> dict[str, str]:
        content = json.loads((self.out / "summary.json").read_text(encoding="utf-8"))
        return {Path(entry["source"]).name: entry["state"] for entry in content["sources"]}

    def times(self) -> dict[str, int]:
        made = (path for path in self.out.iterdir() if path.suffix != ".json" and not path.name.startswith("."))
        return {path.name: path.stat().st_mtime_ns for path in made}


@pytest.fixture
def watched(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """It looks again at once, however long a look or a summary takes on a busy machine."""
    monkeypatch.setattr("roadmask.stream.batch.watched._SHARE", 1.0)
    monkeypatch.setattr("roadmask.stream.batch.watched._IDLE_S", 0.02)
    monkeypatch.setattr("roadmask.stream.commands.run_files._CATCH_UP_SHARE", 1.0)
    return Watched(tmp_path, model)


def test_what_is_there_is_done_the_oldest_first_and_then_what_comes(
    watched: Watched, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watched.put(clip, "new.ts", age_s=10)
    watched.put(clip, "day/old.ts", age_s=100)

    def act() -> None:
        watched.until_done("new")
        watched.put(clip, "late.ts", age_s=1000)
        watched.until_done("late")

    watched.run(act=act)
    assert watched.states() == {"old.ts": "done", "new.ts": "done", "late.ts": "done"}
    told = capsys.readouterr()
    overlays = [Path(line) for line in told.out.splitlines() if line.endswith("_overlay.mp4")]
    assert overlays == [watched.out / name for name in ("day/old_overlay.mp4", "new_overlay.mp4", "late_overlay.mp4")]
    assert f"watching {watched.folder}: 2 videos there" in told.err
    assert "3 files: 3 done; 36 frames\n" in told.err


def test_what_is_done_is_not_done_again_and_what_was_begun_is_gone_on_with(
    watched: Watched,
    clip: Path,
    long_clip: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("roadmask.stream.run.stages.EVERY_S", 0.1)  # so that there is soon something to go on from
    watched.put(clip, "a.ts", age_s=100)
    watched.put(long_clip, "long.mkv")
    state = watched.out / ".long_overlay.mp4.progress/state.npz"
    watched.run(act=lambda: eventually(state.exists, LONG_S), number=signal.SIGINT, code=130)
    assert watched.states() == {"a.ts": "done", "long.mkv": "interrupted"}
    before = {name: at for name, at in watched.times().items() if name.startswith("a_")}
    capsys.readouterr()
    watched.run(act=lambda: watched.until_done("long", 400))
    told = capsys.readouterr().err
    assert "1 video done before" in told
    assert "400 frames, " in told
    assert " of them from before, " in told
    assert {name: at for name, at in watched.times().items() if name.startswith("a_")} == before
    assert run(long_clip, "--masks", watched.out / "alone.zip", model=model) == 0
    with open_masks(watched.out / "alone.zip") as alone, open_masks(watched.out / "long_masks") as masks:
        assert masks.records == alone.records


def test_a_recording_that_goes_on_after_it_was_done_is_done_again(watched: Watched, clip: Path) -> None:
    path = watched.put(clip, "rec.ts")

    def act() -> None:
        watched.until_done("rec")
        more = make_clip(clip.with_name("more.ts"), cfr(FRAMES, first=FRAMES * 512), size=(48, 64))
        with path.open("ab") as file:
            file.write(more.read_bytes())
        watched.until_done("rec", 2 * FRAMES)

    watched.run(act=act)
    assert watched.states() == {"rec.ts": "done"}


def test_a_file_that_has_changed_while_nobody_watched_is_done_again(watched: Watched, clip: Path) -> None:
    watched.put(clip, "a.ts")
    watched.run(act=lambda: watched.until_done("a"))
    watched.put(make_clip(clip.with_name("other.ts"), cfr(5), size=(48, 64)), "a.ts")
    watched.run(act=lambda: watched.until_done("a", 5))


@pytest.mark.logs_errors
def test_results_that_somebody_has_touched_are_not_replaced(
    watched: Watched, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watched.put(clip, "a.ts", age_s=100)
    watched.run(act=lambda: watched.until_done("a"))
    (watched.out / "a_overlay.mp4").write_bytes(b"mine")
    watched.put(make_clip(clip.with_name("other.ts"), cfr(5), size=(48, 64)), "a.ts", age_s=50)
    watched.put(clip, "b.ts")
    watched.run(act=lambda: watched.until_done("b"))
    assert (watched.out / "a_overlay.mp4").read_bytes() == b"mine"
    assert watched.frames("a") == FRAMES
    assert "a.ts: has changed since its results were made, and so have they" in capsys.readouterr().err
    watched.run("--overwrite", act=lambda: watched.until_done("a", 5))


@pytest.mark.logs_errors
def test_a_file_that_fails_is_told_once_and_tried_again_when_it_changes(
    watched: Watched, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (watched.folder / "bad.ts").write_bytes(b"\xfe junk")
    os.utime(watched.folder / "bad.ts", (0, 0))
    watched.put(clip, "a.ts")

    def act() -> None:
        watched.until_done("a")
        watched.put(clip, "b.ts")
        watched.until_done("b")
        watched.put(clip, "bad.ts")
        watched.until_done("bad")

    watched.run(act=act)
    assert capsys.readouterr().err.count("bad.ts: not a video that can be read") == 1
    assert watched.states() == {"a.ts": "done", "b.ts": "done", "bad.ts": "done"}


def test_a_folder_that_is_taken_away_and_comes_back_is_gone_on_with(
    watched: Watched, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watched.put(clip, "a.ts")
    before: dict[str, int] = {}

    def act() -> None:
        watched.until_done("a")
        before.update(watched.times())
        watched.folder.rename(watched.folder.with_name("away"))
        eventually(lambda: health(port)[0] == 503, LONG_S)
        assert health(port)[1]["problems"] == [f"{watched.folder}: No such file or directory"]
        watched.folder.with_name("away").rename(watched.folder)
        watched.put(clip, "b.ts")
        watched.until_done("b")
        assert health(port)[0] == 200

    port = free_port()
    watched.run("--serve", port, act=act)
    told = capsys.readouterr().err
    assert told.count(f"{watched.folder}: cannot be looked into") == 1
    assert told.count(f"{watched.folder}: is back") == 1
    assert {name: at for name, at in watched.times().items() if name in before} == before


def test_what_is_left_out_of_some_files_is_left_out_of_those_that_come_and_makes_none_anew(
    watched: Watched, clip: Path
) -> None:
    watched.put(clip, "front.ts", age_s=100)
    options = ["--ignore", "rear*=bottom:50%"]

    def act() -> None:
        watched.until_done("front")
        watched.put(clip, "rear.ts")
        watched.until_done("rear")

    watched.run(*options, act=act)
    before = watched.times()
    for name, left_out in (("front", False), ("rear", True)):
        with open_masks(watched.out / f"{name}_masks") as masks:
            assert (masks[0][-1] == 255).all() == left_out
    watched.put(clip, "late.ts")
    watched.run(*options, act=lambda: watched.until_done("late"))
    assert {name: at for name, at in watched.times().items() if name in before} == before


@pytest.mark.parametrize("place", ["in/", "in/out/"])
def test_results_in_the_watched_folder_are_no_sources(place: str, watched: Watched, clip: Path, tmp_path: Path) -> None:
    watched.out = tmp_path / place
    watched.put(clip, "a.ts")

    def act() -> None:
        watched.until_done("a")
        watched.put(clip, "b.ts")
        watched.until_done("b")

    watched.run(act=act)
    assert watched.states() == {"a.ts": "done", "b.ts": "done"}


def test_files_of_one_name_keep_results_of_their_own_however_often_it_is_called(watched: Watched, clip: Path) -> None:
    watched.put(clip, "a.ts", age_s=100)
    watched.put(make_clip(clip.with_name("other.mkv"), cfr(5), size=(48, 64)), "a.mkv")
    watched.run(act=lambda: watched.until_done("a_mkv", 5))
    before = watched.times()
    watched.put(clip, "b.ts")
    watched.run(act=lambda: watched.until_done("b"))
    assert {name: at for name, at in watched.times().items() if name in before} == before
    assert watched.states() == {"a.ts": "done", "a.mkv": "done", "b.ts": "done"}


def test_files_of_one_name_in_two_folders_keep_results_of_their_own(
    watched: Watched, clip: Path, tmp_path: Path
) -> None:
    watched.put(clip, "a.ts", age_s=100)
    (tmp_path / "rear").mkdir()
    make_clip(tmp_path / "rear" / "a.ts", cfr(5), size=(48, 64))

    def act() -> None:
        watched.until_done("a")
        watched.until_done("rear/a", 5)

    watched.run(tmp_path / "rear", "--jobs", 2, act=act)


def test_a_second_watch_into_the_same_folder_is_refused(
    watched: Watched, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watched.out.mkdir()
    with hold(watched.out / ".summary.json.lock"):
        assert run(watched.folder, "-o", f"{watched.out}/", "--watch", model=model) == 1
    assert "another run is writing its results there" in capsys.readouterr().err


def test_a_file_that_another_run_is_at_waits_for_its_end(
    watched: Watched, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("roadmask.stream.batch.watched._TAKEN_S", 0.5)
    watched.put(clip, "a.ts", age_s=100)
    watched.put(clip, "b.ts")
    watched.out.mkdir()

    def act() -> None:
        with hold(mark_path(watched.out / "a_stats.csv")):
            watched.until_done("b")
            assert not watched.frames("a")
        watched.until_done("a")

    watched.run(act=act)
    assert "a.ts: waiting (another run is writing its results" in capsys.readouterr().err


@pytest.mark.logs_errors
def test_programs_are_told_of_each_file_as_json(
    watched: Watched, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("roadmask.stream.commands.run_files._CATCH_UP_S", 0.5)
    (watched.folder / "bad.ts").write_bytes(b"\xfe junk")
    os.utime(watched.folder / "bad.ts", (0, 0))

    def act() -> None:
        eventually(lambda: (watched.out / ".summary.json.journal").exists(), LONG_S)
        eventually(lambda: "bad.ts" in watched.states(), LONG_S, what="the summary is written though a call goes on")
        watched.put(clip, "a.ts")
        watched.until_done("a")

    watched.run("--log", "json", act=act)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert all(line["time"].endswith("Z") for line in lines), "as in the summary"
    events = [{name: line[name] for name in ("source", "state", "waiting")} for line in lines if "source" in line]
    path = str(watched.folder / "a.ts")
    assert events == [
        {"source": str(watched.folder / "bad.ts"), "state": "failed", "waiting": 0},
        {"source": path, "state": "waiting", "waiting": 1},
        {"source": path, "state": "running", "waiting": 0},
        {"source": path, "state": "done", "waiting": 0},
    ]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def health(port: int) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        return exc.code, json.load(exc)


def test_a_run_of_one_file_is_seen_while_it_goes(
    watched: Watched, long_clip: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[dict[str, Any]] = []
    port = free_port()

    def look() -> None:
        with suppress(urllib.error.URLError, ConnectionError):  # it is not there yet
            seen.extend(health(port)[1]["running"])

    thread = threading.Thread(target=lambda: eventually(lambda: (look(), seen)[1], LONG_S))
    thread.start()
    assert run(long_clip, "-o", f"{watched.out}/", "--serve", port, model=model) == 0
    thread.join()
    assert seen[0]["name"] == "long.mkv"
    assert f"live view at http://127.0.0.1:{port}/" in capsys.readouterr().err
    assert (watched.out / "long_overlay.mp4").exists()
