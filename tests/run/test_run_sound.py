"""Sound and times of a whole run: by the command, gone on with, made in stretches, and drawn again from masks."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from threading import Event

import av
import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.camera.camera import parse_camera
from roadmask.stream.cli import main
from roadmask.stream.decode.source import open_source
from roadmask.stream.network.model import Model
from roadmask.stream.run import stages
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import SegmentSettings
from tests.cluster.test_stretches import joined
from tests.run.test_resume import job, resumed, run_until
from tests.support.clips import times_of
from tests.support.color_model import write_color_model
from tests.support.file_content import pictures_of
from tests.support.heard import make_heard, plays, seen_and_heard, sound_of, sound_packets
from tests.support.live_viewer import FILM, play_into
from tests.support.rtsp_faults import Faults
from tests.support.rtsp_server import RtspServer
from tests.support.rtsp_session import Session
from tests.support.short_pieces import PIECE, shorten_pieces


@pytest.fixture(scope="module", autouse=True)
def short_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        shorten_pieces(patch)
        yield


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx")


@pytest.fixture(scope="module")
def model(model_path: Path) -> Model:
    return Model.load(model_path, device="cpu")


def roadmask(*words: object) -> int:
    return main([str(word) for word in words])


def test_a_transport_stream_becomes_overlays_with_sound_that_begin_at_zero(model_path: Path, tmp_path: Path) -> None:
    clip, shares = make_heard(tmp_path / "a.ts", "aac", late_s=Fraction(7, 5)), tmp_path / "shares.csv"
    with open_source(clip) as source:
        first_s = float(next(source.frames(lambda _: (16, 16))).time)
    assert first_s > 1
    run = ("run", clip, "--model", model_path)
    made = {name: tmp_path / name for name in ("o.mp4", "o.mov", "r/a_overlay.mp4", "drawn.mp4")}
    assert roadmask(*run, "-o", made["o.mp4"], "--masks", tmp_path / "m.zip", "--stats", shares) == 0
    assert roadmask(*run, "-o", made["o.mov"]) == 0
    assert roadmask(*run, "-o", f"{tmp_path}/r/") == 0
    assert roadmask("preview", tmp_path / "m.zip", clip, "-o", made["drawn.mp4"]) == 0
    for path in made.values():
        assert times_of(path)[0] == 0
        assert seen_and_heard(path) == pytest.approx((1, 1), abs=0.01)
        assert sound_of(path) == [("aac", 48000, "mono")]
        assert plays(path)
    assert made["drawn.mp4"].read_bytes() == made["o.mp4"].read_bytes()
    with open_masks(tmp_path / "m.zip") as masks:
        assert float(masks.records[0].time) == pytest.approx(first_s)
    with shares.open(newline="") as file:
        assert float(next(csv.DictReader(file))["time"]) == pytest.approx(first_s, abs=0.001)


def test_the_line_at_the_end_says_what_became_of_the_sound(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, masks = make_heard(tmp_path / "a.avi", "pcm_s16le"), tmp_path / "m.zip"
    assert roadmask("run", clip, "--model", model_path, "-o", tmp_path / "o.mp4", "--masks", masks) == 0
    assert "0 undecodable; sound: pcm_s16le made aac\n" in capsys.readouterr().err
    assert roadmask("preview", masks, clip, "-o", tmp_path / "p.mp4") == 0
    assert "fps; sound: pcm_s16le made aac\n" in capsys.readouterr().err
    assert roadmask("run", clip, "--model", model_path, "-o", tmp_path / "o.mkv") == 0
    assert "sound" not in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_run_that_was_killed_goes_on_to_the_same_sound(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    clip = make_heard(tmp_path / "late.ts", "ac3", seconds=(PIECE + 40) / 25, at_s=3, late_s=Fraction(3))
    monkeypatch.setattr(stages, "EVERY_S", 0.0)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = job(clip, tmp_path / "whole", overlay=tmp_path / "whole" / f"seen{suffix}")
    process_video(whole, model)
    parts = job(clip, tmp_path / "parts", overlay=tmp_path / "parts" / f"seen{suffix}")
    run_until(parts, model, PIECE + 9)
    report = resumed(parts, model)
    assert whole.overlay
    assert parts.overlay
    assert report.sound == ("ac3 made aac" if suffix == ".mp4" else "")
    assert pictures_of(parts.overlay) == pictures_of(whole.overlay)
    assert sound_packets(parts.overlay) == sound_packets(whole.overlay)
    assert times_of(parts.overlay)[0] == 0


def test_a_late_video_made_in_stretches_has_the_sound_of_one_made_at_once(model: Model, tmp_path: Path) -> None:
    clip = make_heard(tmp_path / "late.mkv", "ac3", seconds=(2 * PIECE + 20) / 25, at_s=3, late_s=Fraction(3))
    one, many = (SegmentSettings(clip, overlay=tmp_path / name) for name in ("one.mp4", "many.mp4"))
    whole, report = process_video(one, model), joined(many, model)
    assert report.sound == whole.sound == "ac3 made aac"
    assert one.overlay
    assert many.overlay
    assert pictures_of(many.overlay) == pictures_of(one.overlay)
    assert sound_packets(many.overlay) == sound_packets(one.overlay)
    assert times_of(many.overlay) == times_of(one.overlay)


def record(server: RtspServer, model: Model, folder: Path, frames: int, *, breaks_at: int = 0) -> list[Path]:
    """What is recorded of a camera until it has so many frames, in parts of a second.

    Where it breaks off at one, until it has come back, too.
    """
    stop, wanted = Event(), len(server.sessions) + 1 + bool(breaks_at)

    def on_frame(done: int) -> None:
        if done == breaks_at:
            server.break_off(Session.close)
        if done >= frames and len(server.sessions) >= wanted and len(server.sessions[-1].sent) > 10:
            stop.set()

    settings = SegmentSettings(parse_camera(f"front={server.url}"), overlay=folder / "front.mp4", segment_s=1.0)
    process_video(settings, model, stop=stop, on_frame=on_frame)
    return sorted(folder.glob("front_*.mp4"))


def test_the_sound_of_a_camera_is_in_every_part_of_its_recording(model: Model, tmp_path: Path) -> None:
    with RtspServer(FILM, faults=Faults(media="both")) as server:
        parts = record(server, model, tmp_path, 120)
    assert len(parts) >= 2
    for part in parts[:-1]:
        assert sound_of(part) == [("aac", 8000, "mono")]
        assert plays(part)
        with av.open(part) as container:
            pictures, sound = container.streams.video[0], container.streams.audio[0]
            assert float(sound.duration * sound.time_base) == pytest.approx(
                float(pictures.duration * pictures.time_base), abs=0.3
            )


@pytest.mark.usefixtures("short_pauses")
def test_a_camera_whose_sound_nobody_can_decode_says_so_once_a_run_and_is_recorded_without(
    model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RtspServer(FILM, faults=Faults(media="both", sound="97 XYZ")) as server, caplog.at_level(logging.WARNING):
        for day in ("monday", "tuesday"):
            (tmp_path / day).mkdir()
            parts = record(server, model, tmp_path / day, 10, breaks_at=5)
    said = [record.getMessage() for record in caplog.records if "sound" in record.getMessage()]
    assert said == ["front: its sound is of a kind that cannot be decoded, and is not recorded"] * 2
    assert sound_of(parts[0]) == []


def test_the_sound_of_a_pipe_is_recorded(model_path: Path, tmp_path: Path) -> None:
    clip, pipe, out = make_heard(tmp_path / "a.ts", "ac3"), tmp_path / "pipe", tmp_path / "o.mp4"
    os.mkfifo(pipe)
    writer = play_into(pipe, clip)
    assert roadmask("run", pipe, "--model", model_path, "-o", out) == 0
    writer.join()
    assert sound_of(out) == [("aac", 48000, "mono")]
    assert seen_and_heard(out) == pytest.approx((1, 1), abs=0.01)
    assert plays(out)
