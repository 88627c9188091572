"""Watched folders, look by look: what is whole, what has changed, what is forgotten."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

from roadmask.stream.batch.batch import Outcome
from roadmask.stream.batch.ledger import Ledger
from roadmask.stream.batch.summary import open_summary
from roadmask.stream.batch.video_files import VideoFile
from roadmask.stream.batch.watched import Watch, is_whole, watched_folders
from roadmask.stream.batch.workload import Workload
from roadmask.stream.errors import SourceError
from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import SegmentSettings
from tests.support.clips import cfr, make_clip
from tests.support.waiting import until


class Watching:
    """A watch of folders that looks when it is told to, and notes what it tells. Time passes when that is wanted."""

    def __init__(self, *folders: Path, settle_s: float = 0.0, done: frozenset[str] = frozenset()) -> None:
        self.new: list[tuple[str, str]] = []
        self.watch = Watch(
            folders,
            folders[0] / "out",
            settle_s=settle_s,
            is_done=lambda file, _: file.name in done,
            on_new=lambda path, what: self.new.append((path.name, what)),
        )

    def look(self, *, later_s: float = 0.0) -> list[str]:
        """What has its turn now, or so much later, in order; it is over then."""
        for seen in self.watch._seen.values():
            seen.since -= later_s
        self.watch.look()
        names = []
        while file := self.watch._take():
            names.append(file.name)
            self.watch.ended(file.path, "over")
        return names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


def put(path: Path, content: bytes = b"content", *, age_s: float = 0.0) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    at = datetime.now(UTC).timestamp() - age_s
    os.utime(path, (at, at))
    return path


def test_the_oldest_has_its_turn_first_in_whatever_folder_it_is(folder: Path) -> None:
    put(folder / "a.ts", age_s=10)
    put(folder / "below" / "b.ts", age_s=30)
    put(folder / "c.ts", age_s=20)
    put(folder / "notes.txt")
    put(folder / ".hidden.ts")
    assert Watching(folder).look() == ["b.ts", "c.ts", "a.ts"]


def test_what_is_still_written_waits_however_long_that_takes(folder: Path) -> None:
    watching = Watching(folder, settle_s=600)
    for size in range(1, 50):
        put(folder / "rec.ts", b"x" * size, age_s=3600)
        assert watching.look(later_s=3600) == [], f"it has just grown to {size} bytes"
        assert watching.watch.waiting == 1
    assert watching.look(later_s=500) == []
    assert watching.look(later_s=200) == ["rec.ts"]
    assert watching.look(later_s=3600) == []


@pytest.mark.skipif(sys.platform == "win32", reason="tells no blocks")
def test_a_copy_that_has_its_size_before_its_content_waits(folder: Path) -> None:
    """As Windows copies to a share."""
    path = folder / "copy.ts"
    with path.open("wb") as file:
        file.truncate(1 << 20)
        watching = Watching(folder, settle_s=600)
        assert watching.look(later_s=3600) == []
        file.write(b"x" * (1 << 19))
        file.flush()
        os.fsync(file.fileno())
        os.utime(path, (0, 0))
        assert watching.look(later_s=3600) == []
        file.write(b"x" * (1 << 19))
        file.flush()
        os.fsync(file.fileno())
        os.utime(path, (0, 0))
        assert watching.look(later_s=3600) == [], "nothing but the blocks on disk tells"
    assert watching.look(later_s=3600) == ["copy.ts"]


def test_a_file_that_is_renamed_when_it_is_whole_has_its_turn(folder: Path) -> None:
    path = put(folder / "drive.ts.part", age_s=100)
    watching = Watching(folder)
    assert watching.look() == []
    path.rename(folder / "drive.ts")
    assert watching.look() == ["drive.ts"]
    assert watching.new == [("drive.ts", "")]


def test_what_grows_or_is_replaced_has_another_turn(folder: Path) -> None:
    path = put(folder / "drive.ts", age_s=100)
    watching = Watching(folder)
    assert watching.look() == ["drive.ts"]
    with path.open("ab") as file:
        file.write(b"more")
    assert watching.look() == ["drive.ts"]
    put(folder / "other", b"CONTENTmore").replace(path)
    assert watching.look() == ["drive.ts"]
    path.chmod(0o600)
    assert watching.look() == []
    assert watching.new == [("drive.ts", "it has changed")] * 2


def test_what_grows_while_it_is_at_work_has_another_turn(folder: Path) -> None:
    path = put(folder / "drive.ts", age_s=100)
    watching = Watching(folder)
    watching.watch.look()
    (file,) = [watching.watch._take()]
    assert file is not None
    path.write_bytes(b"much more")
    assert watching.look() == []
    watching.watch.ended(file.path, "over")
    assert watching.look() == ["drive.ts"]


def test_what_another_run_is_at_is_tried_again_after_a_minute(folder: Path) -> None:
    put(folder / "drive.ts", age_s=100)
    watching = Watching(folder, settle_s=600)
    assert watching.look() == []
    for seen in watching.watch._seen.values():
        seen.since -= 600
    watching.watch.look()
    file = watching.watch._take()
    assert file is not None
    watching.watch.ended(file.path, "waiting")
    assert watching.look(later_s=50) == []
    assert watching.look(later_s=10) == ["drive.ts"]


def test_what_has_failed_is_left_alone_until_it_changes(folder: Path) -> None:
    path = put(folder / "drive.ts", age_s=100)
    watching = Watching(folder)
    for change in (lambda: None, lambda: put(path, b"other"), lambda: path.chmod(0o600)):
        change()
        watching.watch.look()
        file = watching.watch._take()
        assert file is not None
        watching.watch.ended(file.path, "failed")
        assert watching.look() == []


def test_what_was_done_before_and_what_roadmask_has_made_have_no_turn(folder: Path) -> None:
    put(folder / "before.ts")
    make_clip(folder / "seen_overlay.mp4", cfr(2), size=(32, 32))
    with av.open(folder / "seen_overlay.mp4") as source, av.open(folder / "tagged.mp4", "w") as tagged:
        tagged.metadata["comment"] = "roadmask overlay"
        stream = tagged.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                tagged.mux(packet)
    watching = Watching(folder, done=frozenset({"before.ts"}))
    assert watching.look() == ["seen_overlay.mp4"]
    assert watching.watch.waiting == 0


def test_programs_here_are_told_where_a_running_file_is_and_viewers_of_a_page_what_it_is_called(tmp_path: Path) -> None:
    workload = Workload([job := SegmentSettings(tmp_path / "a.ts")])
    workload.begun(job, 9, "1")
    (here,), (there,) = workload.glance().in_json()["running"], workload.in_json()["running"]
    assert here == {"source": str(tmp_path / "a.ts"), "name": "a.ts", "frames": 0, "expected": 9}
    assert (there["name"], there["place"], "source" in there) == ("a.ts", "1", False)


def test_nothing_of_what_is_gone_is_remembered(folder: Path) -> None:
    watching = Watching(folder)
    for number in range(50):
        path = put(folder / f"day{number}" / f"{number}.ts")
        assert watching.look() == [path.name]
        shutil.rmtree(path.parent)
    watching.look()
    watch = watching.watch
    assert not watch._seen
    assert not watch._waiting
    assert not watch._running
    assert set(watch._listings) == {folder}


def test_of_files_that_had_their_turn_the_summary_alone_knows(folder: Path, model: Path) -> None:
    """However many come, while nobody ends it."""
    clip, out, network = make_clip(folder / "a.mp4", cfr(3), size=(32, 48)), folder / "out", Model.load(model)
    with open_summary(out / "summary.json", {"roadmask": "2"}) as summary:
        ledger = Ledger(summary, network, SegmentSettings(Path()), out, [folder])
        file = VideoFile(clip, named=False)
        job = ledger.begin(file)
        assert ledger.run(lambda due: process_video(due, network))(job).frames == 3
        assert not ledger._begun
        assert ledger.job(file).outputs == job.outputs


def test_of_thousands_of_turns_a_workload_remembers_the_last_ones(folder: Path) -> None:
    workload = Workload((), Watching(folder).watch)
    now = datetime.now(UTC)
    for number in range(1000):
        job = SegmentSettings(put(folder / f"{number % 7}.ts").with_name(f"{number}.ts"))
        workload.begun(job, 10)
        workload.written(job, 10)
        workload.ended(Outcome(job, "failed", now, now, reason=f"{job.file}: odd"))
    assert (len(workload._bytes), len(workload._expected), len(workload._running), len(workload._ended)) == (0, 0, 0, 0)
    told = workload.in_json()
    assert (told["failed"], told["frames"], told["waiting"], told["running"]) == (1000, 1000, 0, [])
    assert [item["name"] for item in told["ended"]] == [f"{number}.ts" for number in range(999, 969, -1)]
    assert {item["reason"] for item in told["ended"]} == {"odd"}


def test_a_folder_that_goes_is_told_once_and_so_is_that_it_is_back(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    put(folder / "drive.ts")
    watching = Watching(folder)
    watching.look()
    folder.rename(folder.with_name("away"))
    caplog.clear()
    for _ in range(3):
        assert watching.look() == []
    assert watching.watch.folders() == [{"folder": str(folder), "problem": "No such file or directory"}]
    folder.with_name("away").rename(folder)
    assert watching.look() == ["drive.ts"], "who asks for it finds that it was done before"
    assert watching.watch.folders()[0]["problem"] == ""
    assert watching.new == []
    assert [record.message.removeprefix(f"{folder}: ") for record in caplog.records] == [
        "cannot be looked into (No such file or directory); tried again until it can",
        "is back",
    ]


def test_an_empty_folder_where_another_disk_was_is_one_that_is_gone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(folder / "drive.ts")
    watching = Watching(folder)
    watching.look()
    path.unlink()
    watching.look()
    assert watching.watch.folders()[0]["problem"] == "", "a folder may be empty"
    monkeypatch.setattr(watching.watch._roots[0], "device", -1)
    watching.look()
    assert watching.watch.folders()[0]["problem"] == "its disk is not mounted"
    put(folder / "drive.ts")
    watching.look()
    assert watching.watch.folders()[0]["problem"] == ""


def test_a_folder_that_is_watched_twice_gives_each_file_one_turn(folder: Path) -> None:
    put(folder / "below" / "drive.ts")
    assert Watching(folder, folder / "below").look() == ["drive.ts"]


@pytest.mark.parametrize("words", [["nowhere"], ["drive.ts"]])
def test_what_is_no_folder_is_not_watched(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    put(folder / "drive.ts")
    with pytest.raises(SourceError, match=r"^(nowhere: no such|drive.ts: is no) folder; --watch is for folders$"):
        watched_folders(words)


def test_a_fault_of_the_thread_that_looks_ends_what_waits_for_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(_: Watch) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr(Watch, "look", look)
    with Watching(folder).watch as watch:
        until(lambda: not watch._thread.is_alive(), what="the thread ends")
        with pytest.raises(MemoryError, match="no more"):
            watch.check()


def fragmented(path: Path) -> Path:
    make_clip(path.with_suffix(".mov"), cfr(20), size=(32, 32))
    with av.open(path.with_suffix(".mov")) as source, av.open(path, "w", options={"movflags": "frag_keyframe"}) as made:
        stream = made.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    return path


def test_an_mp4_is_whole_when_its_index_and_all_boxes_are_there(tmp_path: Path) -> None:
    for clip in (make_clip(tmp_path / "a.mp4", cfr(20), size=(32, 32)), fragmented(tmp_path / "b.mp4")):
        content = clip.read_bytes()
        assert is_whole(clip)
        assert is_whole(put(tmp_path / "padded.mp4", content + bytes(1000)))
        for share in (0.3, 0.6, 0.99):
            assert not is_whole(put(tmp_path / "cut.mp4", content[: int(len(content) * share)])), f"{clip}, {share}"


def test_other_kinds_are_whole_with_a_byte(tmp_path: Path) -> None:
    assert not is_whole(put(tmp_path / "empty.ts", b""))
    assert is_whole(put(tmp_path / "a.ts", b"G"))
    assert is_whole(make_clip(tmp_path / "a.mkv", cfr(2), size=(32, 32)))
    assert is_whole(put(tmp_path / "text.mp4", b"no video at all"))


def test_an_mp4_without_an_index_has_its_turn_in_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(folder / "whole.mkv", cfr(2), size=(32, 32)).rename(folder / "whole")
    put(folder / "cut.mp4", bytes.fromhex("00000010667479706d70343200000000") + clip.read_bytes())
    watching = Watching(folder)
    assert watching.look() == []
    monkeypatch.setattr("roadmask.stream.batch.watched._PATIENCE_S", 0.0)
    assert watching.look() == ["cut.mp4"]
