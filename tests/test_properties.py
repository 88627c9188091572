"""Whatever its size, rate, times, pixels and rotation: each frame of a video comes out once, in order, at its time.

What is expected is worked out from a plain loop over PyAV, which decodes the same file.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.errors import SourceError
from roadmask.stream.network.model import Model
from roadmask.stream.run import stages
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import SegmentSettings
from tests.support.clips import times_of
from tests.support.color_model import write_color_model

TIME_BASES = [Fraction(1, 25), Fraction(1001, 30000), Fraction(7), Fraction(1, 90000), Fraction(1, 12800)]
# What holds any of these pixels without loss, and any times; and what has rotations.
PIXELS = ["yuv420p", "yuv422p", "yuv444p", "gray", "yuv420p10le", "rgb24", "bgra", "gray16le"]
FORMATS = [
    *(("nut", "rawvideo", pixels) for pixels in PIXELS),
    ("mov", "mjpeg", "yuvj420p"),
    ("mov", "png", "rgba"),
]


@dataclass(frozen=True)
class Clip:
    """What a video is to be."""

    suffix: str
    codec: str
    pixels: str
    height: int
    width: int
    time_base: Fraction
    pts: tuple[int, ...]
    rotation: int  # degrees counter-clockwise

    def write(self, path: Path) -> Path:
        generator = np.random.default_rng(self.height * 100 + self.width)
        options = {"video_track_timescale": str(self.time_base.denominator)} if self.suffix == "mov" else {}
        with av.open(path, "w", container_options=options) as container:
            stream = container.add_stream(self.codec, rate=25, width=self.width, height=self.height)
            assert isinstance(stream, av.VideoStream)
            stream.pix_fmt = self.pixels
            stream.time_base = stream.codec_context.time_base = self.time_base
            if self.rotation:
                stream.set_display_rotation(self.rotation)
            for time in self.pts:
                picture = generator.integers(0, 255, (self.height, self.width, 3), np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=self.pixels)
                frame.pts, frame.time_base = time, self.time_base
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path


@st.composite
def clips(draw: st.DrawFn, *, most_frames: int = 8) -> Clip:
    suffix, codec, pixels = draw(st.sampled_from(FORMATS))
    gaps = draw(st.lists(st.integers(1, 5) | st.just(40), min_size=1, max_size=most_frames))
    # The edit list that FFmpeg gives a MOV which begins late leaves its last frame out, as that has no duration.
    begin = draw(st.integers(0, 3)) if suffix != "mov" else 0
    return Clip(
        suffix,
        codec,
        pixels,
        draw(st.integers(1, 97)),
        draw(st.integers(1, 97)),
        draw(st.sampled_from(TIME_BASES)),
        tuple(accumulate(gaps[1:], initial=begin)),
        draw(st.sampled_from([0, 90, 180, 270])) if suffix == "mov" else 0,
    )


def decoded(path: Path) -> list[tuple[int, Fraction]]:
    """Pts and time of each frame."""
    with av.open(path) as container:
        return [(frame.pts, frame.pts * frame.time_base) for frame in container.decode(video=0)]  # type: ignore[misc,operator]


@contextmanager
def folder_with(clip: Clip) -> Iterator[tuple[Path, Path]]:
    """A folder of its own for each example, and the video in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield folder, clip.write(folder / f"clip.{clip.suffix}")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.load(write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx"), device="cpu")


# What fails is as small as it is found: to look for smaller ones takes minutes.
few = settings(max_examples=40, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])


@few
@given(clip=clips(), batch=st.integers(1, 5), kind=st.sampled_from(["", ".zip", ".mkv"]))
def test_every_frame_has_one_mask_of_its_upright_size_in_order_at_its_time(
    model: Model, clip: Clip, batch: int, kind: str
) -> None:
    with folder_with(clip) as (folder, path):
        job = SegmentSettings(path, masks=folder / f"masks{kind}", stats=folder / "shares.csv", batch=batch)
        report = process_video(job, model)
        expected = decoded(path)
        height, width = (clip.width, clip.height) if clip.rotation % 180 else (clip.height, clip.width)
        assert report.frames == len(expected)
        assert not report.lost
        assert len(expected) == len(clip.pts)
        with open_masks(folder / f"masks{kind}") as masks:
            assert [(record.pts, record.time) for record in masks.records] == expected
            assert [record.index for record in masks.records] == list(range(len(expected)))
            assert {mask.shape for mask in masks} == {(height, width)}
        with (folder / "shares.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["index"]) for row in rows] == list(range(len(expected)))
        assert [float(row["time"]) for row in rows] == pytest.approx([float(time) for _, time in expected], abs=1e-6)


@few
@given(clip=clips(), suffix=st.sampled_from([".mp4", ".mov", ".mkv"]))
def test_every_frame_is_in_the_overlay_at_its_time_with_no_pixel_lost(model: Model, clip: Clip, suffix: str) -> None:
    with folder_with(clip) as (folder, path):
        process_video(SegmentSettings(path, overlay=folder / f"seen{suffix}", preset="ultrafast"), model)
        seen, expected = times_of(folder / f"seen{suffix}"), [time for _, time in decoded(path)]
        with av.open(folder / f"seen{suffix}") as container:
            stream = container.streams.video[0]
            tick = max(stream.time_base or Fraction(0), clip.time_base)
            height, width = (clip.width, clip.height) if clip.rotation % 180 else (clip.height, clip.width)
            assert (stream.height - height, stream.width - width) == (height % 2, width % 2)
        assert len(seen) == len(expected)
        shift = seen[0] - expected[0]
        assert all(abs(one - other - shift) <= tick for one, other in zip(seen, expected, strict=True))


seconds = st.integers(0, 60).map(lambda number: Fraction(number, 10))


@few
@given(
    clip=clips(most_frames=12),
    start=st.none() | seconds,
    end=st.none() | seconds,
    stride=st.integers(1, 5),
    most=st.none() | st.integers(1, 6),
)
def test_a_part_is_what_a_plain_loop_would_choose(
    model: Model, clip: Clip, start: Fraction | None, end: Fraction | None, stride: int, most: int | None
) -> None:
    assume(end is None or end > (start or 0))  # else it is refused
    with folder_with(clip) as (folder, path):
        frames = list(enumerate(decoded(path)))
        begin = frames[0][1][1] + (start or 0)
        until = None if end is None else frames[0][1][1] + end
        within = [item for item in frames if item[1][1] >= begin and (until is None or item[1][1] < until)]
        expected = [(index, pts) for index, (pts, _) in within[::stride][:most]]
        job = SegmentSettings(
            path, masks=folder / "masks.zip", start=start, end=end, stride=stride, max_frames=most, batch=3
        )
        if not expected:
            with pytest.raises(SourceError, match="no frame from"):
                process_video(job, model)
            return
        process_video(job, model)
        with open_masks(folder / "masks.zip") as masks:
            assert [(record.index, record.pts) for record in masks.records] == expected


class Killed(BaseException):
    """As a power cut: nothing that handles errors sees it."""


@settings(few, max_examples=15)
@given(clip=clips(most_frames=12), data=st.data(), kind=st.sampled_from(["", ".zip", ".mkv"]))
def test_a_run_that_goes_on_from_any_frame_gives_the_same(
    model: Model, clip: Clip, data: st.DataObject, kind: str
) -> None:
    with folder_with(clip) as (folder, path), pytest.MonkeyPatch.context() as patch:
        at = data.draw(st.integers(1, len(decoded(path))))

        def die(frames: int) -> None:
            if frames == at:
                raise Killed

        patch.setattr(stages, "EVERY_S", 0.0)
        outputs: list[dict[str, Any]] = []
        for name in ("whole", "killed"):
            masks, stats = folder / f"{name}{kind}", folder / f"{name}.csv"
            job = SegmentSettings(path, masks=masks, stats=stats, overlay=folder / f"{name}.mp4", preset="ultrafast")
            if name == "killed":
                with pytest.raises(Killed):
                    process_video(job, model, on_frame=die)
                assert process_video(replace(job, resume=True), model).resumed == at
            else:
                process_video(job, model)
            with open_masks(masks) as archive:
                outputs.append({"masks": archive.records, "shares": stats.read_bytes(), "times": times_of(job.overlay)})  # type: ignore[arg-type]
        assert outputs[0] == outputs[1]
