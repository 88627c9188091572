"""Small videos, made where a test needs them. Each frame's brightness tells its number."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from roadmask.stream.archive.manifest import ArchiveHeader
from roadmask.stream.archive.mask_sink import MaskSink, archive_sink
from roadmask.stream.frames import Frame, SegmentedFrame, VideoInfo
from roadmask.stream.spec import ModelSpec, PixelClass

TICK = Fraction(1, 12800)
RATE = Fraction(25)
SOUND_RATE = 48000


def cfr(count: int, first: int = 0) -> list[int]:
    """The pts, in `TICK`s, of `count` frames at 25 fps."""
    return [first + number * 512 for number in range(count)]


def make_clip(
    path: Path,
    pts: Sequence[int],
    *,
    time_base: Fraction = TICK,
    size: tuple[int, int] = (48, 64),
    codec: str = "libx264",
    rotation: float = 0,
    flips: tuple[bool, bool] = (False, False),
    sound_s: Sequence[float] = (),
    picture: NDArray[np.uint8] | None = None,
    sample_aspect_ratio: Fraction | None = None,
) -> Path:
    """Encode a clip.

    Args:
        path: its suffix names the container.
        pts: of the frames, in `time_base`.
        time_base: seconds.
        size: height, width.
        codec: an encoder of FFmpeg.
        rotation: degrees counter-clockwise a player has to turn it, and then
        flips: to mirror it horizontally, vertically.
        sound_s: the length of each of its sound tracks, seconds.
        picture: RGB, the same in all frames, in place of the brightness that counts.
        sample_aspect_ratio: width of a pixel by its height.
    """
    options = {"video_track_timescale": str(time_base.denominator), "movie_timescale": str(time_base.denominator)}
    with av.open(path, "w", container_options=options if path.suffix in (".mp4", ".mov") else {}) as container:
        video = container.add_stream(codec, rate=RATE, width=size[1], height=size[0])
        assert isinstance(video, av.VideoStream)
        video.pix_fmt = "gray" if codec == "ffv1" else "yuvj420p" if codec == "mjpeg" else "yuv420p"
        video.time_base = video.codec_context.time_base = time_base
        video.codec_context.gop_size = 10
        if sample_aspect_ratio:
            video.codec_context.sample_aspect_ratio = sample_aspect_ratio
        if rotation or any(flips):
            video.set_display_rotation(rotation, *flips)
        tracks = [container.add_stream("aac", rate=SOUND_RATE, layout="mono") for _ in sound_s]
        for track, seconds in zip(tracks, sound_s, strict=True):
            assert isinstance(track, av.AudioStream)
            _add_sound(container, track, seconds)
        for number, time in enumerate(pts):
            pixels = np.full((*size, 3), (2 * number + 40) % 250, np.uint8) if picture is None else picture
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=video.pix_fmt)
            frame.pts, frame.time_base = time, time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def _add_sound(container: av.container.OutputContainer, track: av.AudioStream, seconds: float) -> None:
    samples = np.sin(np.arange(int(seconds * SOUND_RATE)) * 440 * 2 * np.pi / SOUND_RATE).astype(np.float32)
    for first in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, first : first + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, first, Fraction(1, SOUND_RATE)
        container.mux(track.encode(frame))
    container.mux(track.encode(None))


def times_of(path: Path) -> list[Fraction]:
    """When each frame of a video is shown, in seconds."""
    with av.open(path) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]  # type: ignore[operator]


def sound_times_of(path: Path, track: int = 0) -> list[Fraction]:
    """When each packet of a sound track begins, in seconds."""
    with av.open(path) as container:
        packets = container.demux(container.streams.audio[track])
        return [packet.pts * packet.time_base for packet in packets if packet.pts is not None]


SPEC = ModelSpec(
    schema=1,
    classes=(PixelClass("road", (128, 64, 128)), PixelClass("car", (0, 0, 142)), PixelClass("sky", (70, 130, 180))),
    input_name="pixels",
    output_name="scores",
    height=48,
    width=64,
    stride=16,
    provenance={},
    scores={},
)


def video_info(width: int = 64, height: int = 48, *, has_audio: bool = False) -> VideoInfo:
    return VideoInfo(
        width=width,
        height=height,
        rate=RATE,
        frame_count=None,
        duration=None,
        time_base=TICK,
        rotation=0,
        sample_aspect_ratio=Fraction(1),
        codec="h264",
        pixel_format="yuv420p",
        has_audio=has_audio,
        live=False,
    )


def result_of(mask: NDArray[np.uint8], index: int = 0, pts: int | None = None) -> SegmentedFrame:
    """A mask as if it came from a frame that is grey all over."""
    height, width = mask.shape
    frame = Frame(
        index=index,
        pts=512 * index if pts is None else pts,
        time_base=TICK,
        picture=av.VideoFrame(width, height, "yuv420p"),
        input=np.zeros((16, 16, 3), np.uint8),
        info=video_info(width, height),
    )
    return SegmentedFrame(frame, mask)


def open_archive_sink(
    path: Path, info: VideoInfo, spec: ModelSpec, *, overwrite: bool = False, **told: Any
) -> MaskSink:
    """Of masks of such a video; `told` is what else the header says."""
    return archive_sink(path, ArchiveHeader(spec.classes, info.width, info.height, **told), overwrite=overwrite)
