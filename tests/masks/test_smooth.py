"""Blending scores over time: steadier where things stay, never a ghost where they do not."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.cli import main
from roadmask.stream.decode.source import open_source
from roadmask.stream.masks.deciding import Decider
from roadmask.stream.masks.flicker import FlickerMeter
from roadmask.stream.masks.flow import Flow, beside_partings, exposure, likely_exposure, origins_of
from roadmask.stream.masks.smooth import Smoother
from roadmask.stream.network.model import Model
from roadmask.stream.pipeline import Pipeline
from roadmask.stream.run.segment import segment_video
from roadmask.stream.run.settings import SegmentSettings
from roadmask.stream.run.stages import masks_of as decided_masks
from tests.support.color_model import COLORS
from tests.support.moving_scene import blocks, doubled, scores_of, texture

HEIGHT, WIDTH = 96, 128  # of the scores; the network's input is twice as large
SCENE, LABELS = texture(HEIGHT, 2 * WIDTH), blocks(HEIGHT, 2 * WIDTH)
PICTURE, MASK = SCENE[:, :WIDTH], LABELS[:, :WIDTH]


def drive(speed: int, frames: int = 6) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Pictures and masks of a camera that moves sideways, some pixels a frame."""
    return [(SCENE[:, left : left + WIDTH], LABELS[:, left : left + WIDTH]) for left in range(0, frames * speed, speed)]


@pytest.mark.parametrize("speed", [1, 5])
def test_noisy_scores_of_a_moving_scene_get_steadier_and_more_often_right(speed: int) -> None:
    smoother = Smoother()
    meters, wrong = [FlickerMeter(), FlickerMeter()], [0, 0]
    for index, (picture, mask) in enumerate(drive(speed)):
        scores = scores_of(mask, noise=0.5, seed=index)
        for which, result in enumerate((scores, smoother.blend(scores, doubled(picture)))):
            meters[which].add(picture, result.argmax(axis=0).astype(np.uint8))
            wrong[which] += int((result.argmax(axis=0) != mask).sum())
    assert meters[1].rate < meters[0].rate / 2
    assert wrong[1] < wrong[0] / 2


def test_scores_that_move_with_the_scene_stay_where_they_are() -> None:
    smoother = Smoother()
    for picture, mask in drive(4):
        blended = smoother.blend(scores_of(mask), doubled(picture))
    # Moving maps by parts of a pixel blurs them a little: only pixels at a border between classes may change.
    assert (blended.argmax(axis=0) != mask).mean() < 0.01


def test_a_car_leaves_no_ghost_behind() -> None:
    car = texture(30, 30, seed=1)
    smoother = Smoother()
    for left in range(10, 60, 10):
        picture, mask = PICTURE.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        picture[30:60, left : left + 30], mask[30:60, left : left + 30] = car, 1
        found = smoother.blend(scores_of(mask), doubled(picture)).argmax(axis=0)
    assert (found[30:60, : left - 1] == 0).mean() > 0.98
    assert (found[30:60, left : left + 30] == 1).mean() > 0.98


@pytest.mark.parametrize(("levels", "most"), [(10, 40), (20, 5)])  # of contrast, of the car as of the ground
@pytest.mark.parametrize(("speed", "of_ground"), [(2, -2), (1, -3), (4, 0)])
def test_a_dark_car_is_not_stretched_over_the_dark_ground_that_comes_out_behind_it(
    speed: int, of_ground: int, levels: int, most: int
) -> None:
    scene, car = (50 + (picture - 128.0) / 40 * levels for picture in (SCENE, texture(40, 44, seed=9)))
    smoother, astray = Smoother(), 0
    for number in range(14):
        left, start = 20 + speed * number, 60 - of_ground * number
        picture, mask = scene[:, start : start + WIDTH].copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        picture[28:68, left : left + 44], mask[28:68, left : left + 44] = car, 1
        shown = doubled(picture.clip(0, 255).astype(np.uint8))
        is_car = smoother.blend(scores_of(mask), shown, time=Fraction(number, 25)).argmax(axis=0) == 1
        assert is_car[mask == 1].mean() > 0.9
        astray += np.count_nonzero(is_car & (cv2.dilate(mask, np.ones((7, 7), np.uint8)) == 0))
    assert astray <= most, "pixels called car more than three pixels from it: without care, six times as many"


@pytest.mark.parametrize("levels", [4, 12])  # of contrast, of what is behind it
def test_a_thin_pole_that_passes_stays(levels: int) -> None:
    behind = 150 + (texture(2 * HEIGHT, 2 * WIDTH) - 128.0) / 40 * levels
    smoother, kept = Smoother(), []
    for left in range(60, 102, 3):  # half a pixel of the scores more than one is what blurs them most
        picture, is_pole = behind.copy(), np.zeros((2 * HEIGHT, 2 * WIDTH), np.float32)
        picture[:, left : left + 4] -= 30
        is_pole[:, left : left + 4] = 1
        share = cv2.resize(is_pole, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        scores = np.stack([1 - share, share]).astype(np.float32)
        blended = smoother.blend(scores, picture.clip(0, 255).astype(np.uint8), time=Fraction(left, 75))
        kept.append((blended.argmax(axis=0) == 1)[scores.argmax(axis=0) == 1].mean())
    assert min(kept) > 0.85
    assert np.mean(kept) > 0.97


@pytest.mark.parametrize("axis", [0, 1])
def test_a_difference_counts_for_more_the_more_things_part_there(axis: int) -> None:
    def doubt(share: float, levels: int) -> int:
        """In the middle, where the origins of neighbours lie nearer to each other by that share of a pixel."""
        motion = np.full((20, 30, 2), 3.3, np.float32)
        motion[..., axis] -= np.float32(share) * np.indices((20, 30))[1 - axis]
        difference = np.full((20, 30), levels, np.uint8)
        return int(beside_partings(difference, origins_of(motion, 20, 30))[10, 15])

    assert [doubt(share, 5) for share in (-0.5, 0, 0.02)] == [5] * 3, "with things that near each other, too"
    assert doubt(0.1, 0) == 0, "the ground that one drives over is no other, however it grows"
    # Of half the gap in time there are twice as many, and trust is exp(-doubt ** 2).
    assert 2 * doubt(0.2, 10) ** 2 == pytest.approx(doubt(0.4, 10) ** 2, rel=0.05)
    assert doubt(2, 255) == 255


def test_a_cut_starts_anew() -> None:
    smoother = Smoother()
    smoother.blend(scores_of(MASK), doubled(PICTURE))
    other = scores_of(3 - MASK)
    assert np.array_equal(smoother.blend(other, doubled(texture(HEIGHT, WIDTH, seed=2))), other)


def test_a_cut_between_soft_pictures_that_flow_can_bend_into_each_other_starts_anew() -> None:
    # Fog and night have little to tell one place by: found by cutting between real drives.
    soft = [np.asarray(cv2.GaussianBlur(texture(2 * HEIGHT, 2 * WIDTH, seed=seed), (0, 0), 8)) for seed in range(6)]
    smoother = Smoother()
    for index, picture in enumerate(soft):
        scores = scores_of(np.full((HEIGHT, WIDTH), index % 2, np.uint8))
        assert np.array_equal(smoother.blend(scores, picture), scores)


def test_flat_pictures_of_two_colours_are_a_cut_however_bright_they_are() -> None:
    # Gray alone, with a change of exposure allowed for, would take one for the other.
    smoother = Smoother()
    for index, color in enumerate(COLORS.values()):
        scores = scores_of(np.full((HEIGHT, WIDTH), index, np.uint8))
        picture = np.full((2 * HEIGHT, 2 * WIDTH, 3), color, np.uint8)
        assert np.array_equal(smoother.blend(scores, picture), scores)


@pytest.mark.parametrize(("gain", "offset"), [(0.7, 0), (1.2, -20), (1, 40)])
def test_a_change_of_exposure_is_not_a_cut(gain: float, offset: float) -> None:
    smoother = Smoother()
    smoother.blend(scores_of(MASK), doubled(PICTURE))
    brighter = np.clip(gain * doubled(PICTURE).astype(float) + offset, 0, 255).astype(np.uint8)
    noisy = scores_of(MASK, noise=1)
    blended = smoother.blend(noisy, brighter)
    assert (blended.argmax(axis=0) != MASK).sum() < (noisy.argmax(axis=0) != MASK).sum() / 4


@pytest.mark.parametrize(
    ("later", "is_blended"),
    [(Fraction(1, 30), True), (Fraction(1, 5), True), (Fraction(2, 5), False), (Fraction(-1), False)],
)
def test_a_gap_in_time_starts_anew(later: Fraction, is_blended: bool) -> None:
    smoother = Smoother()
    smoother.blend(scores_of(MASK), doubled(PICTURE), time=Fraction(7))
    other = scores_of(3 - MASK)
    assert np.array_equal(smoother.blend(other, doubled(PICTURE), time=7 + later), other) is not is_blended


def test_frames_that_all_claim_one_time_do_not_freeze_the_mask() -> None:
    smoother = Smoother()
    smoother.blend(scores_of(MASK), doubled(PICTURE), time=Fraction(0))
    for _ in range(20):
        blended = smoother.blend(scores_of(3 - MASK), doubled(PICTURE), time=Fraction(0))
    assert np.array_equal(blended.argmax(axis=0), 3 - MASK)


def test_a_memory_lasts_as_long_at_every_frame_rate() -> None:
    left = []
    for rate in (10, 15, 30):
        smoother = Smoother()
        smoother.blend(scores_of(MASK), doubled(PICTURE), time=Fraction(0))
        for frame in range(1, rate // 5 + 1):  # a fifth of a second
            blended = smoother.blend(0 * scores_of(MASK), doubled(PICTURE), time=Fraction(frame, rate))
        left.append(float(blended.max()))
    assert left == pytest.approx([0.51] * 3, abs=0.01)  # exp(-0.2 / 0.3)


def test_a_reset_and_another_size_start_anew() -> None:
    smoother = Smoother()
    other = scores_of(3 - MASK)
    smoother.blend(scores_of(MASK), doubled(PICTURE))
    smoother.reset()
    assert np.array_equal(smoother.blend(other, doubled(PICTURE)), other)
    half = scores_of(MASK[:48])
    assert np.array_equal(smoother.blend(half, doubled(PICTURE[:48])), half)


def test_the_scores_given_are_not_written_to() -> None:
    smoother = Smoother()
    scores = scores_of(MASK, noise=1)
    before = scores.copy()
    for _ in range(3):
        smoother.blend(scores, doubled(PICTURE))
    assert np.array_equal(scores, before)


def test_a_light_road_that_turns_dark_is_no_change_of_exposure() -> None:
    # Medians say that all did. Found on a motorway, where it passed for a cut.
    dark = PICTURE.copy()
    dark[HEIGHT // 2 :] = 40
    assert abs(exposure(dark, PICTURE).offset) > 10
    assert likely_exposure(dark, PICTURE, limit=16) == (1, 0)
    brighter = np.clip(0.7 * PICTURE.astype(float) + 30, 0, 255).astype(np.uint8)
    assert likely_exposure(brighter, PICTURE, limit=16) == pytest.approx((0.7, 30), abs=2)


@pytest.mark.parametrize(("offset", "counts"), [(1, False), (2, False), (5, True), (-5, True)])
def test_a_change_of_exposure_counts_where_it_is_more_than_noise(offset: int, counts: bool) -> None:
    other = np.clip(PICTURE.astype(int) + offset, 0, 255).astype(np.uint8)
    noisy = np.clip(other + np.random.default_rng(0).normal(0, 1, PICTURE.shape), 0, 255).astype(np.uint8)
    gain, added = likely_exposure(noisy, PICTURE, limit=4)
    assert ((gain, added) != (1, 0)) is counts
    assert not counts or 128 * gain + added == pytest.approx(128 + offset, abs=1)


@pytest.mark.parametrize("threads", [2, 5])
def test_opencv_s_threads_do_not_change_a_score(threads: int) -> None:
    results = []
    before = cv2.getNumThreads()
    for count in (1, threads):
        cv2.setNumThreads(count)
        try:
            smoother = Smoother()
            drives = enumerate(drive(3, frames=4))
            results.append([smoother.blend(scores_of(m, noise=1, seed=s), doubled(p)).copy() for s, (p, m) in drives])
        finally:
            cv2.setNumThreads(before)
    assert np.array_equal(results[0], results[1])


@pytest.mark.parametrize("classes", [1, 2, 3, 4, 8, 11])
@pytest.mark.parametrize(("height", "width"), [(5, 5), (15, 40), (33, 47), (64, 48)])
def test_scores_of_any_size_and_count_are_blended(height: int, width: int, classes: int) -> None:
    smoother = Smoother()
    picture = texture(2 * height, 2 * width)
    one, other = np.random.default_rng(0).normal(size=(2, classes, height, width)).astype(np.float32)
    smoother.blend(one, picture)
    # Nothing moves, and the time a frame takes is not known: it is taken as at 15 Hz.
    weight = np.exp(-1 / 15 / 0.3)
    expected = weight * one + (1 - weight) * other
    np.testing.assert_allclose(smoother.blend(other, picture), expected, rtol=0, atol=0.05)


def test_pictures_that_come_in_one_array_are_each_looked_at() -> None:
    smoothers, array = (Smoother(), Smoother()), np.empty_like(doubled(PICTURE))
    for index, (picture, mask) in enumerate(drive(5)):
        array[:] = doubled(picture)
        scores = scores_of(mask, noise=0.5, seed=index)
        blended = [
            smoother.blend(scores, given) for smoother, given in zip(smoothers, (array, array.copy()), strict=True)
        ]
        np.testing.assert_array_equal(*blended)


def test_the_scale_of_the_scores_does_not_matter() -> None:
    small, large = Smoother(), Smoother()
    for index, (picture, mask) in enumerate(drive(3, frames=3)):
        scores = scores_of(mask, noise=0.5, seed=index)
        results = [small.blend(scores, doubled(picture)), large.blend(1024 * scores, doubled(picture))]
    assert np.array_equal(1024 * results[0], results[1])


# Through the whole program: a model that says the nearest colour, and a video whose noise it falls for.


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still scene in colours about half way from road to sky: each frame's own noise decides."""
    path = tmp_path_factory.mktemp("clips") / "drive.mp4"
    middle = (np.array(COLORS["Road"]) + np.array(COLORS["Sky"])) / 2
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=25, width=128, height=96, options={"qscale": "2"})
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = "yuv420p"
        for number in range(8):
            noise = (texture(96, 128) - 128.0) + (texture(96, 128, seed=1 + number) - 128.0) / 6
            picture = np.clip(middle + noise / 2, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def masks_of(clip: Path, model: Path, **options: object) -> list[bytes]:
    return [result.mask.tobytes() for result in segment_video(clip, model=model, **options)]  # type: ignore[arg-type]


def test_without_smoothing_each_frame_is_decided_by_itself(clip: Path, model: Path) -> None:
    network = Model.load(model)
    decider = Decider(len(COLORS))
    for result in segment_video(clip, model=network, smooth=False):
        height, width = result.mask.shape
        alone = decider.mask(network.scores(result.frame.input[None])[0], height, width)
        assert np.array_equal(result.mask, alone)


def test_any_batch_gives_the_same_smoothed_masks(clip: Path, model: Path) -> None:
    one = masks_of(clip, model, batch=1)
    assert masks_of(clip, model, batch=3) == one
    assert masks_of(clip, model, batch=8) == one


def test_the_command_smooths_unless_told_not_to_and_says_so(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = {}
    for option in ("--smooth", "--no-smooth"):
        arguments = ["run", str(clip), "--masks", str(tmp_path / f"{option}.zip"), "--model", str(model), option]
        assert main(arguments) == 0
        assert ("smoothed over time" in capsys.readouterr().err) is (option == "--smooth")
        with open_masks(tmp_path / f"{option}.zip") as archive:
            assert archive.header.smoothed is (option == "--smooth")
            found = [archive[index].tobytes() for index in range(len(archive))]
        assert found == masks_of(clip, model, smooth=option == "--smooth")
        results[option] = found
    assert results["--smooth"][0] == results["--no-smooth"][0]
    assert results["--smooth"][1:] != results["--no-smooth"][1:]


def test_each_video_of_a_command_starts_anew(clip: Path, model: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.mp4"
    again.write_bytes(clip.read_bytes())
    assert main(["run", str(clip), str(again), "-o", f"{tmp_path}/", "--model", str(model), "-q"]) == 0
    for name in ("drive_masks", "again_masks"):
        with open_masks(tmp_path / name) as archive:
            assert [archive[index].tobytes() for index in range(len(archive))] == masks_of(clip, model)


def test_a_stride_past_the_gap_leaves_every_frame_as_it_is(clip: Path, model: Path) -> None:
    assert masks_of(clip, model, stride=8) == masks_of(clip, model, stride=8, smooth=False)


@pytest.mark.parametrize("is_camera", [True, False])
def test_the_frames_of_a_camera_are_smoothed_once_as_nobody_goes_on_with_pieces_of_it(
    clip: Path, model: Path, is_camera: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadmask.stream.frames.PIECE", 4)
    monkeypatch.setattr("roadmask.stream.frames.WARM_UP", 2)
    blend, blended = Smoother.blend, []

    def counted(*arguments: Any, **named: Any) -> NDArray[np.float32]:
        blended.append(1)
        return blend(*arguments, **named)

    monkeypatch.setattr(Smoother, "blend", counted)
    motion, looked = Flow.motion, []

    def looking(*arguments: Any) -> NDArray[np.float32]:
        looked.append(1)
        return motion(*arguments)

    monkeypatch.setattr(Flow, "motion", looking)
    with open_source(clip) as source, Pipeline() as pipeline:
        monkeypatch.setattr(source, "info", replace(source.info, live=is_camera))
        results = list(decided_masks(source, Model.load(model), pipeline, SegmentSettings(clip)))
    assert len(results) == 8
    assert len(blended) == (8 if is_camera else 12), "two frames before each piece are seen by its smoother, too"
    assert len(looked) == 7, "but where things were is looked for once"
