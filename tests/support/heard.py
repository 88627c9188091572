"""Small videos with sound of any kind: at one instant the picture turns white and a tone begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import av
import numpy as np

from roadmask.stream.frames import HeardSound, Moment, SegmentedFrame

RATE = 25
SIZE = (48, 64)
_LOUD = 0.1


def make_heard(
    path: Path,
    codec: str,
    *,
    rate: int = 48000,
    layout: str = "mono",
    seconds: float = 2.0,
    at_s: float = 1.0,
    late_s: Fraction = Fraction(0),
    sound_late_s: Fraction = Fraction(0),
    options: dict[str, str] | None = None,
) -> Path:
    """Encode a clip.

    Args:
        path: its suffix names the container.
        codec: an encoder of FFmpeg for the sound.
        rate: samples a second.
        layout: of the sound's channels.
        seconds: how long it is.
        at_s: when the picture turns white and the tone begins, seconds from the first picture.
        late_s: time of the first picture.
        sound_late_s: by which the sound begins later than the picture; it is cut, and not moved.
        options: of the container.
    """
    with av.open(path, "w", container_options=options or {}) as container:
        # AVI cannot tell the times of pictures that are not sent in their order.
        codec_of_pictures = "mpeg4" if path.suffix in (".avi", ".asf") else "libx264"
        pictures: Any = container.add_stream(codec_of_pictures, rate=RATE, width=SIZE[1], height=SIZE[0])
        pictures.pix_fmt = "yuv420p"
        sound: Any = container.add_stream(codec, rate=rate, options={"strict": "-2"})
        sound.layout, sound.bit_rate = layout, 128_000
        packets = [*_pictures(pictures, seconds, at_s, late_s), *_sound(sound, seconds, at_s, late_s, sound_late_s)]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def _pictures(stream: Any, seconds: float, at_s: float, late_s: Fraction) -> Iterator[Any]:
    for number in range(round(seconds * RATE)):
        level = 230 if number >= at_s * RATE else 20
        frame = av.VideoFrame.from_ndarray(np.full((*SIZE, 3), level, np.uint8)).reformat(format=stream.pix_fmt)
        frame.pts, frame.time_base = number + round(late_s * RATE), Fraction(1, RATE)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _sound(stream: Any, seconds: float, at_s: float, late_s: Fraction, sound_late_s: Fraction) -> Iterator[Any]:
    rate, channels = stream.rate, stream.layout.nb_channels
    times = np.arange(round(float(sound_late_s) * rate), round(seconds * rate)) / rate
    tone = np.where(times >= at_s, 0.5 * np.sin(2 * np.pi * 1000 * (times - at_s) + 1), 0).astype(np.float32)
    for first in range(0, len(tone), 1024):
        samples = np.repeat(tone[None, first : first + 1024], channels, axis=0)
        # Packed: PyAV reads beyond the planes of 8 channels and more.
        frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1), format="flt", layout=stream.layout.name)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = round((late_s + sound_late_s) * rate) + first
        yield from stream.encode(frame)
    yield from stream.encode(None)


def seen_and_heard(path: Path, track: int = 0) -> tuple[float, float]:
    """When the first white picture is shown, and when the tone begins, in seconds."""
    return seen(path), heard(path, track)


def seen(path: Path) -> float:
    """When the first white picture is shown."""
    with av.open(path) as container:
        for picture in container.decode(video=0):
            if picture.to_ndarray(format="gray").mean() > 128:
                assert picture.time is not None
                return picture.time
    return -1


def heard(path: Path, track: int = 0) -> float:
    """When the tone begins, on the track of that number."""
    with av.open(path) as container:
        stream = container.streams.audio[track]
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=stream.rate)
        for frame in container.decode(stream):
            assert frame.time is not None
            samples = np.abs(np.concatenate([out.to_ndarray() for out in resampler.resample(frame)], axis=1)[0])
            if (loud := np.flatnonzero(samples > _LOUD)).size:
                return frame.time + loud[0] / frame.sample_rate
    return -1


def sound_of(path: Path) -> list[tuple[str, int, str]]:
    """Codec, rate and layout of each track."""
    with av.open(path) as container:
        return [(track.codec_context.name, track.rate, track.layout.name) for track in container.streams.audio]


def plays(path: Path) -> bool:
    """Whether each packet of pictures and sound is decoded without complaint."""
    with av.open(path, options={"err_detect": "explode"}) as container:
        streams = [*container.streams.video, *container.streams.audio]
        counts = dict.fromkeys((stream.index for stream in streams), 0)
        for packet in container.demux(streams):
            counts[packet.stream_index] += len(packet.decode())
    return all(counts.values())


def sound_packets(path: Path) -> list[tuple[Fraction, bytes]]:
    """Time and content of each packet of the first track."""
    with av.open(path) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.pts is not None]
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in packets]


def with_tone(results: Iterable[SegmentedFrame], *, from_s: float) -> Iterator[SegmentedFrame]:
    """As of a camera with a microphone that hears nothing before `from_s` of the frames' time, and then a tone."""
    sound, rate = HeardSound("pcm_mulaw", 8000, 1), 8000
    pieces = count(0, 160)
    for result in results:
        while (first := next(pieces)) < (result.frame.time + 1) * rate:
            times = np.arange(first, first + 160) / rate
            tone = np.where(times >= from_s, 0.5 * np.sin(2 * np.pi * 1000 * times + 1), 0).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            frame.sample_rate = rate
            sound.add(Fraction(first, rate), frame)
        yield replace(result, frame=replace(result.frame, heard=Moment(sound, result.frame.time)))
