"""What a run draws: its palette, areas or lines, and a legend that stays where it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.encode.palette import load_palette
from roadmask.stream.network.model import Model
from roadmask.stream.run import stages
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import SegmentSettings
from roadmask.stream.spec import PixelClass
from tests.support.clips import cfr, make_clip
from tests.support.color_model import COLORS, halves, write_color_model
from tests.support.file_content import pictures_of
from tests.support.run_command import run
from tests.support.short_pieces import PIECE, shorten_pieces

CLASSES = [PixelClass(name, color) for name, color in COLORS.items()]
LEFT, RIGHT = np.s_[30:66, 10:50], np.s_[30:66, 78:118]  # of road and sky, away from where they meet


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Road on the left, sky on the right."""
    return make_clip(tmp_path_factory.mktemp("clips") / "drive.mp4", cfr(3), size=(96, 128), picture=halves())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx")


def first_picture(path: Path) -> NDArray[np.int64]:
    with av.open(path) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24").astype(np.int64)


@pytest.mark.parametrize("palette", ["", "camvid", "cityscapes"])
def test_classes_are_drawn_in_the_palette_and_the_masks_keep_the_model_s_colours(
    palette: str, clip: Path, model: Path, tmp_path: Path
) -> None:
    named = ["--palette", palette] if palette else []
    outputs = ["--overlay", tmp_path / "seen.mp4", "--masks", tmp_path / "masks"]
    assert run(clip, *outputs, "--alpha", 1, "--crf", 1, *named, model=model) == 0
    road, sky, _ = load_palette(palette or "clear").colored(CLASSES)
    picture = first_picture(tmp_path / "seen.mp4")
    assert np.abs(picture[LEFT] - road.color).max() <= 6
    assert np.abs(picture[RIGHT] - sky.color).max() <= 6
    saved = json.loads((tmp_path / "masks" / "classes.json").read_text())["classes"]
    assert [item["color"] for item in saved] == [list(item.color) for item in CLASSES]


def test_lines_leave_the_picture_as_it_is_but_where_classes_meet(clip: Path, model: Path, tmp_path: Path) -> None:
    assert run(clip, "-o", tmp_path / "seen.mp4", "--style", "outline", "--crf", 1, model=model) == 0
    differs = np.abs(first_picture(tmp_path / "seen.mp4") - first_picture(clip)).max(axis=2) > 20
    assert not differs[LEFT].any()
    assert not differs[RIGHT].any()
    assert differs[:, 60:68].any(axis=1).all()


def test_a_palette_of_one_s_own_is_named_in_what_is_told_of_the_run(clip: Path, model: Path, tmp_path: Path) -> None:
    palette = tmp_path / "mine.json"
    palette.write_text('{"road": "#00ff00"}')
    arguments = [clip, "-o", f"{tmp_path}/out/", "--palette", palette, "--alpha", 1]
    assert run(*arguments, model=model) == 0
    assert np.abs(first_picture(tmp_path / "out" / "drive_overlay.mp4")[LEFT] - (0, 255, 0)).max() <= 12
    told = json.loads((tmp_path / "out" / "drive_run.json").read_text())
    assert told["settings"]["palette"] == told["sources"][0]["identity"]["--palette"] == str(load_palette(str(palette)))


def test_a_palette_with_an_unknown_class_is_one_line_before_anything_is_made(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.json").write_text('{"Raod": "#00ff00"}')
    assert run(clip, "-o", tmp_path / "out.mp4", "--palette", tmp_path / "mine.json", model=model) == 2
    told = capsys.readouterr().err
    assert "roadmask: mine.json: class 'Raod' is not known here; there are Road, Sky, Car; did you mean Road?" in told
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]


@pytest.mark.parametrize(
    ("option", "corner"),
    [
        (["--legend"], np.s_[:48, :64]),
        (["--legend", "auto"], np.s_[:48, :64]),
        (["--legend", "bottom-right"], np.s_[48:, 64:]),
        (["--legend=top-right"], np.s_[:48, 64:]),
    ],
)
def test_a_legend_needs_no_place_and_takes_one(
    option: list[str], corner: tuple[slice, slice], clip: Path, model: Path, tmp_path: Path
) -> None:
    assert run(*option, clip, "-o", tmp_path / "seen.mp4", "--style", "outline", "--exclude", "road", model=model) == 0
    differs = np.abs(first_picture(tmp_path / "seen.mp4") - first_picture(clip)).max(axis=2) > 80
    differs[:, 56:72] = False  # the line
    there = differs[corner].sum()
    assert there > 100
    assert differs.sum() == there


class _Killed(BaseException):
    """As abrupt as a signal: nobody catches it."""


def test_a_run_that_goes_on_has_its_legend_where_it_was(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first picture has least to see at the top right, all that come after the kill at the top left."""
    shorten_pieces(monkeypatch)
    rng = np.random.default_rng(0)
    clip = tmp_path / "drive.mp4"
    with av.open(clip, "w") as container:
        stream = container.add_stream("libx264", rate=25, width=128, height=96, options={"preset": "ultrafast"})
        stream.pix_fmt = "yuv420p"
        for number in range(PIECE + 20):
            picture = rng.integers(60, 200, (96, 128, 1), np.uint8).repeat(3, axis=2)
            picture[:48, slice(64, 128) if number < 50 else slice(64)] = 120
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    loaded = Model.load(model, device="cpu")
    settings = SegmentSettings(clip, overlay=tmp_path / "seen.mp4", legend="auto", preset="ultrafast", smooth=False)
    process_video(replace(settings, overlay=tmp_path / "whole.mp4"), loaded)

    def on_frame(done: int) -> None:
        if done == PIECE + 10:
            raise _Killed

    monkeypatch.setattr(stages, "EVERY_S", 0.0)
    with pytest.raises(_Killed):
        process_video(settings, loaded, on_frame=on_frame)
    assert process_video(replace(settings, resume=True), loaded).resumed >= PIECE
    assert pictures_of(tmp_path / "seen.mp4") == pictures_of(tmp_path / "whole.mp4")
