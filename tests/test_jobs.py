"""From command-line words to jobs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from stream.errors import OutputError, SourceError
from stream.frames import VideoInfo
from stream.jobs import expected_frames, find_sources, parse_time, plan
from stream.segment import SegmentSettings

TEMPLATE = SegmentSettings(source=Path())


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_folder_gives_its_videos_in_order_and_nothing_else(tmp_path: Path) -> None:
    touch(tmp_path, "b.MP4", "a.avi", "notes.txt", "deep/c.mp4")
    assert [path.name for path in find_sources([str(tmp_path)])] == ["a.avi", "b.MP4"]


def test_a_pattern_gives_its_matches_and_a_file_named_twice_comes_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4", "[odd].mp4")
    assert [path.name for path in find_sources([f"{tmp_path}/[ab].mp4", f"{tmp_path}/b.mp4"])] == ["a.mp4", "b.mp4"]
    assert [path.name for path in find_sources([f"{tmp_path}/[odd].mp4"])] == ["[odd].mp4"]


def test_words_that_name_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no file matches"):
        find_sources([f"{tmp_path}/*.mp4"])
    with pytest.raises(SourceError, match="no videos in this folder"):
        find_sources([str(tmp_path)])


def test_a_folder_takes_all_three_outputs_under_the_sources_name(tmp_path: Path) -> None:
    (job,) = plan([Path("drives/night.mp4")], f"{tmp_path}/", TEMPLATE)
    assert [path.name for path in job.outputs] == ["night_overlay.mp4", "night_masks", "night_stats.csv"]
    assert {path.parent for path in job.outputs} == {tmp_path}


def test_a_dot_in_a_sources_name_makes_no_other_kind_of_mask_archive() -> None:
    (job,) = plan([Path("night.2.mp4")], "out/", TEMPLATE)
    assert [path.name for path in job.outputs] == ["night.2_overlay.mp4", "night_2_masks", "night.2_stats.csv"]


def test_without_any_output_the_overlay_goes_into_the_working_directory() -> None:
    (job,) = plan([Path("drives/night.mp4")], None, TEMPLATE)
    assert job.outputs == (Path("night_overlay.mp4"),)


@pytest.mark.parametrize(
    ("sources", "output", "message"),
    [
        (["a.mp4", "b.mp4"], "out.mp4", "2 sources cannot go into one file"),
        (["x/a.mp4", "y/a.mp4"], "out/", "would both write"),
        (["x/a.mp4", "y/a.mp4"], None, "would both write"),
        (["a.mp4"], "out.txt", "overlay videos are .mp4, .mov, .mkv"),
        (["a.mp4"], "out", "for a folder write out/"),
    ],
)
def test_outputs_that_cannot_hold_the_sources_are_refused(sources: list[str], output: str | None, message: str) -> None:
    with pytest.raises(OutputError, match=message):
        plan([Path(source) for source in sources], output, TEMPLATE)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", Fraction(90)), ("1:30", Fraction(90)), ("00:01:30.5", Fraction(181, 2))]
)
def test_times_are_read_as_people_write_them(text: str, seconds: Fraction) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1:", "a", "1:2:3:4", "1e3"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_time(text)


@pytest.mark.parametrize(
    ("changes", "frames"),
    [
        ({}, 100),
        ({"start": Fraction(1)}, 75),
        ({"start": Fraction(1), "end": Fraction(2)}, 25),
        ({"end": Fraction(100)}, 100),
        ({"stride": 3}, 34),
        ({"stride": 3, "max_frames": 5}, 5),
    ],
)
def test_the_expected_frames_follow_the_range_asked_for(changes: dict[str, object], frames: int) -> None:
    info = VideoInfo(
        8, 8, Fraction(25), 100, Fraction(4), Fraction(1, 25), 0, Fraction(1), "h264", "yuv420p", False, False
    )
    assert expected_frames(info, SegmentSettings(Path(), **changes)) == frames  # type: ignore[arg-type]
