"""Whatever goes wrong around a run: one line says it, the exit code too, and what was done is kept under another name.

Each fault is a real one where a test can make it: a small disk and a read-only one are mounted where the system lets
a test do so (in a namespace of its own), processes get signals, files are taken away from under them.
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import cv2
import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.cli import main
from roadmask.stream.decode.source import open_source
from roadmask.stream.system.disk import AppendedFile
from tests.support.clips import times_of
from tests.support.fake_session import FakeRuntime
from tests.support.fault_runs import (
    FRAMES,
    InTheMiddle,
    command,
    faults_in,
    make_noise,
    names_in,
    the_fault,
    told,
)
from tests.support.own_process import LIMIT_S


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_noise(tmp_path_factory.mktemp("clip") / "drive.mkv")


@cache
def has_namespaces() -> bool:
    """Whether a test may mount what only it sees."""
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return done.returncode == 0


mounting = pytest.mark.skipif(not has_namespaces(), reason="mounts a disk in a namespace of its own")


def run_mounted(mount: str, disk: Path, arguments: Sequence[str], kept: Path) -> tuple[int, str]:
    """Run a command where `disk` is mounted, and keep a copy of what is on it."""
    script = f'{mount} "$1" && shift 2 && "$@"; code=$?; cp -r "$0" "$KEPT"; exit $code'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, disk, disk, "--", *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**os.environ, "KEPT": str(kept)},
        check=False,
    )
    return done.returncode, done.stderr


@mounting
def test_a_full_disk_is_one_line_and_what_was_written_plays(clip: Path, model: Path, tmp_path: Path) -> None:
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    arguments = command(clip, "-o", f"{disk}/", model=model)
    code, errors = run_mounted("mount -t tmpfs -o size=900k none", disk, arguments, kept)
    assert code == 1
    faults = faults_in(errors)
    assert 1 <= len(set(faults)) == len(faults) <= 3, "one for each output at most"
    assert all(": cannot be written (No space left on device)" in fault for fault in faults)
    assert names_in(kept) - {"drive_run.json"} == {
        "drive_masks.partial",
        "drive_overlay.partial.mp4",
        "drive_stats.partial.csv",
    }
    with open_masks(kept / "drive_masks.partial") as masks:
        assert 5 < len(list(masks)) < FRAMES
    with open_source(kept / "drive_overlay.partial.mp4") as overlay:  # its last packet is torn
        assert 5 < len(list(overlay.frames(lambda _: (32, 32)))) < FRAMES


@mounting
def test_a_read_only_disk_is_one_line_before_the_work(clip: Path, model: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    arguments = command(clip, "-o", f"{disk}/", model=model)
    code, errors = run_mounted("mount -t tmpfs -o ro none", disk, arguments, tmp_path / "kept")
    assert code == 1
    assert "cannot be written (Read-only file system)" in the_fault(errors)
    assert not names_in(tmp_path / "kept")


IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.mark.skipif(IS_ROOT and not has_namespaces(), reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_one_line(clip: Path, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o500)
    without_rights = ["unshare", "--user"] if IS_ROOT else []
    arguments = [*without_rights, *command(clip, "-o", f"{folder}/", model=model)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 1
    assert "cannot be written (Permission denied)" in the_fault(done.stderr)


@pytest.mark.parametrize("masks", ["masks", "masks.zip", "masks.mkv"])
def test_a_quota_that_is_used_up_is_one_line_and_leaves_whole_masks(
    clip: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    masks: str,
) -> None:
    real, left = Path.open, itertools.count(20, -1)

    class WithinQuota(io.FileIO):
        def write(self, piece: Any) -> int:
            if next(left) <= 0:
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
            return super().write(piece)

    def opened(path: Path, mode: str = "r", buffering: int = -1, **named: Any) -> Any:
        is_within = buffering == 0 and masks in str(path).replace(".partial", "")
        return WithinQuota(path, mode) if is_within else real(path, mode, buffering, **named)

    monkeypatch.setattr(Path, "open", opened)
    assert main(command(clip, "--masks", tmp_path / masks, model=model)[3:]) == 1
    assert f"{masks}: cannot be written (Disk quota exceeded)" in the_fault(capsys.readouterr().err)
    (partial,) = names_in(tmp_path)
    assert ".partial" in partial
    with open_masks(tmp_path / partial) as archive:
        assert 5 < len(list(archive)) < 30


def test_results_that_are_taken_away_under_a_run_are_told_in_one_line(clip: Path, model: Path, tmp_path: Path) -> None:
    run = InTheMiddle(clip, model, tmp_path / "out")
    gone = (tmp_path / "out").rename(tmp_path / "gone")  # at once, as the run goes on making files there
    shutil.rmtree(gone, ignore_errors=True)
    code, errors = run.go()
    assert code == 1
    assert "cannot be written (No such file or directory)" in the_fault(errors)


def test_of_results_taken_away_when_all_is_written_the_end_is_no_success(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = AppendedFile.close

    def taken(file: AppendedFile) -> None:
        sync(file)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)

    monkeypatch.setattr(AppendedFile, "close", taken)
    arguments = command(clip, "--masks", tmp_path / "out/masks.zip", "--max-frames", 5, model=model)[3:]
    assert main(arguments) == 1
    assert "masks.zip: cannot be written (No such file or directory)" in the_fault(capsys.readouterr().err)


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_of_a_video_that_grows_all_that_is_there_comes_out(
    clip: Path, model: Path, tmp_path: Path, suffix: str
) -> None:
    whole = as_container(clip, tmp_path / f"whole{suffix}").read_bytes()
    growing = tmp_path / f"drive{suffix}"
    growing.write_bytes(whole[: len(whole) // 2])
    run = InTheMiddle(growing, model, tmp_path / "out")
    with growing.open("ab") as file:
        file.write(whole[len(whole) // 2 :])
    code, errors = run.go()
    assert code in (0, 3), errors  # a frame that was cut in two may be damaged
    told(errors)
    with open_masks(tmp_path / "out/drive_masks") as masks:
        assert FRAMES // 2 - 30 <= len(list(masks)) <= FRAMES
        assert [record.index for record in masks.records] == list(range(len(masks)))
        assert len(times_of(tmp_path / "out/drive_overlay.mp4")) == len(masks)


def test_an_mp4_that_is_still_being_written_is_told_in_one_line(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = as_container(clip, tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "drive.mp4").write_bytes(content[: len(content) // 2])
    assert main(command(tmp_path / "drive.mp4", "-o", f"{tmp_path}/out/", model=model)[3:]) == 1
    assert "drive.mp4: not a video that can be read" in the_fault(capsys.readouterr().err)


def test_a_video_that_is_deleted_while_it_is_read_comes_out_whole(clip: Path, model: Path, tmp_path: Path) -> None:
    source = tmp_path / clip.name
    source.write_bytes(clip.read_bytes())
    run = InTheMiddle(source, model, tmp_path / "out")
    source.unlink()
    code, errors = run.go()
    assert (code, told(errors)) == (0, [])
    assert times_of(tmp_path / "out/drive_overlay.mp4") == times_of(clip)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_video_that_is_cut_while_it_is_read_is_partial(clip: Path, model: Path, tmp_path: Path, suffix: str) -> None:
    source = as_container(clip, tmp_path / f"drive{suffix}")
    run = InTheMiddle(source, model, tmp_path / "out")
    os.truncate(source, source.stat().st_size * 2 // 3)
    code, errors = run.go()
    assert code == 3, errors
    told(errors)
    with open_masks(tmp_path / "out/drive_masks") as masks:
        assert FRAMES // 2 < len(list(masks)) < FRAMES
        assert len(times_of(tmp_path / "out/drive_overlay.mp4")) == len(masks)


def as_container(clip: Path, path: Path) -> Path:
    """The clip's pictures in another container, which has its index at its beginning."""
    options = {"movflags": "faststart"} if path.suffix == ".mp4" and path.stem != "whole" else {}
    with av.open(clip) as source, av.open(path, "w", container_options=options) as target:
        twin = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = twin
                target.mux(packet)
    return path


def resolve(where: str) -> Callable[..., object]:
    module, _, name = where.rpartition(".")
    function: Callable[..., object] = getattr(import_module(module), name)
    return function


def raising(error: Exception, function: Callable[..., object], *, after: int) -> Callable[..., object]:
    """As the function, but it raises from the `after`-th call on."""
    calls = itertools.count()

    def call(*arguments: object, **options: object) -> object:
        if next(calls) >= after:
            raise error
        return function(*arguments, **options)

    return call


NO_ROOM = cv2.error("OpenCV(5.0.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 3600000000 bytes")


READ = "roadmask.stream.decode.source.network_input"


STAGES = {
    "decode": (READ, MemoryError()),
    "decode, in FFmpeg": (
        "roadmask.stream.decode.source.network_input",
        av.error.MemoryError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ),
    "decide": ("cv2.resize", NO_ROOM),
    "write": ("roadmask.stream.archive.mask_sink.record_of", MemoryError("Unable to allocate 8.00 GiB")),
}


@pytest.mark.parametrize("stage", STAGES)
def test_memory_that_runs_out_in_any_stage_is_one_line_with_what_to_lower(
    clip: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stage: str,
) -> None:
    monkeypatch.setattr("roadmask.stream.run.stages.EVERY_S", 0)
    arguments = command(clip, "-o", f"{tmp_path}/", model=model)[3:]
    where, error = STAGES[stage]
    with monkeypatch.context() as patch:
        patch.setattr(where, raising(error, resolve(where), after=40))
        assert main(arguments) == 1
    fault = the_fault(capsys.readouterr().err)
    assert re.search(r"drive\.mkv: out of memory \(.+\); lower --jobs, --workers or --batch$", fault)
    assert "drive_masks.partial" in names_in(tmp_path)
    assert main([*arguments, "--resume"]) == 0
    assert len(times_of(tmp_path / "drive_overlay.mp4")) == FRAMES


def test_a_device_that_fails_in_mid_run_is_named_and_the_run_goes_on_later(
    clip: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("roadmask.stream.run.stages.EVERY_S", 0)
    arguments = [*command(clip, "-o", f"{tmp_path}/", model=model)[3:], "--device", "cuda"]
    with monkeypatch.context() as patch:
        runtime = FakeRuntime(patch)
        runtime.failure, runtime.fails_after = RuntimeError("CUDA failure 719: unspecified launch failure"), 10
        assert main(arguments) == 1
    (fault,) = (line for line in faults_in(capsys.readouterr().err) if "encodes the overlay" not in line)
    assert "device 'cuda' has failed (CUDA failure 719: unspecified launch failure); try again" in fault
    assert names_in(tmp_path) - {"drive_run.json"} == {
        "drive_masks.partial",
        "drive_overlay.partial.mp4",
        "drive_stats.partial.csv",
    }
    with monkeypatch.context() as patch:
        FakeRuntime(patch)
        assert main([*arguments, "--resume"]) == 0
    assert len(times_of(tmp_path / "drive_overlay.mp4")) == FRAMES
