"""Recording in parts: where one begins, what it is called, what is deleted, and what a crash leaves."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.camera.parts import PartNames, PartsSink
from roadmask.stream.commands.options import parse_duration
from roadmask.stream.encode.h264 import Encoding
from roadmask.stream.encode.overlay import Overlay
from roadmask.stream.encode.video_sink import OverlayVideoSink
from roadmask.stream.errors import OutputError
from roadmask.stream.frames import SegmentedFrame, Sink, VideoInfo
from roadmask.stream.stats.stats import CsvStatsSink
from roadmask.stream.system.disk import partial_path
from tests.support.clips import SPEC, open_archive_sink, times_of, video_info
from tests.support.full_disk import full_disk
from tests.support.own_process import python
from tests.support.power import Disk
from tests.support.seen import seen
from tests.support.waiting import until

DAY_S = 86400
Make = Callable[[Path, VideoInfo], Sink]


def overlay(path: Path, info: VideoInfo) -> Sink:
    return OverlayVideoSink(path, info, Overlay(SPEC.classes).render)


def masks(path: Path, info: VideoInfo) -> Sink:
    return open_archive_sink(path, info, SPEC)


def stats(path: Path, _: VideoInfo) -> Sink:
    return CsvStatsSink(path, SPEC)


def record(
    path: Path,
    results: list[SegmentedFrame],
    make: Make = overlay,
    *,
    segment_time_s: float | None = None,
    keep_s: float | None = None,
) -> list[Path]:
    with PartsSink(path, make, segment_time_s=segment_time_s, keep_s=keep_s) as sink:
        for result in results:
            sink.write(result)
    return sorted(path.parent.iterdir())


def playable(path: Path) -> int:
    """Frames, as a player shows them: up to the one whose bytes end too early."""
    count = 0
    with av.open(path) as container:
        for packet in container.demux(video=0):
            with suppress(av.error.InvalidDataError):
                count += len(packet.decode())
    return count


def aged(path: Path, days: float) -> Path:
    os.utime(path, (time.time() - days * DAY_S,) * 2)
    return path


def stamp(days: float = 0) -> str:
    return datetime.fromtimestamp(time.time() - days * DAY_S, UTC).strftime("%Y-%m-%d_%H-%M-%SZ")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_parts_of_a_second_hold_every_frame_begin_at_0_and_with_a_keyframe(tmp_path: Path, suffix: str) -> None:
    parts = record(tmp_path / f"front{suffix}", seen(60, first=1), segment_time_s=1)
    assert [times_of(part) for part in parts] == [
        [Fraction(number, 25) for number in range(count)] for count in (25, 25, 10)
    ]
    for part in parts:
        with av.open(part) as container:
            assert next(container.demux(video=0)).is_keyframe


def test_without_a_length_a_part_goes_on(tmp_path: Path) -> None:
    assert len(record(tmp_path / "front.mp4", seen(60, first=1))) == 1


def test_another_picture_begins_another_part(tmp_path: Path) -> None:
    larger = video_info(96, 64)
    parts = record(tmp_path / "front.mp4", [*seen(5, first=1), *seen(7, first=6, info=larger), *seen(3, first=13)])
    pictures = []
    for part in parts:
        with av.open(part) as container:
            frames = list(container.decode(video=0))
            pictures.append((len(frames), frames[0].width, frames[0].height))
    assert pictures == [(5, 64, 48), (7, 96, 64), (3, 64, 48)]


@pytest.mark.parametrize("name", ["front_masks", "front_masks.zip", "front_masks.mkv"])
def test_masks_are_recorded_in_parts_too(tmp_path: Path, name: str) -> None:
    parts = record(tmp_path / name, seen(40, first=1), masks, segment_time_s=1)
    found = []
    for part in parts:
        with open_masks(part) as archive:
            found.append([(item.index, item.pts) for item in archive.records])
    assert [item for part in found for item, _ in part] == list(range(1, 41))
    assert [part[0][1] for part in found] == [0, 0]


def test_statistics_are_recorded_in_parts_too(tmp_path: Path) -> None:
    parts = record(tmp_path / "front.csv", seen(40, first=1), stats, segment_time_s=1)
    rows = [part.read_text().splitlines() for part in parts]
    assert [(len(part), part[1].split(",")[:2]) for part in rows] == [(26, ["1", "0.000000"]), (16, ["26", "0.000000"])]


def test_a_part_has_the_time_in_utc_at_which_its_first_frame_came(tmp_path: Path) -> None:
    (part,) = record(tmp_path / "front_overlay.mp4", seen(3, first=1, arrived=time.monotonic() - 3600))
    found = re.fullmatch(r"front_overlay_(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\dZ)\.mp4", part.name)
    assert found
    began = datetime.strptime(found[1], "%Y-%m-%d_%H-%M-%SZ").replace(tzinfo=UTC).timestamp()
    assert abs(began - (time.time() - 3600)) < 30


def test_a_second_part_of_the_same_second_does_not_write_over_the_first(tmp_path: Path) -> None:
    names = PartNames(tmp_path / "front.mp4")
    for name in (
        "front_2026-03-29_01-00-00Z.mp4",
        "front_2026-03-29_01-00-00Z_2.mp4",
        "front_2026-03-29_01-00-00Z_3.mp4",
    ):
        path = names.new(datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp())
        assert path.name == name
        (path if name.endswith("Z_2.mp4") else partial_path(path)).touch()  # one that is being written counts too


def test_old_parts_are_deleted_and_nothing_else(tmp_path: Path) -> None:
    old, young = stamp(3), stamp(1)
    gone = [f"front_{old}.mp4", f"front_{old}_2.mp4", f"front_{old}_unfinished.mp4"]
    kept = [
        f"front_{young}.mp4",
        "front.mp4",
        f"front_{old}.mkv",
        f"front_{old}_best of.mp4",
        f"back_{old}.mp4",
        f"front_overlay_{old}.mp4",
        f"my front_{old}.mp4",
        "front_2026-99-99.mp4",
    ]
    for name in [*gone, *kept]:
        (tmp_path / name).write_text("video")
        aged(tmp_path / name, 1 if name == kept[0] else 3)
    (tmp_path / f"front_{old}_3.mp4").mkdir()  # no part: those are files
    (tmp_path / f"front_{old}_4.mp4").symlink_to(tmp_path / "front.mp4")
    parts = record(tmp_path / "front.mp4", seen(3, first=1), keep_s=2 * DAY_S)
    assert {part.name for part in parts} >= {*kept, f"front_{old}_3.mp4", f"front_{old}_4.mp4"}
    assert not {part.name for part in parts} & set(gone)


def test_a_name_with_a_date_that_never_was_is_no_part_and_stays(tmp_path: Path) -> None:
    named = [tmp_path / f"front_{time}.mp4" for time in ("2026-02-31_10-00-00Z", "2026-13-01_10-00-00Z")]
    named.append(tmp_path / "front_2026-01-01_25-00-00Z.partial.mp4")
    for path in named:
        path.write_bytes(b"mine")
        os.utime(path, (0, 0))
    record(tmp_path / "front.mp4", seen(3), keep_s=DAY_S)
    assert {path for path in named if path.exists()} == set(named)


def test_a_folder_of_masks_is_deleted_whole_if_it_is_one(tmp_path: Path) -> None:
    ours, users = tmp_path / f"front_{stamp(3)}", tmp_path / f"front_{stamp(4)}"
    for folder, name in ((ours, "classes.json"), (users, "holiday.jpg")):
        folder.mkdir()
        (folder / name).touch()
        aged(folder, 3)
    parts = record(tmp_path / "front", seen(3, first=1), masks, keep_s=2 * DAY_S)
    assert users in parts
    assert ours not in parts


def test_a_part_that_went_on_until_now_is_young_whenever_it_began(tmp_path: Path) -> None:
    (tmp_path / f"front_{stamp(30)}.mp4").write_text("video")
    assert len(record(tmp_path / "front.mp4", seen(3, first=1), keep_s=DAY_S)) == 2


def test_old_parts_are_deleted_while_the_recording_goes_on(tmp_path: Path) -> None:
    with PartsSink(tmp_path / "front.mp4", overlay, segment_time_s=1, keep_s=DAY_S) as sink:
        for result in seen(10, first=1):
            sink.write(result)
        old = tmp_path / f"front_{stamp(3)}.mp4"
        old.write_text("video")
        aged(old, 2)
        for result in seen(30, first=11):
            sink.write(result)
        until(lambda: not old.exists(), what="the old part is deleted")


def test_a_part_that_cannot_be_deleted_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / f"front_{stamp(3)}.mp4"
    old.write_text("video")
    aged(old, 3)

    unlink = Path.unlink

    def refuse(path: Path, **options: bool) -> None:
        if path == old:
            raise PermissionError(13, "Permission denied")
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert len(record(tmp_path / "front.mp4", seen(3, first=1), keep_s=DAY_S)) == 2
    assert f"{old}: is older than --keep, but cannot be deleted (Permission denied)" in caplog.messages


KILLED = """
    import os, signal
    from pathlib import Path
    from {module} import *

    with PartsSink(Path({path!r}), {make}, segment_time_s=4) as sink:
        for result in seen(1000, first=1):
            if result.frame.index == {at}:
                os.kill(os.getpid(), signal.SIGKILL)
            sink.write(result)
"""


def record_until_killed(path: Path, make: str, *, at: int) -> None:
    script = KILLED.format(module=__name__, path=str(path), make=make, at=at)
    ended = subprocess.run(python(script), check=False)
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.parametrize("name", ["front.mp4", "front.mkv"])
def test_a_killed_run_leaves_parts_that_play_and_the_next_run_harms_none(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    record_until_killed(tmp_path / name, "overlay", at=190)
    whole, cut = sorted(tmp_path.glob("front_*"), key=lambda path: ".partial" in path.name)
    assert len(times_of(whole)) == 100
    left = times_of(cut)
    assert len(left) >= 50  # of 89: what the encoder and a fragment of a second held is lost
    record(tmp_path / name, seen(3, first=1))
    rescued = cut.with_name(cut.name.replace(".partial", "_unfinished"))
    assert f"{cut}: left by a run that did not end well; it is called {rescued.name} now" in caplog.messages
    assert times_of(rescued) == left
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("name", ["front", "front.zip"])
def test_masks_of_a_killed_run_are_found_under_a_name_of_their_own(tmp_path: Path, name: str) -> None:
    record_until_killed(tmp_path / name, "masks", at=50)
    record(tmp_path / name, seen(3, first=1), masks)
    (rescued,) = tmp_path.glob("front_*_unfinished*")
    if rescued.is_dir():
        assert len(list(rescued.glob("*.png"))) == 49
        assert len((rescued / "manifest.jsonl").read_text().splitlines()) == 49
        assert json.loads((rescued / "classes.json").read_text())
    else:
        assert rescued.read_bytes().count(b"\x89PNG") >= 40  # the last ones wait for the disk's block to be full


def test_two_runs_do_not_record_under_one_name(tmp_path: Path) -> None:
    path = tmp_path / "front.mp4"
    with PartsSink(path, overlay) as sink:
        sink.write(seen(1, first=1)[0])
        (in_progress,) = tmp_path.glob("*.partial.mp4")
        with (
            pytest.raises(OutputError, match=r"front\.mp4: is being recorded by another roadmask"),
            PartsSink(path, overlay),
        ):
            pass
        assert in_progress.exists()
        with PartsSink(tmp_path / "back.mp4", overlay):
            pass
    assert len(record(path, seen(3, first=1))) == 2  # and after it, they may


def test_a_part_that_nothing_was_written_to_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / f"front_{stamp()}.partial.mp4").touch()
    assert len(record(tmp_path / "front.mp4", seen(3, first=1))) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
@pytest.mark.parametrize(
    ("name", "make"), [("front.mp4", overlay), ("front_masks", masks), ("front.zip", masks), ("front.csv", stats)]
)
def test_a_part_that_is_whole_outlives_a_power_cut_and_no_frame_waits_for_that(
    name: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, may_sync, threads = Disk(monkeypatch), threading.Event(), set()
    sync = os.fsync

    def slow(descriptor: int) -> None:
        threads.add(threading.current_thread())
        assert may_sync.wait(60)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    with PartsSink(tmp_path / name, make, segment_time_s=1) as sink:
        for result in seen(60, first=1):  # of three parts, while the disk is busy with the first
            sink.write(result)
        assert sink.parts == 3
        may_sync.set()
    assert threading.current_thread() not in threads
    made = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
    assert len(made) >= 3
    assert [path.name for path in made if not disk.has(path) or not disk.has_name(path)] == []


def test_a_part_that_the_disk_does_not_take_is_told_and_the_recording_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    assert len(record(tmp_path / "front.mp4", seen(60, first=1), segment_time_s=1)) == 3
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    assert all("may be lost in a power cut, as it cannot be synced (Input/output error)" in line for line in told)


def test_a_full_disk_is_one_line_and_leaves_what_was_recorded(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 48, 64), np.uint8)

    def noisy(result: SegmentedFrame) -> av.VideoFrame:
        picture = Overlay(SPEC.classes).render(result)
        picture.planes[0].update(noise[result.frame.index % 64].tobytes())
        return picture

    def make(path: Path, info: VideoInfo) -> Sink:
        return OverlayVideoSink(path, info, noisy, encoding=Encoding(crf=1))

    names = PartNames(tmp_path / "front.mp4")
    whole = record(tmp_path / "front.mp4", seen(20, first=1), make)
    with full_disk(200_000), pytest.raises(OutputError, match=r"front\.mp4: the disk is full; .*--keep") as caught:
        record(tmp_path / "front.mp4", seen(200, first=1), make)
    assert "\n" not in str(caught.value)
    (cut,) = tmp_path.glob("*.partial.mp4")
    left = playable(cut)
    assert left >= 10
    assert len(times_of(whole[0])) == 20
    names.rescue()
    assert playable(next(tmp_path.glob("*_unfinished.mp4"))) == left


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("90", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("48h", 172800),
        ("7d", 604800),
        (" 1H 30 m", 5400),
        ("1.5h", 5400),
    ],
)
def test_durations_are_written_as_people_do(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0m", "ten", "10x", "30m1h", "-5m", "1:30"])
def test_what_is_no_duration_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=rf"{re.escape(repr(text))} is no length of time; write 90s, 10m"):
        parse_duration(text)
