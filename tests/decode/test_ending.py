"""What a file declares and does not hold is found, and nothing is missed in files that are whole."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from threading import Event

import av
import numpy as np
import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.archive.convert import convert_archive
from roadmask.stream.archive.verify import archive_problems
from roadmask.stream.cli import main
from roadmask.stream.decode.source import missing_s, open_source
from roadmask.stream.frames import Ending
from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import Report, SegmentSettings
from tests.support.clips import cfr, make_clip
from tests.support.color_model import write_color_model

FRAMES = 60
CONTAINERS = ["mp4", "mov", "mkv", "webm", "avi", "ts", "flv", "mpg"]
CODECS = {"webm": "libvpx", "avi": "mpeg4", "mpg": "mpeg2video"}


def noise(frames: int, path: Path, codec: str, **options: str) -> Path:
    """A clip whose frames are some kilobytes each, so that a cut takes frames away."""
    generator = np.random.default_rng(1)
    with av.open(path, "w", container_options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 5
        stream.bit_rate = 2_000_000
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(generator.integers(0, 255, (48, 64, 3), np.uint8), "rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def read(path: Path, **options: int) -> tuple[int, int, int, Fraction]:
    """Frames, and what was lost: undecodable, damaged, seconds."""
    with open_source(path, **options) as source:  # type: ignore[arg-type]
        frames = list(source.frames(lambda _: (32, 32)))
        return len(frames), source.undecodable, sum(frame.damaged for frame in frames), source.missing_s


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_of_a_whole_file_nothing_is_missed(tmp_path: Path, suffix: str) -> None:
    path = noise(FRAMES, tmp_path / f"clip.{suffix}", CODECS.get(suffix, "libx264"))
    assert read(path) == (FRAMES, 0, 0, 0)


def test_of_a_varying_rate_nothing_is_missed(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", [0, 512, 1500, 9000, 40000, 41000])
    assert read(clip) == (6, 0, 0, 0)


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_of_a_file_cut_off_it_is_said_what_was_lost(tmp_path: Path, suffix: str) -> None:
    options = {"movflags": "faststart"} if suffix in ("mp4", "mov") else {}
    path = noise(FRAMES, tmp_path / f"clip.{suffix}", CODECS.get(suffix, "libx264"), **options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    frames, undecodable, damaged, missing = read(path)
    assert FRAMES // 2 <= frames < FRAMES * 7 // 10
    assert undecodable or damaged or missing > Fraction(1, 2)


def test_frames_that_were_not_asked_for_are_not_missing(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", cfr(FRAMES))
    assert read(clip, max_frames=5) == (5, 0, 0, 0)
    assert read(clip, end=1) == (25, 0, 0, 0)
    assert read(clip, stride=7)[3] == 0


def test_a_run_that_goes_on_tells_what_was_lost_before_it_was_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = noise(FRAMES, tmp_path / "clip.mkv", "mpeg4")
    content = bytearray(path.read_bytes())
    content[len(content) // 10 : len(content) // 10 + 6000] = bytes(6000)
    path.write_bytes(content)
    whole, again = whole_and_gone_on(path, monkeypatch, at=40)
    assert whole.lost
    assert again.lost == whole.lost


def test_a_run_that_goes_on_has_the_frames_of_a_torn_end_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = noise(FRAMES, tmp_path / "clip.mp4", "libx264", movflags="faststart")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    whole, again = whole_and_gone_on(path, monkeypatch, at=20)
    assert (again.frames, again.lost) == (whole.frames, whole.lost)


def whole_and_gone_on(path: Path, monkeypatch: pytest.MonkeyPatch, *, at: int) -> tuple[Report, Report]:
    """Of a run in one go, and of one that was killed `at` so many frames and went on to the same masks."""
    folder = path.parent
    model = Model.load(write_color_model(folder / "colors.onnx"))
    whole = process_video(SegmentSettings(path, masks=folder / "whole.zip"), model)
    monkeypatch.setattr("roadmask.stream.run.stages.EVERY_S", 0)  # so that there is something to go on from

    def killed(frames: int) -> None:
        if frames == at:
            raise RuntimeError("killed")

    job = SegmentSettings(path, masks=folder / "masks.zip", resume=True)
    with pytest.raises(RuntimeError, match="killed"):
        process_video(job, model, on_frame=killed)
    again = process_video(job, model)
    assert again.resumed
    assert (folder / "masks.zip").read_bytes() == (folder / "whole.zip").read_bytes()
    return whole, again


def cut_clip(folder: Path) -> Path:
    path = noise(FRAMES, folder / "cut.mkv", "mpeg4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    return path


@pytest.mark.parametrize("name", ["masks", "masks.zip", "masks.mkv"])
@pytest.mark.parametrize("suffix", [".npz", ".zarr", ".mkv", ".zip"])
def test_an_archive_tells_how_its_run_ended_and_keeps_that_when_converted(
    tmp_path: Path, name: str, suffix: str
) -> None:
    model = Model.load(write_color_model(tmp_path / "colors.onnx"))
    report = process_video(SegmentSettings(cut_clip(tmp_path), masks=tmp_path / name), model)
    assert report.state == "partial"
    other = tmp_path / f"other{suffix}"
    convert_archive(tmp_path / name, other)
    for path in (tmp_path / name, other):
        with open_masks(path) as masks:
            assert masks.ending is not None
            assert (masks.ending.state, masks.ending.lost) == ("partial", report.lost)
            assert masks.ending.frames == len(masks) == report.frames
            assert masks.ending.missing_s == pytest.approx(report.missing_s, abs=0.001)
            assert not list(archive_problems(masks))


@pytest.mark.parametrize("name", ["masks", "masks.zip", "masks.mkv"])
def test_a_run_that_was_interrupted_says_so_until_it_has_gone_on(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadmask.stream.run.stages.EVERY_S", 0)
    clip, stop = make_clip(tmp_path / "clip.mp4", cfr(20)), Event()
    model = Model.load(write_color_model(tmp_path / "colors.onnx"))
    job = SegmentSettings(clip, masks=tmp_path / name, resume=True)
    process_video(job, model, stop=stop, on_frame=lambda frames: stop.set() if frames == 9 else None)
    assert ending(tmp_path / name) == Ending("interrupted", 9)
    process_video(job, model)
    assert ending(tmp_path / name) == Ending("done", 20)


def ending(path: Path) -> Ending | None:
    with open_masks(path) as masks:
        return masks.ending


def test_verify_finds_masks_gone_from_the_end_of_a_manifest_and_tells_what_the_run_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Model.load(write_color_model(tmp_path / "colors.onnx"))
    lost = process_video(SegmentSettings(cut_clip(tmp_path), masks=tmp_path / "masks"), model).lost
    assert main(["verify", str(tmp_path / "masks")]) == 0
    assert f"could not be had in full: {lost}" in capsys.readouterr().out
    manifest = tmp_path / "masks" / "manifest.jsonl"
    *lines, last = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(lines))
    (tmp_path / "masks" / json.loads(last)["file"]).unlink()
    assert main(["verify", str(tmp_path / "masks")]) == 1
    assert f"its run wrote {len(lines) + 1} masks, and its manifest tells of {len(lines)}" in capsys.readouterr().out


def test_into_a_folder_a_run_writes_down_how_it_ended(tmp_path: Path) -> None:
    model, out = write_color_model(tmp_path / "colors.onnx"), tmp_path / "out"
    command = ["run", str(cut_clip(tmp_path)), "-o", f"{out}/", "--model", str(model), "-q"]
    assert main(command) == 3
    (entry,) = json.loads((out / "cut_run.json").read_text())["sources"]
    with open_masks(out / "cut_masks") as masks:
        assert masks.ending is not None
        assert (entry["state"], entry["reason"]) == ("partial", masks.ending.lost)
        assert entry["frames"] == masks.ending.frames
    assert main(command) == 1  # its outputs are there, and stay
    assert json.loads((out / "cut_run.json").read_text())["sources"] == [entry]


def test_a_pixel_that_is_no_pixel_is_taken_for_a_square(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", cfr(3), size=(48, 64))
    with open_source(path) as source:
        assert source.info.sample_aspect_ratio == 1
    wide = tmp_path / "wide.mp4"
    with av.open(path) as old, av.open(wide, "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        stream.sample_aspect_ratio = Fraction(1, 30000)
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    with av.open(wide) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(1, 30000)
    with open_source(wide) as source:
        assert source.info.sample_aspect_ratio == 1


def test_what_containers_round_away_is_not_missing() -> None:
    assert missing_s(Fraction(10), Fraction(992, 100), Fraction(25)) == 0
    assert missing_s(Fraction(10), Fraction(985, 100), Fraction(25)) == Fraction(15, 100)
    assert missing_s(None, Fraction(1), Fraction(25)) == 0
