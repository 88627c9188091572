"""From command-line words to jobs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from roadmask.stream.batch.jobs import plan, results_folder
from roadmask.stream.batch.video_files import VideoFile, find_sources
from roadmask.stream.batch.workload import frames_of
from roadmask.stream.camera.camera import parse_camera
from roadmask.stream.commands.options import parse_moment
from roadmask.stream.errors import OutputError, SourceError
from roadmask.stream.frames import VideoInfo
from roadmask.stream.run.settings import SegmentSettings

TEMPLATE = SegmentSettings(source=Path())


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_folder_gives_its_videos_in_order_and_nothing_else(tmp_path: Path) -> None:
    touch(tmp_path, "b.MP4", "a.avi", "notes.txt", "deep/c.mp4")
    assert [video.name for video in find_sources([str(tmp_path)])] == ["a.avi", "b.MP4", "c.mp4"]


def test_a_pattern_gives_its_matches_and_a_file_named_twice_comes_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4", "[odd].mp4")
    assert [video.name for video in find_sources([f"{tmp_path}/[ab].mp4", f"{tmp_path}/b.mp4"])] == ["a.mp4", "b.mp4"]
    assert [video.name for video in find_sources([f"{tmp_path}/[odd].mp4"])] == ["[odd].mp4"]


def test_words_that_name_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no file matches"):
        find_sources([f"{tmp_path}/*.mp4"])
    with pytest.raises(SourceError, match="no videos in this folder"):
        find_sources([str(tmp_path)])


def test_a_folder_takes_all_three_outputs_under_the_sources_name(tmp_path: Path) -> None:
    (job,) = plan([VideoFile(Path("drives/night.mp4"))], f"{tmp_path}/", TEMPLATE)
    assert [path.name for path in job.outputs] == ["night_overlay.mp4", "night_masks", "night_stats.csv"]
    assert {path.parent for path in job.outputs} == {tmp_path}


def test_a_dot_in_a_sources_name_makes_no_other_kind_of_mask_archive() -> None:
    (job,) = plan([VideoFile(Path("night.2.mp4"))], "out/", TEMPLATE)
    assert [path.name for path in job.outputs] == ["night.2_overlay.mp4", "night_2_masks", "night.2_stats.csv"]


def test_outputs_of_a_camera_without_a_name_are_all_called_by_its_address_without_dots() -> None:
    (job,) = plan([parse_camera("rtsp://10.0.0.7/live")], "out/", TEMPLATE)
    assert [path.name for path in job.outputs] == [
        f"10_0_0_7_live_{what}" for what in ("overlay.mp4", "masks", "stats.csv")
    ]


def test_a_star_in_the_name_of_an_output_is_the_name_of_each_video(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "sub/b.c.mp4")
    files = find_sources([str(tmp_path)])
    template = SegmentSettings(Path(), masks=Path("masks/*.mkv"), stats=Path("t/*_shares.csv"))
    assert [job.outputs for job in plan(files, None, template)] == [
        (Path("masks/a.mkv"), Path("t/a_shares.csv")),
        (Path("masks/sub/b.c.mkv"), Path("t/sub/b.c_shares.csv")),
    ]
    folders = SegmentSettings(Path(), masks=Path("masks/*"))
    assert [job.masks for job in plan(files, None, folders)] == [Path("masks/a"), Path("masks/sub/b_c")]
    assert [job.outputs[0] for job in plan(files, "seen/*.mov", SegmentSettings(Path()))] == [
        Path("seen/a.mov"),
        Path("seen/sub/b.c.mov"),
    ]
    assert [job.outputs[:2] for job in plan(files, "out/", SegmentSettings(Path(), masks=Path("m/*.zip")))] == [
        (Path("out/a_overlay.mp4"), Path("m/a.zip")),
        (Path("out/sub/b.c_overlay.mp4"), Path("m/sub/b.c.zip")),
    ]


def test_without_any_output_the_overlay_goes_into_the_working_directory() -> None:
    (job,) = plan([VideoFile(Path("drives/night.mp4"))], None, TEMPLATE)
    assert job.outputs == (Path("night_overlay.mp4"),)


def test_files_of_one_name_keep_the_folders_or_the_suffixes_by_which_they_differ(tmp_path: Path) -> None:
    sources = [VideoFile(Path(name)) for name in ("x/a.mp4", "y/a.mp4", "y/b.mp4", "y/b.avi")]
    names = [
        job.overlay.relative_to(tmp_path).as_posix() for job in plan(sources, f"{tmp_path}/", TEMPLATE) if job.overlay
    ]
    assert names == ["x/a_overlay.mp4", "y/a_overlay.mp4", "b_mp4_overlay.mp4", "b_avi_overlay.mp4"]


def test_results_of_a_folder_lie_as_its_videos_do(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.mp4", "in/monday/a.mp4", "in/.hidden/b.mp4", "in/a.partial.mp4")
    jobs = plan(find_sources([f"{tmp_path}/in"]), f"{tmp_path}/out/", TEMPLATE)
    assert [job.stats and job.stats.relative_to(tmp_path / "out").as_posix() for job in jobs] == [
        "a_stats.csv",
        "monday/a_stats.csv",
    ]


def test_results_are_not_taken_for_videos(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "out/a_overlay.mp4")
    assert [video.name for video in find_sources([str(tmp_path)], tmp_path / "out")] == ["a.mp4"]
    first, second = (
        plan([VideoFile(tmp_path / "a.mp4", named=False)], f"{tmp_path}/", TEMPLATE),
        [VideoFile(tmp_path / name, named=False) for name in ("a.mp4", "a_overlay.mp4")],
    )
    assert plan(second, f"{tmp_path}/", TEMPLATE) == first


def test_a_list_names_a_video_a_line_beside_itself(tmp_path: Path) -> None:
    touch(tmp_path, "lists/a.mp4", "lists/deep/b.mp4", "c.mp4")
    (tmp_path / "lists/all.txt").write_text("# a comment\n\na.mp4\ndeep/*.mp4\r\n../c.mp4\na.mp4\n", newline="")
    videos = find_sources([f"@{tmp_path}/lists/all.txt"])
    assert [video.name for video in videos] == ["a.mp4", "b.mp4", "c.mp4"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "this list names no video"),
        (b"a.mp4\n*.avi\n", r"line 2: .*no file matches"),
        (b"@b.txt\n", "line 1: @b.txt: a list cannot name another"),
        (b"\0\1", "it is no text"),
        (None, "this list cannot be read"),
    ],
)
def test_a_list_that_cannot_be_followed_is_refused_by_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        find_sources([f"@{tmp_path}/list.txt"])


@pytest.mark.parametrize(
    ("sources", "output", "message"),
    [
        (["a.mp4", "b.mp4"], "out.mp4", "2 sources cannot go into one file"),
        (["a.mp4"], "out.txt", "overlay videos are .mp4, .mov, .mkv"),
        (["a.mp4"], "out.d", "for a folder write -o out.d/"),
    ],
)
def test_outputs_that_cannot_hold_the_sources_are_refused(sources: list[str], output: str | None, message: str) -> None:
    with pytest.raises(OutputError, match=message):
        plan([VideoFile(Path(source)) for source in sources], output, TEMPLATE)


def test_a_name_without_a_suffix_is_a_folder_unless_a_file_has_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert results_folder(f"{tmp_path}/new") == tmp_path / "new"
    assert results_folder(f"{tmp_path}/new.d/") == tmp_path / "new.d"
    assert [results_folder(f"{tmp_path}/{name}") for name in ("file", "seen.mp4")] == [None, None]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", Fraction(90)), ("1:30", Fraction(90)), ("00:01:30.5", Fraction(181, 2))]
)
def test_times_are_read_as_people_write_them(text: str, seconds: Fraction) -> None:
    assert parse_moment(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1:", "a", "1:2:3:4", "1e3"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_moment(text)


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
    assert frames_of(SegmentSettings(Path(), **changes), info) == frames  # type: ignore[arg-type]
