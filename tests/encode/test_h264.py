"""Which encoder draws the overlay, and that its bytes are the same on every machine."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from roadmask.stream.encode.h264 import Encoding, H264Encoder, choose_encoder
from roadmask.stream.errors import OutputError

TOO_SMALL = (16, 16)  # for NVIDIA's encoders, which begin at about 145x49, so that these tests hold beside one too


def encoded(encoder: H264Encoder, count: int = 24) -> list[bytes]:
    """What comes out for each picture that goes in, and then for the end."""
    context = av.CodecContext.create(encoder.name, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt, context.time_base = 320, 176, "yuv420p", Fraction(1, 25)
    context.options = dict(encoder.options)
    encoder.set_up(context)
    noise = np.random.default_rng(0).integers(0, 255, (264, 400), np.uint8)
    moving = cv2.GaussianBlur(noise, (9, 9), 3)
    outputs = []
    for number in range(count):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(moving[:, number : number + 320]), format="yuv420p")
        picture.pts = number
        outputs.append(b"".join(bytes(packet) for packet in context.encode(picture)))
    return [*outputs, b"".join(bytes(packet) for packet in context.encode(None))]


def settings_in(stream: bytes) -> str:
    """What x264 tells of itself at the beginning of its output."""
    found = re.search(rb"options: ([^\0]*)", stream)
    assert found is not None
    return found.group(1).decode("ascii")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no way here to leave out cores")
def test_the_bytes_are_the_same_on_one_core_and_on_all() -> None:
    encoder = choose_encoder((176, 320))
    all_cores = os.sched_getaffinity(0)
    on_all = encoded(encoder)
    os.sched_setaffinity(0, {min(all_cores)})
    try:
        assert encoded(encoder) == on_all
    finally:
        os.sched_setaffinity(0, all_cores)


def test_frames_are_not_cut_into_slices_nor_threads_taken_by_the_number_of_cores() -> None:
    settings = settings_in(b"".join(encoded(choose_encoder((176, 320)))))
    assert "sliced_threads=0" in settings
    assert " threads=2 " in settings


def test_few_pictures_wait_in_the_encoder() -> None:
    outputs = encoded(choose_encoder((176, 320)))
    assert next(number for number, output in enumerate(outputs) if output) <= 8


def test_a_preset_that_is_named_is_x264s_own() -> None:
    assert "bframes=3" in settings_in(b"".join(encoded(choose_encoder((176, 320), Encoding(preset="veryfast")))))
    assert "bframes=0" in settings_in(b"".join(encoded(choose_encoder((176, 320)))))


@pytest.mark.parametrize("device", ["cpu", "coreml", "openvino:gpu"])
def test_auto_is_x264_without_an_nvidia_gpu(device: str) -> None:
    assert choose_encoder((720, 1280), Encoding(device=device)).name == "libx264"


def test_auto_goes_back_to_x264_where_nvidias_encoder_does_not_start(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        encoder = choose_encoder(TOO_SMALL, Encoding(device="cuda"))
    assert encoder == choose_encoder(TOO_SMALL, Encoding("x264"))
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [
        "x264 encodes the overlay: NVIDIA's encoder does not start"
    ]


def test_nvidias_encoder_that_is_named_and_does_not_start_is_one_line() -> None:
    with pytest.raises(OutputError, match=r"encoder nvenc does not start \(.+\); .* choose x264") as caught:
        choose_encoder(TOO_SMALL, Encoding("nvenc"))
    assert "\n" not in str(caught.value)


def test_nvidias_encoder_is_taken_on_the_gpu_that_the_network_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(H264Encoder, "failure", lambda *_: None)
    encoder = choose_encoder((720, 1280), Encoding(device="cuda:1", crf=20))
    assert (encoder.name, encoder.options["gpu"], encoder.options["cq"]) == ("h264_nvenc", "1", "20")
    assert choose_encoder((720, 1280), Encoding("x264", device="cuda:1")).name == "libx264"


def test_ffmpeg_knows_the_values_given_to_nvidias_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(H264Encoder, "failure", lambda *_: None)
        encoder = choose_encoder((720, 1280), Encoding("nvenc"))
    # FFmpeg reads the options before it looks for a GPU, so a value it does not know fails with or without one.
    assert encoder.failure((720, 1280)) != "Invalid argument"
    for name in ("preset", "tune", "rc", "cq", "b", "bf"):
        wrong = replace(encoder, options=encoder.options | {name: "nonsense"})
        assert wrong.failure((720, 1280)) == "Invalid argument"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"encoder": "h265"}, "encoder 'h265' is not known; choose auto, x264, nvenc"),
        ({"preset": "fastest"}, "preset 'fastest' is not known; choose ultrafast, superfast, "),
        ({"crf": 52}, r"crf 52 is not between 0 \(lossless\) and 51"),
        ({"crf": -1}, "crf -1 is not between"),
    ],
)
def test_what_the_encoder_cannot_do_is_refused_before_the_work(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(OutputError, match=message):
        choose_encoder((720, 1280), Encoding(**wrong))  # type: ignore[arg-type]
