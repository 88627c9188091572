"""A run that is killed, or finds the disk full, at any of its calls to the file system goes on to whole results."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from itertools import count
from multiprocessing import get_context
from pathlib import Path

import pytest

from roadmask.stream.errors import OutputError
from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import SegmentSettings
from tests.support.clips import make_clip
from tests.support.color_model import write_color_model
from tests.support.file_content import content, pictures_of
from tests.support.instants import KILLED, OUTPUT_ERROR, full_from, in_fork, kill_at
from tests.support.short_pieces import shorten_pieces

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="forks of POSIX"),
    pytest.mark.timeout(600),
]

FRAMES = 4
PIECE = 2  # so that a short run has several
KINDS = os.environ.get("KINDS", "").split()  # of archives, to try others than each test has: "zip folder mkv"
FEWEST = 100  # calls of a run
LOCKS_AND_MARKS = 3 * 3 + 3 * 2  # calls


def in_a_process_of_its_own(scenario: Callable[[Path, Model, Path], None], folder: Path) -> None:
    """Of this clip and model, below this folder. Forks of the tests' own process, which has grown, take long."""
    process = get_context("spawn").Process(target=_play, args=(scenario, folder))
    process.start()
    try:
        process.join()
    finally:
        process.kill()
    assert process.exitcode == 0, "what it was stands in its stderr"


def _play(scenario: Callable[[Path, Model, Path], None], folder: Path) -> None:
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    os.fsync = lambda _: None  # a kill leaves what was written; it would be most of the time
    shorten_pieces(pytest.MonkeyPatch(), PIECE)
    import_module("roadmask.stream.frames").WARM_UP = 1  # type: ignore[attr-defined]
    import_module("roadmask.stream.run.stages").EVERY_S = 0.0  # type: ignore[attr-defined]
    seconds = [12800 * number for number in range(FRAMES)]  # a frame a second: containers keep no more in memory
    clip = make_clip(folder / "a.mp4", seconds, size=(32, 48))
    file = write_color_model(folder / "colors.onnx")
    scenario(clip, Model.load(file, device="cpu", threads=1, workers=1), folder)  # a fork has no other threads


def job(clip: Path, folder: Path, kind: str) -> SegmentSettings:
    masks, stats = {"zip": ("m.zip", "s.csv"), "folder": ("m", "s.csv"), "mkv": ("m.mkv", "s.parquet")}[kind]
    named = {"overlay": folder / "o.mp4", "masks": folder / masks, "stats": folder / stats}
    return SegmentSettings(clip, preset="ultrafast", **named)


def results(settings: SegmentSettings) -> dict[str, object]:
    """Of all that is in the folder; a video's muxer writes its own date and such."""
    paths = sorted(settings.outputs[0].parent.iterdir())
    return {path.name: pictures_of(path) if path.suffix == ".mp4" else content(path) for path in paths}


class Trial:
    """Runs of one job, each stopped somewhere else, and gone on with."""

    def __init__(self, settings: SegmentSettings, model: Model, prepare: Callable[[Path], object]) -> None:
        self.settings, self.model, self._prepare = settings, model, prepare
        self._folder = settings.outputs[0].parent
        self._folder.mkdir()
        assert in_fork(lambda: process_video(settings, model)) == 0
        self._expected = self._as_prepared = results(settings)

    def instants(self) -> Iterator[int]:
        for instant in count():
            shutil.rmtree(self._folder)
            self._folder.mkdir()
            self._prepare(self._folder)
            self._as_prepared = results(self.settings)
            yield instant

    def is_as_prepared(self) -> bool:
        now, before = results(self.settings), self._as_prepared
        return all(now.get(name) == before.get(name) for name in now | before if not name.endswith(".run"))

    def go_on(self, instant: int) -> None:
        """To whole results; and once more, where nothing is left to do."""
        again = replace(self.settings, resume=True)
        assert process_video(again, self.model).frames == FRAMES, f"at instant {instant}"
        assert process_video(again, self.model).before, f"at instant {instant}"
        assert results(self.settings) == self._expected, f"at instant {instant}"

    def be_killed_everywhere(self, settings: SegmentSettings, *, fewest: int = FEWEST) -> None:
        """By a run of these settings, at each of its calls in turn, which are more than `fewest`."""
        for instant in self.instants():
            code = in_fork(lambda: process_video(settings, self.model), kill_at(instant))
            self.go_on(instant)
            if code != KILLED:
                break
        assert code == 0
        assert instant > fewest


def nothing(_: Path) -> None:
    pass


def kept(prepare: Callable[[Path], object], tmp_path: Path) -> Callable[[Path], object]:
    """As `prepare`, which is done only once."""

    def copied(folder: Path) -> None:
        if not (tmp_path / "kept").exists():
            prepare(folder)
            shutil.copytree(folder, tmp_path / "kept")
        shutil.copytree(tmp_path / "kept", folder, dirs_exist_ok=True)

    return copied


def die_after(frames: int) -> Callable[[int], None]:
    def on_frame(done: int) -> None:
        if done == frames:
            os._exit(KILLED)

    return on_frame


def killed(clip: Path, model: Model, tmp_path: Path, kind: str) -> None:
    trial = Trial(job(clip, tmp_path / "out", kind), model, nothing)
    trial.be_killed_everywhere(trial.settings)


def killed_twice(clip: Path, model: Model, tmp_path: Path, kind: str) -> None:
    settings = job(clip, tmp_path / "out", kind)

    def killed_once(_: Path) -> None:
        assert in_fork(lambda: process_video(settings, model, on_frame=die_after(3))) == KILLED

    trial = Trial(settings, model, kept(killed_once, tmp_path))
    trial.be_killed_everywhere(replace(settings, resume=True), fewest=FEWEST // 3)


def killed_as_it_replaces(clip: Path, model: Model, tmp_path: Path, kind: str) -> None:
    settings = job(clip, tmp_path / "out", kind)

    def left_by_others(_: Path) -> None:
        """What one has finished, and one with other settings has not."""
        other = replace(settings, alpha=0.9, overwrite=True)
        assert in_fork(lambda: process_video(other, model)) == 0
        assert in_fork(lambda: process_video(replace(other, smooth=False), model, on_frame=die_after(3))) == KILLED

    trial = Trial(settings, model, kept(left_by_others, tmp_path))
    for instant in trial.instants():
        code = in_fork(lambda: process_video(replace(settings, overwrite=True), model), kill_at(instant))
        if instant < LOCKS_AND_MARKS and trial.is_as_prepared():
            with suppress(OutputError):  # it may not have begun: then only --overwrite may touch what is there
                trial.go_on(instant)
            continue
        trial.go_on(instant)
        if code != KILLED:
            break
    assert code == 0
    assert instant > FEWEST


def on_a_full_disk(clip: Path, model: Model, tmp_path: Path, kind: str) -> None:
    trial = Trial(job(clip, tmp_path / "out", kind), model, nothing)
    for instant in trial.instants():
        code = in_fork(lambda: process_video(trial.settings, model), full_from(instant))
        assert code in (0, OUTPUT_ERROR), f"at instant {instant}"
        trial.go_on(instant)
        if code == 0:
            break
    assert instant > FEWEST


@pytest.mark.parametrize("kind", KINDS or ["zip"])
def test_a_run_killed_at_any_call_to_the_file_system_is_whole_once_it_is_resumed(tmp_path: Path, kind: str) -> None:
    in_a_process_of_its_own(partial(killed, kind=kind), tmp_path)


@pytest.mark.parametrize("kind", KINDS or ["folder"])
def test_a_run_that_goes_on_and_is_killed_at_any_call_is_whole_once_it_is_resumed(tmp_path: Path, kind: str) -> None:
    in_a_process_of_its_own(partial(killed_twice, kind=kind), tmp_path)


@pytest.mark.parametrize("kind", KINDS or ["mkv"])
def test_a_run_that_replaces_another_s_and_is_killed_at_any_call_is_whole_once_it_is_resumed(
    tmp_path: Path, kind: str
) -> None:
    in_a_process_of_its_own(partial(killed_as_it_replaces, kind=kind), tmp_path)


@pytest.mark.parametrize("kind", KINDS or ["zip"])
def test_a_run_that_finds_the_disk_full_at_any_call_is_whole_once_it_is_resumed(tmp_path: Path, kind: str) -> None:
    in_a_process_of_its_own(partial(on_a_full_disk, kind=kind), tmp_path)
