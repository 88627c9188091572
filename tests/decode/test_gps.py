"""Where a drive was: positions read from tracks that the tests make."""

from __future__ import annotations

import logging
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadmask.stream.decode.gps import gps_boxes, read_gps
from roadmask.stream.decode.gps_formats import TEXTS, Fix, gpmd_fixes, text_fixes, text_of
from tests.support.drives import Timed, gps5, gps9, klv, make_drive, with_boxes

TEXT = [Timed(n, 1, f"2026/05/01 10:00:0{n} N:51.50{n}000 W:0.120000 {40 + n}.0 km/h") for n in range(3)]
LONDON = (51.5074, -0.1278)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("51.5074 N 0.1278 W 48 km/h", (*LONDON, 48)),
        ("2026/05/01 10:00:00 N:51.507400 W:0.127800 30.0 mph", (*LONDON, 30 * 1.609344)),
        ("10:00:00 N 51.5074 W 0.1278 48KM/H", (*LONDON, 48)),
        ("N5130.4440 W00007.6680 10 m/s", (*LONDON, 36)),
        ("51°30'26.64\"N 0°7'40.08\"W", (*LONDON, None)),
        ("51° 30.444′ N, 0° 7.668′ W", (*LONDON, None)),  # noqa: RUF001 - as people write minutes
        ("Lat: 51.5074 Lon: -0.1278", (*LONDON, None)),
        ("[latitude: 51.5074] [longtitude: -0.1278]", (*LONDON, None)),
        ("Latitude 51.5074 N, Longitude 0.1278 W, 20 knots", (*LONDON, 37.04)),
        ("51.507400, -0.127800", (*LONDON, None)),
        ("+51.5074-000.1278/", (*LONDON, None)),
        ("S 33.8688 E 151.2093", (-33.8688, 151.2093, None)),
    ],
)
def test_degrees_are_read_in_the_ways_in_which_cameras_write_them(
    text: str, expected: tuple[float, float, float | None]
) -> None:
    (position,) = text_fixes(text)
    assert position[:2] == pytest.approx(expected[:2], abs=1e-6)
    assert position.speed_kmh == pytest.approx(np.nan if expected[2] is None else expected[2], nan_ok=True)


@pytest.mark.parametrize(
    "text", ["", "Turn left after 3.5 km", "10:00:00 N/A", "N 0.0 E 0.0", "lat 95.0 lon 10.0", "---.---- N ---.---- W"]
)
def test_a_text_without_a_place_has_none(text: str) -> None:
    assert text_fixes(text) == []


def test_nmea_sentences_are_read_with_their_speed() -> None:
    rmc = "$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A"
    gga = "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47"
    (position,) = text_fixes(f"{gga}\r\n{rmc}\r\n")
    assert position == pytest.approx((48.1173, 11.516667, 22.4 * 1.852), abs=1e-6)
    (position,) = text_fixes(gga)
    assert position[:2] == pytest.approx((48.1173, 11.516667), abs=1e-6)
    assert np.isnan(position.speed_kmh)
    assert text_fixes("$GPRMC,123519,V,,,,,,,230394,,") == []
    with pytest.raises(ValueError, match="checksum"):
        text_fixes(rmc.replace("4807", "4808"))


def test_gopro_s_positions_are_scaled_and_only_taken_with_a_fix() -> None:
    assert gpmd_fixes(gps5((*LONDON, 10), (51.6, -0.2, 20))) == [
        pytest.approx((*LONDON, 36)),
        pytest.approx((51.6, -0.2, 72)),
    ]
    assert gpmd_fixes(gps9((*LONDON, 10))) == [pytest.approx((*LONDON, 36))]
    assert gpmd_fixes(gps5((*LONDON, 10), fix=0)) == gpmd_fixes(gps9((*LONDON, 10), fix=0)) == []
    assert gpmd_fixes(klv("DEVC", "\0", 1, klv("STRM", "\0", 1, klv("ACCL", "s", 6, bytes(6))))) == []


@pytest.mark.parametrize(
    "content",
    [
        gps5((*LONDON, 10))[:-4],
        b"rubbish and more of it",
        klv("DEVC", "\0", 1, klv("STRM", "\0", 1, klv("GPS5", "l", 20, bytes(20)))),
        klv("DEVC", "\0", 1, klv("STRM", "\0", 1, klv("SCAL", "l", 4, bytes(20)) + klv("GPS5", "l", 20, bytes(20)))),
    ],
)
def test_a_damaged_packet_of_gopro_s_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut off|no data|scale"):
        gpmd_fixes(content)


@given(st.binary(max_size=200), st.sampled_from(["", *TEXTS]))
def test_rubbish_is_no_position_and_nothing_worse(content: bytes, codec: str) -> None:
    for read in (gpmd_fixes, lambda part: text_fixes(text_of(codec, part))):
        for part in (content, b"DEVC" + content, b"$GPRMC," + content):
            with suppress(ValueError):
                assert all(isinstance(item, Fix) for item in read(part))


def test_marks_for_looks_are_no_text() -> None:
    assert text_of("subrip", b"<i>51.5</i> {\\an8}N") == "51.5 N"
    assert text_of("ass", rb"3,0,Default,,0,0,0,,one, two\Nthree") == "one, two\nthree"
    assert text_of("mov_text", struct.pack(">H", 2) + b"N1\0\0\0\x12styl") == "N1"


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mov_text"), ("a.mov", "mov_text"), ("a.mkv", "subrip"), ("b.mkv", "ass")]
)
def test_the_track_of_a_file_is_that_of_its_subtitles(tmp_path: Path, name: str, codec: str) -> None:
    track = read_gps(make_drive(tmp_path / name, texts=TEXT, codec=codec))
    assert track is not None
    assert track.times.tolist() == [0, 1, 2]
    assert track.latitudes == pytest.approx([51.5, 51.501, 51.502])
    assert track.at(0.5) == pytest.approx((51.5005, -0.12, 40.5))
    assert track.at(3.4) == pytest.approx((51.502, -0.12, 42))
    assert track.at(3.6) is None


def test_the_positions_of_a_packet_are_spread_over_its_time(tmp_path: Path) -> None:
    meta = [Timed(n, 1, gps5(*[(51 + n + k / 10, 7, 10) for k in range(10)])) for n in range(3)]
    track = read_gps(make_drive(tmp_path / "a.mp4", gpmd=meta))
    assert track is not None
    assert track.times == pytest.approx(np.arange(30) / 10)
    assert track.at(1.25) == pytest.approx((52.25, 7, 36))


def test_a_way_across_the_date_line_does_not_lead_around_the_world(tmp_path: Path) -> None:
    texts = [Timed(0, 1, "16.5 S 179.9990 E"), Timed(1, 1, "16.5 S 179.9990 W")]
    track = read_gps(make_drive(tmp_path / "a.mp4", texts=texts))
    assert track is not None
    place = track.at(0.25)
    assert place is not None
    assert place[:2] == pytest.approx((-16.5, 179.9995))


def test_a_gap_of_the_track_is_not_bridged(tmp_path: Path) -> None:
    texts = [Timed(0, 1, "51.5 N 0.1 W"), Timed(8, 1, "51.6 N 0.1 W")]
    track = read_gps(make_drive(tmp_path / "a.mp4", texts=texts, seconds=9))
    assert track is not None
    assert [track.at(time) is None for time in (1, 4, 7)] == [False, True, False]


@pytest.mark.parametrize("at", [16, 48, 60])
def test_the_boxes_of_novatek_s_cameras_are_read_a_second_each(tmp_path: Path, at: int) -> None:
    """Across midnight, with a second without a fix."""
    places = [None, (51.5, -0.125, 10), (51.501, -0.126, 20), None, (51.503, -0.128, 0)]
    track = read_gps(with_boxes(make_drive(tmp_path / "a.mp4", seconds=5), places, at=at))
    assert track is not None
    assert track.times.tolist() == [1, 2, 4]
    assert track.latitudes == pytest.approx([51.5, 51.501, 51.503], abs=1e-5)
    assert track.longitudes == pytest.approx([-0.125, -0.126, -0.128], abs=1e-5)
    assert track.speeds == pytest.approx([18.52, 37.04, 0])


def test_damaged_boxes_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = with_boxes(make_drive(tmp_path / "a.mp4"), [(51.5, -0.125, 10), b"rubbish", b"\0\0\0\x10freeGPS what"])
    assert read_gps(path) is not None
    assert [record.getMessage() for record in caplog.records] == [f"{path}: of its GPS track 2 parts are damaged"]
    path.write_bytes(path.read_bytes().replace(b"gps \0", b"gps ", 1))
    read_gps(path)


def test_a_first_box_that_is_damaged_moves_no_other(tmp_path: Path) -> None:
    track = read_gps(with_boxes(make_drive(tmp_path / "a.mp4"), [b"rubbish", (51.5, -0.125, 10), (51.5, -0.125, 10)]))
    assert track is not None
    assert track.times.tolist() == [1, 2]


def test_a_camera_that_finds_its_place_late_has_it_from_then_on(tmp_path: Path) -> None:
    texts = [Timed(n / 10, 0.1, "no fix" if n < 25 else "51.5 N 0.1 W") for n in range(30)]
    track = read_gps(make_drive(tmp_path / "a.mp4", texts=texts))
    assert track is not None
    assert track.times[0] == pytest.approx(2.5)


@pytest.mark.parametrize(("before", "found"), [(100, 1), (20_000, 0)])
def test_a_list_behind_more_boxes_than_a_camera_writes_is_not_looked_for(
    before: int, found: int, tmp_path: Path
) -> None:
    index = struct.pack(">I4sIIII", 24, b"gps ", 0x101, 1, 4096, 128)
    content = struct.pack(">I4s", 8, b"free") * before + struct.pack(">I4s", 8 + len(index), b"moov") + index
    (tmp_path / "a.mp4").write_bytes(content)
    assert len(gps_boxes(tmp_path / "a.mp4")) == found


def test_a_damaged_track_is_said_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good, bad = Timed(0, 1, gps5((*LONDON, 10))), Timed(1, 1, gps5((*LONDON, 10))[:-4])
    path = make_drive(tmp_path / "a.mp4", gpmd=[good, bad])
    with caplog.at_level(logging.INFO):
        assert read_gps(path) is not None
        assert read_gps(make_drive(tmp_path / "b.mp4", gpmd=[bad])) is None
        assert read_gps(make_drive(tmp_path / "c.mp4", gpmd=[Timed(0, 1, gps5((*LONDON, 10), fix=0))])) is None
        assert read_gps(make_drive(tmp_path / "d.mp4", texts=[Timed(0, 1, "Hello")])) is None
        assert read_gps(make_drive(tmp_path / "e.mp4", chapters=[Timed(0, 1, "one")])) is None
    assert [record.getMessage().removeprefix(str(tmp_path)) for record in caplog.records] == [
        "/a.mp4: of its GPS track 1 parts are damaged",
        "/b.mp4: its GPS track is damaged",
        "/c.mp4: its GPS track holds no position",
    ]
