"""Runs that hide classes: in whatever shows pictures, alike however they are made, and in nothing else."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.camera.camera import CameraSettings, parse_camera
from roadmask.stream.cli import main
from roadmask.stream.errors import OutputError
from roadmask.stream.frames import SegmentedFrame, Sink
from roadmask.stream.network.model import Model
from roadmask.stream.run import stages
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import SegmentSettings
from tests.support.clips import cfr, make_clip, sound_times_of
from tests.support.color_model import COLORS, write_color_model
from tests.support.file_content import content, pictures_of
from tests.support.live_viewer import play_into
from tests.support.run_command import run
from tests.support.short_pieces import PIECE, shorten_pieces

FRAMES = PIECE + 40
HEIGHT, WIDTH, SIDE = 96, 160, 32
BITS = np.random.default_rng(5).permutation(np.arange(16) % 2).reshape(4, 4)


class KilledError(BaseException):
    """As abrupt as a signal: nobody catches it."""


@pytest.fixture(scope="module", autouse=True)
def short_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        shorten_pieces(patch)
        yield


def place(number: int) -> tuple[slice, slice]:
    """Of the car, which drives to and fro."""
    left = 8 + abs(number * 3 % 192 - 96)
    return slice(40, 40 + SIDE), slice(left, left + SIDE)


def write_drive(path: Path, frames: int, **options: str) -> Path:
    """A car with a pattern on a road under a sky."""
    car = np.where(np.kron(BITS, np.ones((8, 8), int))[..., None], [255, 80, 60], [150, 0, 0]).astype(np.uint8)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, width=WIDTH, height=HEIGHT, options={"crf": "8"} | options)
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            rgb = np.empty((HEIGHT, WIDTH, 3), np.uint8)
            rgb[:30], rgb[30:] = COLORS["Sky"], COLORS["Road"]
            rgb[place(number)] = car
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drive(tmp_path_factory.mktemp("clip") / "drive.mp4", FRAMES)


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx")


@pytest.fixture(scope="module")
def model(colors: Path) -> Model:
    return Model.load(colors, device="cpu")


def job(drive: Path, folder: Path, **changes: object) -> SegmentSettings:
    settings = SegmentSettings(drive, overlay=folder / "seen.mp4", preset="ultrafast", alpha=0.0, blur=("car",))
    return replace(settings, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole(drive: Path, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    process_video(job(drive, folder), model)
    return folder / "seen.mp4"


def read_share(pictures: list[NDArray[np.uint8]], first: int = 0) -> float:
    """Of the frames, those in which the pattern of the car can be read."""
    read = 0
    for number, gray in enumerate(pictures, first):
        squares = gray[place(number)].reshape(4, 8, 4, 8)[:, 2:6, :, 2:6].mean(axis=(1, 3))
        right = np.mean((squares > np.median(squares)) == (BITS > 0))
        read += max(right, 1 - right) > 0.9
    return read / len(pictures)


def grays(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(path) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


def test_no_frame_of_an_overlay_shows_what_is_hidden(drive: Path, whole: Path) -> None:
    assert read_share(grays(drive)) == 1
    assert read_share(grays(whole)) == 0


@pytest.mark.parametrize("frames", [30, PIECE - 3, PIECE + 1])
def test_a_run_that_was_killed_goes_on_to_the_same_pictures(
    drive: Path, model: Model, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    monkeypatch.setattr(stages, "EVERY_S", 0.0)
    settings = job(drive, tmp_path)

    def kill(done: int) -> None:
        if done == frames:
            raise KilledError

    with pytest.raises(KilledError):
        process_video(settings, model, on_frame=kill)
    with pytest.raises(OutputError, match=r"--blur was car, is now"):
        process_video(replace(settings, blur=("car", "sky"), resume=True), model)
    report = process_video(replace(settings, resume=True), model)
    assert (report.frames, report.resumed) == (FRAMES, frames)
    assert pictures_of(tmp_path / "seen.mp4") == pictures_of(whole)


def test_batch_and_workers_change_nothing(drive: Path, colors: Path, whole: Path, tmp_path: Path) -> None:
    other = Model.load(colors, device="cpu", workers=3)
    process_video(job(drive, tmp_path, batch=7), other)
    assert pictures_of(tmp_path / "seen.mp4") == pictures_of(whole)


def test_masks_and_statistics_are_those_without(drive: Path, model: Model, tmp_path: Path) -> None:
    made = []
    for blur in ((), ("car",)):
        folder = tmp_path / str(len(blur))
        folder.mkdir()
        outputs = {"masks": folder / "masks", "stats": folder / "shares.csv", "max_frames": 40}
        process_video(job(drive, folder, blur=blur, **outputs), model)
        made.append([content(folder / name) for name in ("masks", "shares.csv")])
    assert made[0] == made[1]


def test_sound_stays(colors: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "spoken.mp4", cfr(20), size=(96, 128), sound_s=[0.8])
    out = tmp_path / "hidden.mp4"
    assert run(clip, "-o", out, "--blur", "sky", "--alpha", 0, model=colors) == 0
    assert sound_times_of(out) == sound_times_of(clip)


class Seen(Sink):
    """Remembers what a page, a window or a stream is given."""

    def __init__(self) -> None:
        self.pictures: list[NDArray[np.uint8]] = []

    def write(self, result: SegmentedFrame) -> None:
        self.pictures.append(result.frame.picture.to_ndarray(format="gray"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        return


def given_to_views(source: SegmentSettings, model: Model) -> list[NDArray[np.uint8]]:
    seen = Seen()
    process_video(source, model, also=[seen])
    return seen.pictures


def test_pages_windows_and_streams_are_given_hidden_pictures(drive: Path, model: Model) -> None:
    pictures = given_to_views(SegmentSettings(drive, blur=("Car",), max_frames=60), model)
    assert (len(pictures), read_share(pictures)) == (60, 0)


def test_of_a_pipe_too_and_no_frame_waits_for_the_next(model: Model, tmp_path: Path) -> None:
    pipe, stream = tmp_path / "pipe", write_drive(tmp_path / "drive.ts", 40, bf="0")
    os.mkfifo(pipe)
    feeder = play_into(pipe, stream)
    camera = parse_camera(str(pipe), CameraSettings(policy="every-frame"))
    pictures = given_to_views(SegmentSettings(camera, blur=("Car",)), model)
    feeder.join()
    assert (len(pictures), read_share(pictures)) == (40, 0)


def test_it_is_the_preview_of_the_same_masks(drive: Path, colors: Path, tmp_path: Path) -> None:
    masks, overlay, drawn = tmp_path / "masks.zip", tmp_path / "run.mp4", tmp_path / "preview.mp4"
    look = ["--blur", "car", "--alpha", "0.3"]
    assert run(drive, "--masks", masks, "--overlay", overlay, *look, model=colors) == 0
    assert main(["preview", str(masks), str(drive), "-o", str(drawn), *look]) == 0
    assert drawn.read_bytes() == overlay.read_bytes()


def test_pictures_for_labelling_tools_are_hidden_where_it_is_asked_for(
    drive: Path, colors: Path, tmp_path: Path
) -> None:
    assert run(drive, "--masks", tmp_path / "masks", "--max-frames", 30, model=colors) == 0
    convert = ["convert", tmp_path / "masks", "--to", "camvid", "--video", drive, "--picture-format", "png"]
    for folder, *more in (("plain",), ("hidden", "--blur", "Car")):
        assert main([str(word) for word in (*convert, "-o", tmp_path / folder, *more)]) == 0
    for folder, share in (("plain", 1), ("hidden", 0)):
        paths = sorted((tmp_path / folder / "default").glob("*.png"))
        assert len(paths) == 30
        assert (
            read_share([av.open(path).decode(video=0).__next__().to_ndarray(format="gray") for path in paths]) == share
        )


def test_a_class_that_is_none_ends_a_run_before_it_begins(
    drive: Path, colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(drive, "-o", tmp_path / "out.mp4", "--blur", "cra", model=colors) == 2
    assert "class 'cra' is not known here; there are Road, Sky, Car; did you mean Car?" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_of_a_photo_the_camera_s_notes_go_which_may_hold_a_small_copy_of_it(colors: Path, tmp_path: Path) -> None:
    encoded, content = cv2.imencode(".jpg", np.full((96, 128, 3), (30, 30, 200), np.uint8))
    assert encoded
    notes = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + b"a small copy"
    head = b"\xff\xe1" + (len(notes) + 2).to_bytes(2, "big") + notes
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(content.tobytes()[:2] + head + content.tobytes()[2:])
    for name, *more in (("plain.jpg",), ("hidden.jpg", "--blur", "car", "--map", "Car=vehicle,Sky=vehicle")):
        assert run(photo, "-o", tmp_path / name, "--stats", tmp_path / f"{name}.csv", *more, model=colors) == 0
    assert b"a small copy" in (tmp_path / "plain.jpg").read_bytes()
    assert b"a small copy" not in (tmp_path / "hidden.jpg").read_bytes()
    with (tmp_path / "hidden.jpg.csv").open(newline="") as file:
        head_row, row = csv.reader(file)
    assert (head_row[-2:], row[-2:]) == (["Road", "vehicle"], ["0.000000", "1.000000"])
