"""What a drive carries besides pictures and sound, in its overlay: kept where its container takes it, else named."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from roadmask.stream.decode.source import open_source
from roadmask.stream.encode.carried import COMMENT, chapters_for, tags_for
from roadmask.stream.encode.video_sink import OverlayVideoSink
from roadmask.stream.frames import Carried, Chapter, SegmentedFrame
from tests.encode.test_video_sink import redraw
from tests.support.clips import times_of
from tests.support.drives import TAGS, Timed, chapters_of, gps5, make_drive, tags_of, track_of, with_boxes

SUFFIXES = (".mp4", ".mov", ".mkv")
TEXTS = [Timed(0, 1, "51.50 N 0.12 W"), Timed(1, 1, "51.51 N 0.13 W"), Timed(2.2, 0.5, "51.52 N 0.14 W")]
CHAPTERS = [Timed(0, 1, "Home"), Timed(1, 2, "Road")]
GPMD = [Timed(n, 1, gps5(*[(51.5 + n / 10, -0.12, 10)] * 18)) for n in range(3)]


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]


def made(
    source: Path, out: Path, *, start: Fraction | None = None, end: Fraction | None = None, stride: int = 1
) -> Path:
    with open_source(source, start=start, end=end, stride=stride) as opened:
        mask = np.zeros((opened.info.height, opened.info.width), np.uint8)
        with OverlayVideoSink(out, opened.info, redraw, source=source, end=end) as sink:
            for frame in opened.frames(lambda _: (16, 16)):
                sink.write(SegmentedFrame(frame, mask))
    return out


def texts_of(path: Path) -> list[tuple[float, float, str]]:
    """With what comes before a text in its packet left out."""
    return [
        (round(item.begin_s, 3), round(item.length_s, 3), bytes(item.content).rpartition(b",")[2].decode()[-14:])
        for item in track_of(path, "subtitle")
    ]


def packets_of(path: Path) -> list[tuple[float, bytes]]:
    return [(round(item.begin_s, 3), bytes(item.content)) for item in track_of(path, "data")]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("container", SUFFIXES)
def test_tags_and_chapters_are_kept_in_every_container(tmp_path: Path, container: str, suffix: str) -> None:
    source = make_drive(tmp_path / f"drive{container}", chapters=CHAPTERS)
    out = made(source, tmp_path / f"out{suffix}")
    tags = tags_of(out)
    assert {name: tags[name] for name in TAGS} == TAGS
    assert tags["comment"] == COMMENT
    assert [(item.begin_s, item.content) for item in chapters_of(out)] == [(0, "Home"), (1, "Road")]
    with av.open(out) as made_of:
        assert made_of.duration == 3_000_000
        assert [stream.type for stream in made_of.streams] == ["video"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tags_of_phones_and_cameras_that_have_no_place_of_their_own_are_kept(tmp_path: Path, suffix: str) -> None:
    tags = {"com.apple.quicktime.make": "Apple", "firmware": "HD9.01", "title": "To work", "comment": "rain"}
    out = made(make_drive(tmp_path / "drive.mp4", tags=tags), tmp_path / f"out{suffix}")
    assert tags_of(out).items() >= {**tags, "comment": f"{COMMENT}: rain"}.items()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_tag_that_is_not_utf_8_is_kept_byte_for_byte(tmp_path: Path, suffix: str) -> None:
    drive = make_drive(tmp_path / "drive.mp4")
    drive.write_bytes(drive.read_bytes().replace(b"To work", b"To w\xf6rk"))
    assert b"To w\xf6rk" in made(drive, tmp_path / f"out{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mov_text"), ("a.mov", "mov_text"), ("a.mkv", "subrip"), ("b.mkv", "ass")]
)
def test_subtitles_are_kept_in_every_container(
    tmp_path: Path, name: str, codec: str, suffix: str, warnings: Callable[[], list[str]]
) -> None:
    out = made(make_drive(tmp_path / name, texts=TEXTS, codec=codec), tmp_path / f"out{suffix}")
    assert texts_of(out) == [(item.begin_s, item.length_s, item.content) for item in TEXTS]
    with av.open(out) as container:
        assert container.streams.subtitles[0].language == "eng"
        assert container.duration == 3_000_000
    assert warnings() == []


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_gopro_s_data_is_copied_byte_for_byte(tmp_path: Path, suffix: str) -> None:
    out = made(make_drive(tmp_path / "drive.mp4", gpmd=GPMD), tmp_path / f"out{suffix}")
    assert packets_of(out) == [(item.begin_s, item.content) for item in GPMD]
    with av.open(out) as container:
        assert container.streams.data[0].metadata["handler_name"] == "GoPro MET"


def test_what_a_container_does_not_take_is_named_in_one_line(tmp_path: Path, warnings: Callable[[], list[str]]) -> None:
    source = make_drive(tmp_path / "drive.mp4", gpmd=GPMD, texts=TEXTS)
    assert [stream.begin_s for stream in track_of(made(source, tmp_path / "out.mkv"), "subtitle")] == [0, 1, 2.2]
    assert warnings() == [f"{source}: not taken into its overlay: data bin_data (GoPro MET)"]
    noted = make_drive(tmp_path / "noted.mkv", attached="note.txt")
    made(noted, tmp_path / "out.mp4")
    assert warnings()[1:] == [f"{noted}: not taken into its overlay: attachment (note.txt)"]
    with av.open(made(noted, tmp_path / "noted_out.mkv")) as container:
        assert [stream.data for stream in container.streams.attachments] == [b"a note"]
    assert len(warnings()) == 2
    boxed = with_boxes(make_drive(tmp_path / "boxed.mp4"), [(51.5, -0.12, 10)])
    made(boxed, tmp_path / "boxed_out.mp4")
    assert warnings()[2:] == [f"{boxed}: not taken into its overlay: positions in boxes of Novatek's"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_of_it_is_cut_and_moved_with_the_pictures(tmp_path: Path, suffix: str) -> None:
    source = make_drive(tmp_path / "drive.mp4", texts=TEXTS, chapters=CHAPTERS, gpmd=GPMD)
    out = made(source, tmp_path / f"out{suffix}", start=Fraction(8, 5), end=Fraction(5, 2), stride=3)
    assert times_of(out)[0] == 0
    assert texts_of(out) == [(0, 0.4, "51.51 N 0.13 W"), (0.6, 0.3, "51.52 N 0.14 W")]
    assert [(item.begin_s, item.content) for item in chapters_of(out)] == [(0, "Road")]
    assert tags_of(out)["creation_time"].startswith("2026-05-01T10:00:01")
    if suffix != ".mkv":
        assert packets_of(out) == [(0.4, GPMD[2].content)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_drive_whose_pictures_begin_late_has_all_of_it_where_they_are(tmp_path: Path, suffix: str) -> None:
    late = [Timed(item.begin_s + 1, item.length_s, item.content) for item in TEXTS]
    out = made(make_drive(tmp_path / "drive.mkv", texts=late, codec="subrip", late_s=1), tmp_path / f"out{suffix}")
    assert texts_of(out) == [(item.begin_s, item.length_s, item.content) for item in TEXTS]
    assert tags_of(out)["creation_time"] == TAGS["creation_time"]


def test_dates_are_moved_and_what_is_none_is_left_as_it_is() -> None:
    tags = {
        "creation_time": "2026-05-01T10:00:00.000000Z",
        "com.apple.quicktime.creationdate": "2026-05-01T23:59:30+0200",
        "date": "2026-05-01",
        "location": "+51-000/",
        "location-eng": "+51-000/",
        "major_brand": "isom",
        "ENCODER": "Lavf",
    }
    assert tags_for(Carried(tags=tags), since_s=Fraction(61, 2)) == {
        "creation_time": "2026-05-01T10:00:30.500000Z",
        "com.apple.quicktime.creationdate": "2026-05-02T00:00:00.500000+02:00",
        "date": "2026-05-01",
        "location": "+51-000/",
        "comment": COMMENT,
    }
    assert tags_for(Carried(tags={"creation_time": "yesterday"}), since_s=Fraction(0)) == {"comment": COMMENT}
    twice = {"creation_time": "2026-05-01T10:00:00.000000Z;2026-05-01T10:00:00.400000Z"}  # as FFmpeg 9 reads keys
    moved = tags_for(Carried(tags=twice), since_s=Fraction(1))
    assert moved["creation_time"] == "2026-05-01T10:00:01.400000Z"
    assert tags_for(Carried(tags={"comment": COMMENT}), since_s=Fraction(0)) == {"comment": COMMENT}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("container", [".mov", ".mkv"])  # in the first it is a track, in the second a tag
def test_a_time_code_is_kept_as_a_tag_of_the_first_picture(
    tmp_path: Path, container: str, suffix: str, warnings: Callable[[], list[str]]
) -> None:
    source = make_drive(tmp_path / f"drive{container}", tags={"timecode": "10:59:59:20"})
    out = made(source, tmp_path / f"out{suffix}")
    assert tags_of(out)["timecode"] == "10:59:59:20"
    with av.open(out) as made_of:
        assert [stream.type for stream in made_of.streams] == ["video"]
    later = made(source, tmp_path / f"later{suffix}", start=Fraction(1, 5))
    assert tags_of(later)["timecode"] == "11:00:00:00"
    assert warnings() == []


@pytest.mark.parametrize(
    ("code", "rate", "later"),
    [
        ("01:00:59;29", Fraction(30000, 1001), "01:01:00;02"),
        ("01:09:59;29", Fraction(30000, 1001), "01:10:00;00"),
        ("23:59:59:24", Fraction(25), "00:00:00:00"),
        ("00:00:59;59", Fraction(60000, 1001), "00:01:00;04"),
        ("soon", Fraction(25), None),
        ("01:00:00:00", None, None),
    ],
)
def test_a_time_code_counts_frames_and_drops_numbers_where_it_says_so(
    code: str, rate: Fraction | None, later: str | None
) -> None:
    since_s = 1 / (rate or Fraction(25))
    assert tags_for(Carried(tags={"timecode": code}), since_s=since_s, rate=rate).get("timecode") == later


def test_only_chapters_of_which_something_is_shown_are_kept() -> None:
    times = [(0, 2), (2, 5), (5, 5), (5, 9), (9, 12)]
    chapters = tuple(Chapter(Fraction(begin), Fraction(end), {"title": str(begin)}) for begin, end in times)
    kept = chapters_for(Carried(chapters=chapters), shift=Fraction(3), until=Fraction(8))
    assert [(item["start"], item["end"], item["metadata"]) for item in kept] == [
        (0, 2_000_000, {"title": "2"}),
        (2_000_000, 5_000_000, {"title": "5"}),
    ]


def test_a_track_that_is_damaged_is_said_and_harms_no_picture(
    tmp_path: Path, warnings: Callable[[], list[str]]
) -> None:
    source = make_drive(tmp_path / "drive.mp4", gpmd=[Timed(0, 1, b"\xff" * 40), *GPMD[1:]], texts=TEXTS)
    out = made(source, tmp_path / "out.mp4")
    assert len(times_of(out)) == 75
    assert len(packets_of(out)) == 3
    assert warnings() == []
