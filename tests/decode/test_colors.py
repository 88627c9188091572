"""Of every matrix, range, depth and layout the network and the overlay get the colours that the file means.

Held against FFmpeg's command line, asked for its accurate conversion: its quick one is further from the truth than
ours.
"""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from roadmask.stream.decode import tone_map
from roadmask.stream.decode.pixels import network_input
from roadmask.stream.decode.source import open_source
from roadmask.stream.decode.tone_map import HLG, PQ, standard_range
from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import SegmentSettings
from tests.support.color_model import write_color_model

SIZE = HEIGHT, WIDTH = 96, 128
MOST = 1.5  # of 255, on average
UNSPECIFIED, FULL, LIMITED = 2, ColorRange.JPEG, ColorRange.MPEG
MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, UNSPECIFIED: 5}  # H.273's to swscale's
DEPTHS = ["yuv422p", "yuv444p", "yuv411p", "yuva420p", "yuv420p10le", "yuv422p10le", "yuv444p16le"]
GRAYS = ["gray", "gray10le", "gray16le"]
LAYOUTS = [
    *(("ffv1", "yuv420p", matrix, full) for matrix in MATRICES for full in (LIMITED, FULL)),
    *(("ffv1", "yuv444p12le", matrix, full) for matrix in MATRICES for full in (LIMITED, FULL)),
    *(("ffv1", pixels, matrix, full) for pixels in DEPTHS for matrix in (1, 9) for full in (LIMITED, FULL)),
    *(("ffv1", pixels, UNSPECIFIED, full) for pixels in GRAYS for full in (LIMITED, FULL)),
    *(("ffv1", pixels, UNSPECIFIED, FULL) for pixels in ("bgr0", "gbrp10le", "rgb48le")),
    *(("mjpeg", pixels, UNSPECIFIED, FULL) for pixels in ("yuvj420p", "yuvj444p")),
    *(("png", pixels, UNSPECIFIED, FULL) for pixels in ("rgb24", "rgba", "gray", "gray16be", "ya8")),
    *(("rawvideo", pixels, UNSPECIFIED, ColorRange.UNSPECIFIED) for pixels in ("yuyv422", "nv12")),
]

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def picture() -> Picture:
    """Soft patches of all colours, so that halved chroma costs little."""
    patches = np.random.default_rng(3).integers(60, 200, (3, 4, 3), np.uint8)
    return np.asarray(cv2.resize(patches, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.load(write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx"), device="cpu")


def make(path: Path, picture: Picture, codec: str, pixels: str, matrix: int, full: int) -> Path:
    frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(
        format=pixels, dst_colorspace=MATRICES[matrix], src_color_range=FULL, dst_color_range=full or LIMITED
    )
    frame.colorspace, frame.color_range = matrix, full
    return write(path, frame, codec)


def write(path: Path, frame: av.VideoFrame, codec: str) -> Path:
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25, width=frame.width, height=frame.height)
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = frame.format.name
        context = stream.codec_context
        context.colorspace, context.color_range, context.color_trc = (
            frame.colorspace,
            frame.color_range,
            frame.color_trc,
        )
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def seen_by_the_network(path: Path) -> Picture:
    with open_source(path) as source:
        return next(iter(source.frames(lambda _: SIZE))).input


def seen_by_ffmpeg(path: Path) -> Picture:
    flags = "bilinear+accurate_rnd+full_chroma_int+full_chroma_inp"
    command = ["ffmpeg", "-v", "error", "-i", path, "-sws_flags", flags, "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(HEIGHT, WIDTH, 3)


def apart(one: Picture, other: Picture) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def drawn_over(path: Path, model: Model) -> Path:
    """An overlay video in which no class covers anything."""
    overlay = path.with_name(f"{path.stem}_overlay.mkv")
    process_video(SegmentSettings(path, overlay=overlay, alpha=0.0, crf=0, overwrite=True), model)
    return overlay


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs the ffmpeg command line")
@pytest.mark.parametrize(("codec", "pixels", "matrix", "full"), LAYOUTS)
def test_the_network_sees_what_ffmpeg_shows(
    picture: Picture, tmp_path: Path, codec: str, pixels: str, matrix: int, full: int
) -> None:
    suffix = {"png": "mov", "rawvideo": "avi"}.get(codec, "mkv")
    path = make(tmp_path / f"colors.{suffix}", picture, codec, pixels, matrix, full)
    assert apart(seen_by_the_network(path), seen_by_ffmpeg(path)) < MOST


@pytest.mark.parametrize(
    ("codec", "pixels", "matrix", "full"),
    [
        layout
        for layout in LAYOUTS
        if layout[1] in ("yuv444p", "yuv420p10le", "rgb48le", "rgba", "gray10le", "yuvj420p")
    ],
)
def test_the_overlay_has_the_colours_of_the_video(
    picture: Picture, model: Model, tmp_path: Path, codec: str, pixels: str, matrix: int, full: int
) -> None:
    path = make(tmp_path / f"colors.{'mov' if codec == 'png' else 'mkv'}", picture, codec, pixels, matrix, full)
    assert apart(seen_by_the_network(drawn_over(path, model)), seen_by_the_network(path)) < MOST


def test_an_overlay_of_rgb_says_which_colours_it_has(picture: Picture, model: Model, tmp_path: Path) -> None:
    """Players would take small pictures for BT.601 and large ones for BT.709."""
    overlay = drawn_over(make(tmp_path / "colors.mkv", picture, "ffv1", "bgr0", UNSPECIFIED, FULL), model)
    with av.open(overlay) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (1, LIMITED)


# High dynamic range


def hdr_clip(path: Path, light: NDArray[np.float64], transfer: int) -> Path:
    """A video of light (height, width, 3) in cd/m2 of BT.709's primaries, as HDR cameras write it."""
    wide = np.clip(light @ np.linalg.inv(tone_map._TO_BT709).T, 0, None)
    code = tone_map._pq_code(wide) if transfer == PQ else hlg_code(wide)
    rgb = np.rint(code * 65535).astype(np.uint16)
    frame = av.VideoFrame.from_ndarray(rgb, "rgb48le").reformat(
        format="yuv420p10le", dst_colorspace=9, src_color_range=FULL, dst_color_range=LIMITED
    )
    frame.colorspace, frame.color_range, frame.color_trc = 9, LIMITED, transfer
    return write(path, frame, "ffv1")


def hlg_code(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """ITU-R BT.2100, note 5g and table 5, for a screen of 1000 cd/m2."""
    display = light / 1000
    luma = np.maximum(display @ [0.2627, 0.6780, 0.0593], 1e-9)[..., None]
    scene = display * luma ** ((1 - 1.2) / 1.2)
    upper = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), upper)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_what_hdr_shows_as_dark_as_an_ordinary_screen_looks_the_same(
    picture: Picture, model: Model, tmp_path: Path, transfer: int
) -> None:
    dim = np.asarray(picture * 0.7, np.uint8)  # up to 97 cd/m2, which the curve leaves alone
    path = hdr_clip(tmp_path / "hdr.mkv", (dim / 255.0) ** 2.4 * 203, transfer)
    assert apart(seen_by_the_network(path), dim) < MOST
    assert apart(seen_by_the_network(drawn_over(path, model)), dim) < MOST
    with av.open(tmp_path / "hdr_overlay.mkv") as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_brighter_than_an_ordinary_screen_is_told_apart_up_to_1000(tmp_path: Path, transfer: int) -> None:
    steps = np.array([50.0, 100, 203, 400, 600, 800, 1000, 1000])
    light = np.repeat(np.repeat(steps, WIDTH // 8)[None, :, None], HEIGHT, axis=0).repeat(3, axis=2)
    shown = seen_by_the_network(hdr_clip(tmp_path / "hdr.mkv", light, transfer))
    grays = shown[HEIGHT // 2, WIDTH // 16 :: WIDTH // 8].astype(int)
    assert np.ptp(grays, axis=1).max() <= 2, "gray stays gray"
    levels = grays.mean(axis=1)
    assert levels[0] == pytest.approx(255 * (50 / 203) ** (1 / 2.4), abs=2)
    assert (np.diff(levels[:4]) > 10).all()  # from there on the curve is all but flat
    assert (np.diff(levels) >= 0).all()
    assert levels[-1] >= 253


def test_the_table_between_its_points_is_the_formula() -> None:
    steps = np.random.default_rng(1).uniform(0.3, 0.7, (HEIGHT // 8, WIDTH // 8, 3)).repeat(8, axis=0).repeat(8, axis=1)
    frame = av.VideoFrame.from_ndarray(np.rint(steps * 65535).astype(np.uint16), "rgb48le")
    frame.color_trc = PQ
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    expected = np.rint(standard_range(steps, PQ) * 255).astype(np.uint8)
    shown = network_input(tone_map.ToneMapper()(frame), SIZE, VideoReformatter())
    inner = np.s_[3::8, 3::8]  # away from the edges, which halved chroma softens
    assert apart(shown[inner], expected[inner]) < MOST
