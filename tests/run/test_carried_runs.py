"""Runs whose masks are carried along: told wherever one looks, and the same however the run is made."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.cli import main
from roadmask.stream.cluster.stretch import run_stretch, stretches, wanted_frames
from roadmask.stream.cluster.stretch_join import StretchFolder, join
from roadmask.stream.decode.source import open_source
from roadmask.stream.errors import OutputError, RoadmaskError
from roadmask.stream.frames import WARM_UP, Frame
from roadmask.stream.masks.carry import Every, parse_every
from roadmask.stream.network.model import Model
from roadmask.stream.pipeline import Pipeline
from roadmask.stream.run import stages
from roadmask.stream.run.segment import open_video, process_video
from roadmask.stream.run.settings import Report, SegmentSettings
from roadmask.stream.segmenter import load
from tests.support.color_model import COLORS, spec, write_color_model
from tests.support.file_content import content, pictures_of
from tests.support.moving_scene import texture
from tests.support.run_command import run
from tests.support.short_pieces import shorten_pieces
from tests.support.waiting import LONG_S

PIECE = 75  # whose second begins to warm up behind the first frames, which are told of one by one
FRAMES = PIECE + 40
HEIGHT, WIDTH = 64, 96


class KilledError(BaseException):
    """As abrupt as a signal: nobody catches it."""


@pytest.fixture(scope="module", autouse=True)
def short_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        shorten_pieces(patch, PIECE)
        yield


def street(number: int, rough: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A scene that moves by a pixel a frame, with a car that moves otherwise; now it stands still, now it is cut."""
    at = number if number % 100 < 80 else number // 100 * 100 + 80
    rgb = np.empty((HEIGHT, WIDTH, 3), np.float32)
    rgb[:20], rgb[20:] = COLORS["Sky"], COLORS["Road"]
    rgb[30:50, at % 60 : at % 60 + 30] = COLORS["Car"]
    begin = at + (300 if number % 90 > 45 else 0)
    return np.clip(rgb + rough[:, begin : begin + WIDTH].astype(np.float32) / 4 - 32, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "street.mp4"
    rough = texture(HEIGHT, WIDTH + FRAMES + 300)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30, width=WIDTH, height=HEIGHT, options={"crf": "10"})
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 40
        for number in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(street(number, rough), format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    known = spec(familiar={"lead": 3000, "pictures": 60})
    return write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx", metadata=known)


@pytest.fixture(scope="module")
def model(model_file: Path) -> Model:
    return Model.load(model_file, device="cpu")


def job(clip: Path, folder: Path, **changes: Any) -> SegmentSettings:
    folder.mkdir(exist_ok=True)
    settings = SegmentSettings(
        clip,
        overlay=folder / "seen.mp4",
        masks=folder / "masks.zip",
        stats=folder / "shares.csv",
        preset="ultrafast",
        every=parse_every(3),
    )
    return replace(settings, **changes)


def outputs(settings: SegmentSettings) -> dict[str, Any]:
    assert settings.overlay
    assert settings.masks
    assert settings.stats
    made = {"masks": content(settings.masks), "shares": content(settings.stats)}
    return made | {"pictures": pictures_of(settings.overlay)}


def run_until(settings: SegmentSettings, model: Model, frames: int) -> None:
    """A run that is killed with that many frames in its outputs."""

    def kill(done: int) -> None:
        if done == frames:
            raise KilledError

    with pytest.raises(KilledError):
        process_video(settings, model, on_frame=kill)


SETTINGS = [
    {},
    {"every": parse_every("110ms"), "reuse": True},
    {"every": parse_every(4), "smooth": False, "start": Fraction(1, 5)},
]


@pytest.fixture(scope="module", params=range(len(SETTINGS)), ids=["smooth", "reuse", "alone"])
def wanted(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SETTINGS[request.param]


@pytest.fixture(scope="module")
def whole(clip: Path, model: Model, wanted: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outputs of a run in one go."""
    settings = job(clip, tmp_path_factory.mktemp("whole"), **wanted)
    report = process_video(settings, model)
    assert report.carried > report.frames / 3
    assert (report.reused > 0) == settings.reuse
    return outputs(settings) | {"report": report}


@pytest.mark.parametrize("frames", [(1, 30, 31, 33), (PIECE - WARM_UP + 2, PIECE + 1)])
def test_a_run_that_was_killed_anywhere_goes_on_to_the_same_bytes(
    clip: Path,
    model: Model,
    wanted: dict[str, Any],
    whole: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    frames: tuple[int, ...],
) -> None:
    settings = job(clip, tmp_path, **wanted)
    for number in frames:
        with monkeypatch.context() as often:
            often.setattr(stages, "EVERY_S", 0.0)
            run_until(replace(settings, resume=True), model, number)
    report = process_video(replace(settings, resume=True), model)
    assert frames[-1] - 12 <= report.resumed <= frames[-1]
    assert outputs(settings) == {name: made for name, made in whole.items() if name != "report"}
    assert (report.frames, report.unlike) == (whole["report"].frames, whole["report"].unlike)


def test_a_video_made_in_stretches_is_the_video_made_at_once(
    clip: Path, model: Model, wanted: dict[str, Any], whole: dict[str, Any], tmp_path: Path
) -> None:
    settings = job(clip, tmp_path, **wanted)
    planned = wanted_frames(settings)
    assert planned is not None
    cut = list(stretches(planned, -(-len(planned) // PIECE)))
    with open_video(settings, model) as source, StretchFolder(settings, model) as folder:
        for stretch in cut:
            assert run_stretch(settings, model, stretch, folder.path, stop=Event(), on_frame=lambda _: None)
        report = join(settings, source.info, model, folder, cut, cut[-1].end)
    expected: Report = whole["report"]
    assert outputs(settings) == {name: made for name, made in whole.items() if name != "report"}
    assert (report.carried, report.reused, report.unlike) == (expected.carried, expected.reused, expected.unlike)


def test_which_masks_were_carried_is_told_wherever_one_looks(
    clip: Path, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    names = ("--masks", out / "masks", "--stats", out / "shares.csv", "--summary", out / "summary.json")
    assert run(clip, *names, "--every", "3", "--max-frames", "8", model=model_file) == 0
    told = capsys.readouterr().err
    assert "5 carried along" in told
    carried = [False, True, True] * 2 + [False, True]
    with open_masks(out / "masks") as masks:
        assert [record.carried for record in masks.records] == carried
        assert [record.index for record in masks.records] == [*range(8)]
    with (out / "shares.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "time", *COLORS, "carried"]
    assert [row["carried"] for row in rows] == [str(int(item)) for item in carried]
    assert json.loads((out / "summary.json").read_text())["sources"][0]["carried"] == 5
    for path in (out / "masks", out / "shares.csv"):
        assert main(["info", str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["carried"] == 5
    assert main(["convert", str(out / "masks"), "-o", str(tmp_path / "again.mkv")]) == 0
    with open_masks(tmp_path / "again.mkv") as masks:
        assert [record.carried for record in masks.records] == carried
    page = tmp_path / "page.html"
    assert main(["report", str(out / "masks"), "-o", str(page), "--stats", str(out / "shares.csv")]) == 0
    assert "<b>5</b> of frames that the network has not seen" in page.read_text()
    assert "the same of them" in page.read_text(), "statistics are read with their column"


def test_a_table_in_parquet_has_the_column_too_and_one_without_every_is_as_ever(
    clip: Path, model: Model, tmp_path: Path
) -> None:
    for every, names in ((parse_every(2), ["carried"]), (None, [])):
        path = tmp_path / f"{every}.parquet"
        process_video(SegmentSettings(clip, stats=path, every=every, max_frames=4), model)
        table = pq.read_table(path)
        assert table.column_names == ["index", "time", *COLORS, *names]
        assert not every or table["carried"].to_pylist() == [0, 1, 0, 1]


def test_going_on_with_another_every_is_refused_by_name(clip: Path, model: Model, tmp_path: Path) -> None:
    settings = job(clip, tmp_path, max_frames=5)
    process_video(settings, model)
    with pytest.raises(OutputError, match=r"made before, but --every was 3, is now 66ms"):
        process_video(replace(settings, resume=True, every=parse_every("66ms")), model)
    with pytest.raises(OutputError, match=r"made before, but --every was 3, is now not given"):
        process_video(replace(settings, resume=True, every=None), model)
    assert process_video(replace(settings, resume=True), model).before


@pytest.mark.parametrize("live", [True, False])
def test_a_carried_frame_is_out_before_the_next_one_comes(clip: Path, model: Model, live: bool) -> None:
    with open_source(clip, max_frames=6) as opened:
        frames = list(opened.frames(lambda _: (32, 64)))
    came_out = [Event() for _ in frames]

    def one_by_one(*_: object, **__: object) -> Iterator[Frame]:
        for frame, event in zip(frames, came_out, strict=True):
            yield frame
            assert event.wait(LONG_S), f"frame {frame.index} waits for another"

    source = SimpleNamespace(info=replace(frames[0].info, live=live), frames=one_by_one)
    carried = []
    with Pipeline() as pipeline:
        settings = SegmentSettings(clip, every=Every(3))
        results = stages.masks_of(source, model, pipeline, settings)  # type: ignore[arg-type]
        for decided, event in zip(results, came_out, strict=True):
            carried.append(decided.result.frame.carried)
            event.set()
    assert carried == [False, True, True] * 2


def test_python_takes_a_number_of_frames_or_a_time(clip: Path, model_file: Path) -> None:
    loaded = load(model_file, device="cpu")
    by_three, by_time = (
        [result.mask for result in loaded.stream(clip, max_frames=7, every=every)] for every in (3, "100ms")
    )
    np.testing.assert_array_equal(by_three, by_time)
    with pytest.raises(RoadmaskError, match="every: 'now and then' is neither a number of frames"):
        loaded.stream(clip, every="now and then")


def test_fast_means_every_so_often(
    clip: Path, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(clip, "--masks", tmp_path / "fast", "--fast", "--max-frames", "7", model=model_file) == 0
    assert "smoothed over time, the network every 200ms\n" in capsys.readouterr().err
    assert run(clip, "--masks", tmp_path / "told", "--every", "200ms", "--max-frames", "7", model=model_file) == 0
    with open_masks(tmp_path / "fast") as fast, open_masks(tmp_path / "told") as other:
        assert [record.carried for record in fast.records[:4]] == [False, True, True, True]
        assert fast.records == other.records
        assert fast.header.model == other.header.model == model_file.name, "a model that is named is kept"


@pytest.mark.parametrize("option", [("--every", "3"), ("--fast",)])
def test_of_a_picture_nothing_is_carried(
    tmp_path: Path, model_file: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, ...]
) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert run(tmp_path / "photo.png", "-o", tmp_path / "seen.png", *option, model=model_file) == 2
    assert f"{option[0]} is for videos and cameras" in capsys.readouterr().err
    assert not (tmp_path / "seen.png").exists()


def test_a_time_is_told_and_kept_as_it_was_given() -> None:
    every = parse_every("66.5ms")
    assert every == Every(seconds=Fraction(133, 2000))
    assert str(every) == "66.5ms"
