"""A video file opens nothing but itself, and no more memory is taken than is allowed."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import av
import numpy as np
import pytest

from roadmask.stream.decode.opening import open_container, open_file
from roadmask.stream.decode.source import open_source
from roadmask.stream.errors import SourceError
from tests.support.clips import cfr, make_clip
from tests.support.corpus import CASES

DESCRIPTORS = Path("/proc/self/fd")


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("list.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{clip}\n#EXT-X-ENDLIST\n", "a playlist"),
        ("list.mkv", "ffconcat version 1.0\nfile '{clip}'\n", "a list of files"),
        ("list.avi", "ffconcat version 1.0\nfile '{name}'\n", "a list of files"),
        (
            "stream.mp4",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
            "a=rtpmap:96 H264/90000\n",
            "a description of a network stream",
        ),
        ("list.webm", "<MPD type='static'><Period/></MPD>", "a playlist"),
    ],
)
def test_a_file_that_names_others_opens_none_of_them(tmp_path: Path, name: str, text: str, what: str) -> None:
    clip = make_clip(tmp_path / "clip.mp4", cfr(3))
    path = tmp_path / name
    path.write_text(text.format(clip=clip, name=clip.name))
    with pytest.raises(SourceError, match=f"{name}: not a video, but {what}"):
        open_file(path)


@pytest.mark.parametrize(
    "name", ["http:x.mp4", "-i.mp4", "file:clip.mp4", "concat:a.mp4|b.mp4", "frame_%04d.mp4", "é ?#.mp4"]
)
def test_a_name_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    make_clip(tmp_path / "clip.mp4", cfr(3)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with open_source(Path(name)) as source:
        assert len(list(source.frames(lambda _: (32, 32)))) == 3


def test_a_video_keeps_no_descriptor_and_reads_from_its_beginning_each_time(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", cfr(3))
    before = len(list(DESCRIPTORS.glob("*")))
    for _ in range(3):
        with open_container(clip) as one, open_container(clip) as other:
            assert len(list(one.decode(video=0))) == len(list(other.decode(video=0))) == 3
    assert len(list(DESCRIPTORS.glob("*"))) <= before


def test_a_video_that_nothing_decodes_is_one_line_with_what_to_do(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", cfr(3))
    clip.write_bytes(clip.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XYZ"))
    with pytest.raises(SourceError, match=r"clip\.mkv: no decoder for its video; make it H\.264 with another program"):
        open_source(clip)


def test_a_pipe_is_told_apart_from_a_file_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(SourceError, match=r"pipe\.mp4: not a file, but a pipe"):
        open_file(tmp_path / "pipe.mp4")


def test_pictures_larger_than_allowed_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.avi"
    with av.open(path, "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = 1200, 1000, "gray"
        picture = av.VideoFrame.from_ndarray(np.zeros((1000, 1200), np.uint8), "gray")
        container.mux([*stream.encode(picture), *stream.encode()])
    with open_source(path, max_pixels=2_000_000) as source:
        assert source.info.width == 1200
    told = r"bomb\.avi: its pictures of 1200x1000 are larger than --max-pixels 1000000; --max-pixels 1200000 takes them"
    with pytest.raises(SourceError, match=told):
        open_source(path, max_pixels=1_000_000)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_recording_that_power_cut_off_before_its_index_is_told_as_that_with_a_cure(
    share: float, tmp_path: Path
) -> None:
    path = make_clip(tmp_path / "REC_0005F.MP4", cfr(25))
    content = path.read_bytes()
    assert content.index(b"moov") > content.index(b"mdat")
    path.write_bytes(content[: int(content.index(b"moov") * share)])
    with pytest.raises(SourceError, match=r"REC_0005F\.MP4: .* cut off before its index .* untrunc"):
        open_file(path)


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path / "clip.mp4", cfr(3))

    def refused(*_arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(SourceError, match=r"clip\.mp4: cannot be read \(Permission denied\)"):
        open_file(clip)


def test_a_file_that_is_read_up_to_a_cut_is_closed_with_its_video(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    next(case for case in CASES if case.name == "cut_head_of_a_fragment.mp4").make(path)
    with open_source(path) as source:
        assert len(list(source.frames(lambda _: (64, 64)))) == 20
    del source
    gc.collect()  # what is left open would be warned of here, which is an error
    assert path not in {item.resolve() for item in DESCRIPTORS.iterdir()}
