"""Outputs belong to one run at a time, until they are whole: nothing that is another's is touched unasked."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np
import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.archive.convert import convert_archive
from roadmask.stream.commands import run_files
from roadmask.stream.encode.palette import load_palette
from roadmask.stream.errors import OutputError
from roadmask.stream.masks.carry import parse_every
from roadmask.stream.masks.ignore import parse_ignored
from roadmask.stream.network.model import Model
from roadmask.stream.run import stages
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import Report, SegmentSettings, run_identity
from roadmask.stream.system.hold import Taken, held, hold
from tests.support.clips import cfr, make_clip, times_of
from tests.support.color_model import write_color_model
from tests.support.fault_runs import InTheMiddle, make_noise, the_fault
from tests.support.file_content import content
from tests.support.run_command import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")

FRAMES = 12
TAKEN = "another run is writing it; wait for its end, or name another output"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "a.mp4", cfr(FRAMES), size=(32, 48))


@pytest.fixture(scope="module")
def network(model: Path) -> Model:
    return Model.load(model, device="cpu", threads=1, workers=1)


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def saves_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "EVERY_S", 0.0)


def job(clip: Path, folder: Path, *names: str) -> SegmentSettings:
    by_kind = {{"o": "overlay", "m": "masks", "s": "stats"}[name[0]]: folder / name for name in names}
    return SegmentSettings(clip, preset="ultrafast", **by_kind)  # type: ignore[arg-type]


class Killed(BaseException):
    """As abrupt as a signal: nobody catches it."""


def killed_at(frames: int, settings: SegmentSettings, network: Model) -> None:
    def on_frame(done: int) -> None:
        if done == frames:
            raise Killed

    with pytest.raises(Killed):
        process_video(settings, network, on_frame=on_frame)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# Two runs at once.


@pytest.mark.parametrize("option", ["", "--resume", "--overwrite"])
def test_of_two_runs_on_one_output_the_second_ends_at_once_in_one_line(
    clip: Path, model: Path, network: Model, tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = job(clip, tmp_path, "o.mp4", "m.zip", "s.csv")
    second = [clip, "--masks", tmp_path / "m.zip", "--stats", tmp_path / "t.csv", *filter(None, [option])]
    codes = []

    def on_frame(frames: int) -> None:
        if frames == 5:
            codes.append(run(*second, model=model))

    process_video(settings, network, on_frame=on_frame)
    assert codes == [1]
    assert the_fault(capsys.readouterr().err) == f"roadmask: {tmp_path}/m.zip: {TAKEN}"
    assert names_in(tmp_path) == {"o.mp4", "m.zip", "s.csv"}
    assert len(times_of(tmp_path / "o.mp4")) == FRAMES
    with open_masks(tmp_path / "m.zip") as masks:
        assert len(list(masks)) == FRAMES


def test_a_run_into_a_folder_is_held_against_other_processes(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = make_noise(tmp_path / "drive.mkv")
    first = InTheMiddle(noise, model, tmp_path / "out")
    arguments = [noise, "-o", f"{tmp_path}/out/", "--overwrite"]
    assert run(*arguments, model=model) == 1
    assert TAKEN in the_fault(capsys.readouterr().err)
    code, errors = first.go()
    assert code == 0, errors
    assert not [name for name in names_in(tmp_path / "out") if name.startswith(".")]


@pytest.mark.logs_errors
def test_in_a_batch_a_file_that_another_run_holds_fails_by_itself(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "drives").mkdir()
    for name in "abc":
        shutil.copy(clip, tmp_path / f"drives/{name}.mp4")
    with held([tmp_path / "out/b_overlay.mp4"]):
        assert run(tmp_path / "drives", "-o", f"{tmp_path}/out/", model=model) == 3
    errors = capsys.readouterr().err
    assert f"b_overlay.mp4: {TAKEN}" in errors
    assert "2 done, 1 failed" in errors
    assert not [name for name in names_in(tmp_path / "out") if name.startswith((".", "b_"))]


def test_what_is_converted_is_held_too(clip: Path, network: Model, tmp_path: Path) -> None:
    process_video(job(clip, tmp_path, "m.zip"), network)
    with held([tmp_path / "masks"]), pytest.raises(OutputError, match=TAKEN):
        convert_archive(tmp_path / "m.zip", tmp_path / "masks", overwrite=True)
    assert names_in(tmp_path) == {"m.zip"}


def test_a_lock_that_its_holder_has_removed_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = tmp_path / "lock", fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        """Between opening and locking, the one that held it removes it, and a third one makes it anew."""
        monkeypatch.setattr(fcntl, "flock", real)
        path.unlink()
        path.touch()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with hold(path), pytest.raises(Taken), hold(path):
        pass
    assert not path.exists()


def test_where_nothing_can_be_locked_a_run_says_so_once_and_goes_on(
    clip: Path, network: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert process_video(job(clip, tmp_path, "o.mp4", "s.csv"), network).frames == FRAMES
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path}: cannot be locked (No locks available)")
    assert names_in(tmp_path) == {"o.mp4", "s.csv"}


# What is not a run's own.


def test_files_called_partial_that_are_not_the_run_s_are_refused_in_one_line_and_kept(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.partial").mkdir()
    for name in ("m.partial/thesis.txt", "o.partial.mp4", "o.earlier.partial.mp4", "s.parquet.partial.csv"):
        (tmp_path / name).write_text("mine")
    before = content(tmp_path)
    for option, name in [("--overlay", "o.mp4"), ("--masks", "m"), ("--stats", "s.parquet")]:
        for more in ([], ["--resume"]):
            assert run(clip, option, tmp_path / name, *more, model=model) == 1
            assert "is there, and not of this run; move it away, or pass --overwrite" in the_fault(
                capsys.readouterr().err
            )
    assert content(tmp_path) == before
    everything = ["--overlay", tmp_path / "o.mp4", "--masks", tmp_path / "m", "--stats", tmp_path / "s.parquet"]
    assert run(clip, *everything, "--overwrite", model=model) == 0
    assert names_in(tmp_path) == {"o.mp4", "m", "s.parquet"}


@pytest.mark.parametrize("frames", [1, 7])
@pytest.mark.parametrize("saves", [False, True])
def test_what_an_earlier_run_has_written_is_not_thrown_away_unasked(
    clip: Path, network: Model, tmp_path: Path, frames: int, saves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "EVERY_S", 0.0 if saves else 60.0)
    settings = job(clip, tmp_path, "o.mp4", "m")
    killed_at(frames, settings, network)
    before = content(tmp_path)
    with pytest.raises(OutputError, match=r"an earlier run (was )?stopped.*; pass --resume .+ or --overwrite"):
        process_video(settings, network)
    assert content(tmp_path) == before
    assert process_video(replace(settings, resume=True), network).frames == FRAMES


@pytest.mark.usefixtures("saves_always")
def test_a_run_of_some_of_the_outputs_does_not_destroy_that_of_all(clip: Path, network: Model, tmp_path: Path) -> None:
    both, alone = job(clip, tmp_path, "o.mp4", "m.zip"), job(clip, tmp_path, "m.zip")
    killed_at(7, both, network)
    before = content(tmp_path)
    for changes in ({}, {"resume": True}):
        with pytest.raises(OutputError, match=r"m\.partial\.zip: is there, and not of this run"):
            process_video(replace(alone, **changes), network)  # type: ignore[arg-type]
    assert content(tmp_path) == before
    assert process_video(replace(both, resume=True), network).resumed == 7


@pytest.mark.usefixtures("saves_always")
@pytest.mark.parametrize("frames", [5, FRAMES])
def test_what_another_run_was_told_to_replace_is_not_taken_back(
    clip: Path, network: Model, tmp_path: Path, frames: int
) -> None:
    both, alone = job(clip, tmp_path, "o.mp4", "m.zip"), job(clip, tmp_path, "m.zip")
    killed_at(7, both, network)
    second = replace(alone, overwrite=True, smooth=False)
    if frames == FRAMES:
        process_video(second, network)
    else:
        killed_at(frames, second, network)
    before = content(tmp_path)
    with pytest.raises(OutputError, match=r"m\.zip: another run has written it since, so this one cannot go on"):
        process_video(replace(both, resume=True), network)
    assert content(tmp_path) == before


@pytest.mark.usefixtures("saves_always")
def test_what_has_come_under_an_output_s_name_since_the_run_was_killed_is_not_replaced(
    clip: Path, network: Model, tmp_path: Path
) -> None:
    settings = job(clip, tmp_path, "o.mp4", "s.csv")
    killed_at(7, settings, network)
    (tmp_path / "s.csv").write_text("mine")
    before = content(tmp_path)
    again = replace(settings, resume=True)
    with pytest.raises(OutputError, match=r"s\.csv: exists, and is not of this run; pass --overwrite to replace it"):
        process_video(again, network)
    assert content(tmp_path) == before
    assert process_video(replace(again, overwrite=True), network).resumed == 7


# A run that is over.


@pytest.mark.parametrize("names", [["o.mp4"], ["m"], ["m.mkv"], ["s.csv"], ["s.parquet"], ["o.mkv", "m.zip", "s.csv"]])
def test_a_finished_run_that_is_resumed_is_done_and_says_so(
    clip: Path, model: Path, tmp_path: Path, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"o": "--overlay", "m": "--masks", "s": "--stats"}
    arguments = [clip, *(word for name in names for word in (options[name[0]], tmp_path / name))]
    assert run(*arguments, model=model) == 0
    before = {path: (path.stat().st_mtime_ns, content(path)) for path in tmp_path.iterdir()}
    assert {path.name for path in before} == set(names)
    for _ in range(2):
        capsys.readouterr()
        assert run(*arguments, "--resume", model=model) == 0
        assert f"a.mp4: {FRAMES} frames, done before" in capsys.readouterr().err
    for option, words in [("--alpha", "--alpha was 0.5, is now 0.3"), ("--stride", "--stride was 1, is now 3")]:
        assert run(*arguments, "--resume", option, words[-1] if option == "--stride" else "0.3", model=model) == 1
        assert f"made before, but {words}; pass --overwrite to make it anew" in the_fault(capsys.readouterr().err)
    assert {path: (path.stat().st_mtime_ns, content(path)) for path in tmp_path.iterdir()} == before


def test_what_was_changed_since_it_was_finished_is_not_done(clip: Path, network: Model, tmp_path: Path) -> None:
    settings = job(clip, tmp_path, "o.mp4", "s.csv")
    process_video(settings, network)
    with (tmp_path / "s.csv").open("a") as file:
        file.write("mine\n")
    with pytest.raises(OutputError, match=r"o\.mp4: exists, and no run is left to go on with"):
        process_video(replace(settings, resume=True), network)


def test_a_damaged_video_that_was_done_as_far_as_it_goes_is_done(model: Path, tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mkv", cfr(60), size=(48, 64), codec="mjpeg").read_bytes()
    (tmp_path / "a.mkv").write_bytes(whole[: len(whole) // 2])
    arguments = [tmp_path / "a.mkv", "--masks", tmp_path / "m.zip"]
    assert run(*arguments, model=model) == 3
    assert run(*arguments, "--resume", model=model) == 0


@pytest.mark.parametrize("output", ["o.mp4", "d/"])
def test_a_run_that_was_killed_before_it_had_begun_begins(clip: Path, model: Path, tmp_path: Path, output: str) -> None:
    first = tmp_path / output / "a_overlay.mp4" if output.endswith("/") else tmp_path / output
    first.with_name(f".{first.name}.progress").mkdir(parents=True)
    first.with_name(f".{first.name}.run").touch()
    assert run(clip, "-o", f"{tmp_path}/{output}", "--resume", model=model) == 0
    assert len(times_of(first)) == FRAMES


def test_a_run_that_was_stopped_in_its_first_second_is_gone_on_with(clip: Path, network: Model, tmp_path: Path) -> None:
    settings, stop = job(clip, tmp_path, "o.mp4", "m.zip"), Event()
    process_video(settings, network, stop=stop, on_frame=lambda frames: stop.set() if frames == 3 else None)
    assert len(times_of(tmp_path / "o.mp4")) < FRAMES
    assert process_video(replace(settings, resume=True), network).frames == FRAMES
    assert len(times_of(tmp_path / "o.mp4")) == FRAMES
    assert names_in(tmp_path) == {"o.mp4", "m.zip"}


def test_another_model_s_finished_run_is_refused_by_name(clip: Path, model: Path, tmp_path: Path) -> None:
    assert run(clip, "-o", tmp_path / "o.mp4", model=model) == 0
    other = write_color_model(tmp_path / "other.onnx", batch="n")
    assert run(clip, "-o", tmp_path / "o.mp4", "--resume", model=other) == 1


# What of `SegmentSettings` leaves the pictures, masks and rows of a file as they are.
NO_MATTER = {
    *("batch", "max_pixels", "decode", "picture", "label", "segment_s", "keep_s", "remote"),
    *("resume", "overwrite", "keep_times", "held", "noted"),
}
OTHERWISE: dict[str, Any] = (
    {"overlay": "o.mkv", "masks": "m.zip", "stats": "s.csv", "alpha": 0.7, "crf": 30, "preset": "slow"}
    | {"classes": ("Road",), "exclude": ("Road",), "blur": ("Car",), "renamed": (("Car", "Auto"),)}
    | {"palette": load_palette("camvid"), "style": "outline", "legend": "auto", "encoder": "libx264"}
    | {"ignore": parse_ignored("top:5%"), "stream": 1, "picture_rate": Fraction(10), "deinterlace": "on"}
    | {"start": Fraction(1), "end": Fraction(9), "stride": 2, "max_frames": 5}
    | {"smooth": False, "reuse": True, "every": parse_every(3), "metadata": False}
)


@pytest.mark.parametrize("name", [item.name for item in fields(SegmentSettings) if item.name not in NO_MATTER])
def test_whatever_shapes_what_is_made_makes_another_run(name: str, clip: Path, network: Model, tmp_path: Path) -> None:
    settings = job(clip, tmp_path, "o.mp4")
    other = make_clip(tmp_path / "b.mp4", cfr(3), size=(32, 48)) if name == "source" else OTHERWISE[name]
    assert run_identity(replace(settings, **{name: other}), network) != run_identity(settings, network)


def test_numbered_pictures_that_cannot_be_begun_in_the_middle_begin_anew(network: Model, tmp_path: Path) -> None:
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"p_{number:03d}.png"), np.full((32, 48, 3), 40 * number, np.uint8))
    (tmp_path / "out").mkdir()
    settings = job(tmp_path / "p_%03d.png", tmp_path / "out", "o.mp4", "m.zip")
    killed_at(3, settings, network)
    with pytest.raises(OutputError, match="an earlier run was stopped; pass --resume"):
        process_video(settings, network)
    again = replace(settings, resume=True)
    assert process_video(again, network).frames == 6
    assert names_in(tmp_path / "out") == {"o.mp4", "m.zip"}
    assert process_video(again, network).before
    (tmp_path / "p_005.png").unlink()
    with pytest.raises(OutputError, match=r"made before, but source was p_%03d.png \(6 pictures"):
        process_video(again, network)


@pytest.mark.logs_errors
@pytest.mark.usefixtures("saves_always")
def test_a_batch_that_was_killed_goes_on_with_what_it_had_begun(
    clip: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "drives").mkdir()
    shutil.copy(clip, tmp_path / "drives/a.mp4")
    reports = []

    def recorded(*arguments: Any, **named: Any) -> Report:
        on_frame = named.pop("on_frame")

        def die(frames: int) -> None:
            on_frame(frames)
            if frames == 7 and not reports:
                reports.append(None)
                raise Killed

        reports.append(process_video(*arguments, on_frame=die, **named))
        return reports[-1]

    monkeypatch.setattr(run_files, "process_video", recorded)
    arguments = [tmp_path / "drives", "-o", f"{tmp_path}/out/", "--device", "cpu"]
    assert run(*arguments, model=model) == 1
    assert run(*arguments, model=model) == 0
    assert (reports[-1].frames, reports[-1].resumed) == (FRAMES, 7)
