"""Pictures that are frames of a video: told by their names, followed for flicker, smoothed as a run would."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.export.choice import everything
from roadmask.export.evaluate import evaluate_model
from roadmask.export.sequence import follows, frame_number, in_order
from roadmask.stream.cli import main
from roadmask.stream.masks.deciding import Decider
from roadmask.stream.masks.flicker import FlickerMeter
from roadmask.stream.masks.smooth import Smoother
from roadmask.stream.network.model import Model
from roadmask.training.layouts import Example
from tests.support.color_model import COLORS, write_color_model
from tests.support.labelled_colors import HEIGHT, WIDTH, add, start, street_ids

SKY, ROAD = (np.array(COLORS[name], np.float64) for name in ("Sky", "Road"))


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx")


def example(name: str) -> Example:
    return Example(name, Path(name), Path(name), "images")


def doubtful(lean: float) -> NDArray[np.uint8]:
    """A textured picture halfway between sky and road, whose left half leans to sky (or road, below 0).

    The lean is too small for the eye, so the pixels can be followed, but not for the model; the texture is at right
    angles to it and changes no class.
    """
    towards_sky = SKY - ROAD
    across = np.array([towards_sky[1], -towards_sky[0], 0]) / np.abs(towards_sky[:2]).max()
    blocks = np.random.default_rng(0).uniform(-40, 40, (HEIGHT // 4, WIDTH // 4, 1))
    leans = np.full((HEIGHT, WIDTH, 1), -0.04)
    leans[:, : WIDTH // 2] = lean
    texture = np.kron(blocks, np.ones((4, 4, 1)))
    return np.round((SKY + ROAD) / 2 + across * texture + leans * towards_sky).astype(np.uint8)


def video(root: Path, leans: dict[str, float]) -> Path:
    start(root)
    for name, lean in leans.items():
        add(root, name, street_ids(), doubtful(lean))
    return root


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("0016E5_07959", 7959),
        ("0006R0_f00930", 930),
        ("0001TP_006690", 6690),
        ("my_drive_12", 12),
        ("07959", None),
        ("_12", None),
        ("aachen_000000_000019_leftImg8bit", None),
        ("drive_", None),
    ],
)
def test_the_number_of_a_frame_is_read_from_its_name(name: str, number: int | None) -> None:
    assert frame_number(example(name)) == number


def test_frames_of_15_hz_follow_each_other_and_frames_a_second_apart_do_not() -> None:
    def is_next(first: str, second: str) -> bool:
        return follows(example(first), example(second))

    assert not follows(None, example("a_1"))
    assert is_next("0016E5_07959", "0016E5_07961")
    assert is_next("0016E5_08157", "0016E5_08160")
    assert not is_next("0016E5_08157", "0016E5_08161")
    assert not is_next("0006R0_f00930", "0006R0_f00960")
    assert not is_next("0016E5_07961", "0016E5_07959")
    assert not is_next("a_1", "a_1")  # one name in two folders
    assert not is_next("a_1", "b_2")
    assert not is_next("street", "street")


def test_frames_are_put_in_order_whatever_the_order_of_their_files() -> None:
    names = ["b_2", "a_10", "a_9", "b_1", "a_f00001"]
    assert [item.name for item in in_order(map(example, names))] == ["a_f00001", "a_9", "a_10", "b_1", "b_2"]


def test_flicker_is_the_share_of_points_that_change_their_class(model_path: Path, tmp_path: Path) -> None:
    root = video(tmp_path / "v", {"v_1": 0.04, "v_3": -0.04, "v_5": -0.04})
    result = evaluate_model(model_path, root, choice=everything, smooth=False)
    first, second, third = result.frames
    assert np.isnan(first.flicker)
    assert second.flicker == pytest.approx(0.5, abs=0.1)  # the left half turns from sky to road
    assert third.flicker == 0
    assert result.flicker == pytest.approx((second.flicker + third.flicker) / 2, abs=0.05)


def test_each_video_is_followed_by_itself(model_path: Path, tmp_path: Path) -> None:
    """Against a meter that is used by hand, on each video anew."""
    leans = {"v_1": 0.04, "v_3": -0.04, "v_30": 0.04, "v_31": 0.04, "w_32": -0.04, "w_33": 0.04}
    result = evaluate_model(model_path, video(tmp_path / "v", leans), choice=everything, smooth=False)
    model, decider = Model.load(model_path), Decider(3)
    masks = {name: decider.mask(model.scores(doubtful(lean)[None])[0], HEIGHT, WIDTH) for name, lean in leans.items()}
    tracked = changed = 0
    for pair in (("v_1", "v_3"), ("v_30", "v_31"), ("w_32", "w_33")):
        meter = FlickerMeter()
        for name in pair:
            meter.add(doubtful(leans[name]), masks[name])
        tracked, changed = tracked + meter.tracked, changed + meter.changed
    assert (result.total.tracked, result.total.changed) == (tracked, changed)
    assert tracked > 0
    assert [np.isnan(frame.flicker) for frame in result.frames] == [True, False] * 3
    assert result.drives["v"].tracked + result.drives["w"].tracked == tracked


def test_without_a_video_there_is_no_flicker(
    model_path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = video(tmp_path / "v", {"v_1": 0.04, "v_31": -0.04})
    assert main(["eval", str(model_path), str(root), "--all", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["flicker"] is None
    assert main(["eval", str(model_path), str(root), "--all"]) == 0
    (line,) = (line for line in capfd.readouterr().out.splitlines() if "flicker" in line)
    assert "│      - │" in line


def test_a_picture_of_another_size_starts_anew(model_path: Path, tmp_path: Path) -> None:
    root = video(tmp_path / "v", {"v_1": 0.04})
    add(root, "v_2", street_ids()[:32], doubtful(0.04)[:32])
    assert np.isnan(evaluate_model(model_path, root, choice=everything).flicker)


def test_smoothed_masks_are_those_of_a_smoother_that_starts_anew_with_each_video(
    model_path: Path, tmp_path: Path
) -> None:
    leans = {"v_1": 0.04, "v_2": -0.02, "v_3": -0.04, "v_60": -0.02, "v_61": 0.04}
    predicted = {}
    result = evaluate_model(
        model_path,
        video(tmp_path / "v", leans),
        choice=everything,
        smooth=True,
        on_frame=lambda frame, score: predicted.update({score.name: frame.predicted}),
    )
    assert result.is_smoothed
    model, decider = Model.load(model_path), Decider(3)
    for name, (previous, now) in zip(leans, pairwise(["", *leans]), strict=True):
        if not follows(example(previous) if previous else None, example(now)):
            smoother = Smoother()
        picture = doubtful(leans[name])
        scores = smoother.blend(model.scores(picture[None])[0], picture)
        np.testing.assert_array_equal(predicted[name], decider.mask(scores, HEIGHT, WIDTH), err_msg=name)


def test_the_command_decides_as_run_does_and_says_so(
    model_path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = video(tmp_path / "v", {"v_1": 0.04, "v_2": -0.04})
    assert main(["eval", str(model_path), str(root), "--all"]) == 0
    assert "pictures: 2 (all there are), smoothed over time" in capfd.readouterr().out
