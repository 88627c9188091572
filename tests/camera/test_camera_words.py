"""What words on the command line mean as cameras, and what of them may be said."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from roadmask.stream.camera.camera import CameraSettings, is_camera, parse_camera
from roadmask.stream.decode.source import open_source
from roadmask.stream.errors import OutputError, SourceError
from roadmask.stream.live.publisher import parse_target
from roadmask.stream.system.url import is_secret, name_of, parse_url, redacted, without_secrets

DEFAULTS = CameraSettings()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://user:secret@host:554/live/1", "rtsp://host:554/live/1"),
        ("rtsp://user:p@ss@host/x", "rtsp://host/x"),
        ("http://host/x?user=joe&password=secret&size=1", "http://host/x?user=***&password=***&size=1"),
        ("https://host/x?ACCESS_TOKEN=abc#top", "https://host/x?ACCESS_TOKEN=***"),
        ("rtsp://[fe80::1]:554/x", "rtsp://[fe80::1]:554/x"),
        ("/dev/video0", "/dev/video0"),
        ("front=rtsp://user:secret@host/x", "front=rtsp://host/x"),
    ],
)
def test_a_url_is_shown_without_its_keys(url: str, shown: str) -> None:
    assert redacted(url) == shown
    assert is_secret(url) == (url != shown)


def test_a_camera_is_named_by_host_and_path_alone() -> None:
    assert name_of("rtsp://user:secret@host:554/live/1?token=abc") == "host_554_live_1"


@pytest.mark.parametrize(
    ("word", "name", "url"),
    [
        ("front=rtsp://user:secret@host/x?a=b", "front", "rtsp://user:secret@host/x?a=b"),
        ("rear door=rtsp://host/x", "rear_door", "rtsp://host/x"),
        ("rtsp://host/x?a=b", "host_x", "rtsp://host/x?a=b"),
        ("udp://127.0.0.1:5000", "127.0.0.1_5000", "udp://127.0.0.1:5000"),
    ],
)
def test_a_url_may_be_given_a_name(word: str, name: str, url: str) -> None:
    assert is_camera(word, DEFAULTS)
    camera = parse_camera(word, DEFAULTS)
    assert (camera.name, camera.url) == (name, url)


@pytest.mark.parametrize(
    "password", ["pa#ss", "pa/ss", "pa?ss", "pa=s&s", "p@ss", "p@s/s", "p:a", "pa%ss", "p@ss#w?r/d=&:%"]
)
@pytest.mark.parametrize("host", ["127.0.0.1:8554", "[fe80::1]", "localhost"])
def test_a_password_may_hold_what_ends_a_host(password: str, host: str) -> None:
    camera = parse_camera(f"rtsp://admin:{password}@{host}/live?channel=1", DEFAULTS)
    address = parse_url(camera.url)
    assert address.credentials == ("admin", password)
    assert str(address.without_credentials()) == f"rtsp://{host}/live?channel=1"
    assert urlsplit(camera.url).hostname == host.partition(":8")[0].strip("[]"), "others read it so, too"
    assert "ss" not in camera.name
    assert redacted(f"rtsp://admin:{password}@{host}/live") == f"rtsp://{host}/live"


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:se#cret",
        "rtsp://admin:12/cret@camera/live",
        "rtsp://admin:p@se/cret@camera/live",
        "rtsp://admin:12/cret@camera.example.org/live",
        "rtsp://camera:99999/cret",
    ],
)
def test_an_address_that_can_be_read_in_two_ways_or_none_tells_what_to_write(url: str) -> None:
    with pytest.raises(SourceError, match=r"^rtsp://\*\*\*: cannot be split .* percent-encoded") as raised:
        parse_camera(url, DEFAULTS)
    assert "cret" not in f"{raised.value}{raised.value.__cause__}{raised.value.__context__}"
    with pytest.raises(OutputError, match="percent-encoded") as refused:
        parse_target(url, timeout_s=1)
    assert "cret" not in str(refused.value)
    assert name_of(url) == "camera"


@pytest.mark.parametrize(
    ("rest", "name"),
    [
        ("user=admin_password=SECRET_channel=1_stream=0.sdp?real_stream", "host_channel_1_stream_0.sdp"),
        ("user=admin&password=SECRET&channel=1", "host_channel_1"),
        ("live/1?user=a&password=SECRET&size=1", "host_live_1"),
        ("video.cgi?loginuse=a&loginpas=SEC=RET==", "host_video.cgi"),
        ("x?usr=a&pwd=pa#SECRET", "host_x"),
        ("x?auth=SECRET", "host_x"),
        ("x?channel=1&access_token=SECRET", "host_x"),
        ("stream?src=rtsp://joe:SECRET@10.0.0.7/live", "host_stream"),
    ],
)
def test_a_secret_in_the_path_or_the_query_is_in_no_name_and_no_line(rest: str, name: str) -> None:
    camera = parse_camera(f"http://host/{rest}", DEFAULTS)
    assert camera.url == f"http://host/{rest}", "it is asked for as it is written"
    assert camera.name == name
    for part in ("SECRET", "SEC", "RET", "joe"):
        assert part not in redacted(f"http://host/{rest}")
    assert is_secret(f"http://host/{rest}")


@pytest.mark.parametrize(
    "url", ["http://10.0.0.7:80/x?mail=joe@example.org", "http://camera.lan/x?mail=joe@example.org"]
)
def test_an_at_sign_behind_the_host_is_no_end_of_a_password(url: str) -> None:
    assert parse_camera(url, DEFAULTS).url == url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp:/joe:se#cret@10.0.0.7/x: no such file", "rtsp://10.0.0.7/x: no such file"),
        ("'http://joe:secret@host/x' and rtsp://host/y?pwd=a", "'http://host/x' and rtsp://host/y?pwd=***"),
        ("live view at http://127.0.0.1:8080/", "live view at http://127.0.0.1:8080/"),
        ("rtsp://***: cannot be split", "rtsp://***: cannot be split"),
        ("a: is that: /or that", "a: is that: /or that"),
        ("udp://127.0.0.1:9000: unknown", "udp://127.0.0.1:9000: unknown"),
        ("rtsp://joe:secret@host:8554: unknown", "rtsp://host:8554: unknown"),
        ("C:/videos/drive@home.mp4: no such file", "C:/videos/drive@home.mp4: no such file"),
        ("s3://bucket/a@b.mp4: no such file", "s3://bucket/a@b.mp4: no such file"),
    ],
)
def test_no_text_shows_what_is_secret_in_an_address(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_a_camera_does_not_print_its_url() -> None:
    assert "secret" not in repr(parse_camera("rtsp://user:secret@host/x", DEFAULTS))


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("linux", ("/dev/video2", "v4l2")),
        ("darwin", ("2:none", "avfoundation")),
        ("win32", ("video=2", "dshow")),
    ],
)
def test_a_number_is_a_webcam(platform: str, expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    camera = parse_camera("2", CameraSettings(size="1280x720", rate="30"))
    assert (camera.url, camera.format) == expected
    assert dict(camera.options) == {"video_size": "1280x720", "framerate": "30"}


def test_windows_names_webcams_itself() -> None:
    camera = parse_camera("video=Integrated Camera", DEFAULTS)
    assert camera.url == "video=Integrated Camera"
    assert camera.name == "video_Integrated_Camera"


def test_files_folders_and_patterns_are_no_cameras(tmp_path: Path) -> None:
    (tmp_path / "0").touch()
    for word in (str(tmp_path), str(tmp_path / "0"), "*.mp4", "a=b.mp4", str(tmp_path / "missing.mp4")):
        assert not is_camera(word, DEFAULTS), word


def test_a_fifo_is_read_to_its_end_and_waited_for(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no FIFOs")
    os.mkfifo(tmp_path / "pipe.ts")
    assert is_camera(str(tmp_path / "pipe.ts"), DEFAULTS)
    camera = parse_camera(str(tmp_path / "pipe.ts"), DEFAULTS)
    assert (camera.every_frame, camera.endless, camera.timeout_s) == (True, False, None)


def test_standard_input_is_a_pipe_whatever_its_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    for settings in (DEFAULTS, CameraSettings(input_format="rawvideo", size="64x48", pixel_format="gray")):
        camera = parse_camera("-", settings)
        assert (camera.url, camera.format, camera.endless) == ("pipe:0", settings.input_format, False)


def test_standard_input_that_is_a_terminal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    with pytest.raises(SourceError, match="-: standard input is a terminal; pipe a video into it"):
        parse_camera("-", DEFAULTS)


def test_a_camera_drops_frames_and_a_playlist_does_not_unless_told() -> None:
    assert not parse_camera("rtsp://host/x", DEFAULTS).every_frame
    assert parse_camera("https://host/live.m3u8?x=1", DEFAULTS).every_frame
    assert parse_camera("rtsp://host/x", CameraSettings(policy="every-frame")).every_frame
    assert not parse_camera("https://host/live.m3u8", CameraSettings(policy="latest")).every_frame


def test_an_unknown_kind_of_address_is_named_with_the_known_ones() -> None:
    with pytest.raises(
        SourceError, match=r"gopher://host: unknown kind of address gopher://; known are rtsp, "
    ) as raised:
        parse_camera("gopher://user:secret@host", DEFAULTS)
    assert "secret" not in str(raised.value)


def test_srt_is_told_with_how_to_read_it() -> None:
    with pytest.raises(SourceError, match=r"^srt://host:9000: .* ffmpeg -i URL -c copy -f mpegts - \| roadmask run -$"):
        parse_camera("srt://user:secret@host:9000", DEFAULTS)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("rtsp:10.0.0.7/live", "an address has two slashes, as in rtsp://10.0.0.7/live"),
        ("http:/10.0.0.7/video", "an address has two slashes, as in rtsp://10.0.0.7/live"),
        ("10.0.0.7:554/live", "a camera there is rtsp://10.0.0.7:554/live or http://10.0.0.7:554/live"),
        ("webcam", "a webcam is 0, 1, ... or /dev/video0"),
        ("1.2.3.4.mp4", ""),
        ("camera.mp4", ""),
    ],
)
def test_a_word_that_looks_like_a_camera_is_told_how_cameras_are_written(word: str, told: str) -> None:
    with pytest.raises(
        SourceError, match=f"no such file{'; ' if told else ''}{re.escape(told)}" + ("" if told else "$")
    ):
        open_source(Path(word))
