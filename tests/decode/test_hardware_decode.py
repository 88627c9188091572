"""Decoding in hardware, up to FFmpeg's border: when it is wanted, what its pictures become, and what if it fails."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from roadmask.stream.decode import hardware_decode
from roadmask.stream.decode.hardware_decode import HardwareDecoder, as_software, decoder_for
from roadmask.stream.decode.source import open_source
from roadmask.stream.errors import SourceError
from tests.support.clips import cfr, make_clip


@pytest.mark.parametrize(
    ("option", "device", "expected"),
    [
        ("auto", "cpu", None),
        ("auto", "coreml", None),
        ("auto", "cuda", HardwareDecoder("cuda")),
        ("auto", "tensorrt:1", HardwareDecoder("cuda", "1")),
        ("software", "cuda", None),
        ("cuda:1", "cpu", HardwareDecoder("cuda", "1", required=True)),
        ("vaapi:/dev/dri/renderD129", "cpu", HardwareDecoder("vaapi", "/dev/dri/renderD129", required=True)),
    ],
)
def test_auto_decodes_on_the_gpu_of_the_network_alone(
    option: str, device: str, expected: HardwareDecoder | None
) -> None:
    assert decoder_for(option, device) == expected


@pytest.mark.parametrize(
    ("software", "hardware"),
    [("yuv420p", "nv12"), ("yuv444p", "nv24"), ("yuv420p10le", "p010le"), ("yuv422p10le", "p210le")],
)
@pytest.mark.parametrize("full_range", [False, True])
def test_its_pictures_become_those_of_software_to_the_bit(software: str, hardware: str, full_range: bool) -> None:
    reformatter = VideoReformatter()
    expected = reformatter.reformat(noise(34, 66), format=software, threads=1)
    expected.pts, expected.color_range = 7, ColorRange.JPEG if full_range else ColorRange.MPEG
    downloaded = reformatter.reformat(expected, format=hardware, threads=1)
    actual = as_software(downloaded, VideoReformatter())
    assert (actual.format.name, actual.pts, actual.color_range) == (software, 7, expected.color_range)
    np.testing.assert_array_equal(actual.to_ndarray(), expected.to_ndarray())


def test_pictures_that_are_as_software_s_are_not_touched() -> None:
    picture = noise(34, 66)
    assert as_software(picture, VideoReformatter()) is picture


def test_where_it_does_not_start_and_need_not_the_frames_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", cfr(12))
    expected = decoded(clip, None)
    refuse_hardware(monkeypatch)
    assert decoded(clip, HardwareDecoder("cuda")) == expected
    assert decoded(clip, HardwareDecoder("no such thing")) == expected


def test_with_the_hardware_of_this_machine_or_without_the_frames_are_the_same(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", cfr(12))
    assert decoded(clip, HardwareDecoder("cuda")) == decoded(clip, None)


def test_named_hardware_that_does_not_start_is_an_error_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", cfr(3))
    refuse_hardware(monkeypatch)
    with pytest.raises(SourceError, match=r"clip.mp4: cannot be decoded with cuda: it did not start .* driver"):
        open_source(clip, hardware=HardwareDecoder("cuda", required=True))
    with pytest.raises(SourceError, match=r"with warp: this FFmpeg has .* and software"):
        open_source(clip, hardware=HardwareDecoder("warp", required=True))


def test_a_codec_that_the_hardware_does_not_know_is_an_error_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", cfr(3))
    container = av.open(clip)  # as PyAV gives it back: open, and of no hardware
    monkeypatch.setattr(hardware_decode, "hwdevices_available", lambda: ["cuda"])
    monkeypatch.setattr(hardware_decode, "HWAccel", lambda *_args, **_options: None)
    monkeypatch.setattr(hardware_decode.av, "open", lambda *_args, **_options: container)
    with pytest.raises(SourceError, match="does not know this codec; take --decode software"):
        HardwareDecoder("cuda", required=True).open(clip)
    assert HardwareDecoder("cuda").open(clip) is None


def test_what_is_no_video_is_told_as_such_whatever_decodes(tmp_path: Path) -> None:
    (tmp_path / "junk.mp4").write_bytes(b"\xfejunk" * 100)
    with pytest.raises(SourceError, match="not a video that can be read"):
        open_source(tmp_path / "junk.mp4", hardware=HardwareDecoder("cuda", required=True))


def refuse_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    """As FFmpeg does where there is no driver."""
    opened, refused = av.open, object()

    def refusing(path: Path, **options: object) -> object:
        if options["hwaccel"] is refused:
            raise av.PermissionError(1, "Operation not permitted")
        return opened(path, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(hardware_decode, "hwdevices_available", lambda: ["cuda"])
    monkeypatch.setattr(hardware_decode, "HWAccel", lambda *_args, **_options: refused)
    monkeypatch.setattr(av, "open", refusing)


def decoded(clip: Path, hardware: HardwareDecoder | None) -> list[tuple[int, str, bytes, bytes]]:
    with open_source(clip, hardware=hardware) as source:
        return [
            (frame.pts, frame.picture.format.name, frame.picture.to_ndarray().tobytes(), frame.input.tobytes())
            for frame in source.frames(lambda _: (32, 64))
        ]


def noise(height: int, width: int) -> av.VideoFrame:
    pixels: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return av.VideoFrame.from_ndarray(pixels, format="rgb24")
