"""Masks are carried along between frames that the network sees, and no further than the picture can be followed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.frames import MOST_BESIDE, PIECE, WARM_UP, Frame, batched
from roadmask.stream.masks.carry import FAST, Every, mark_carried, parse_every
from roadmask.stream.masks.deciding import Deciding
from roadmask.stream.masks.deciding_state import Known
from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import segment_video
from tests.support.clips import video_info
from tests.support.color_model import COLORS, write_color_model
from tests.support.moving_scene import texture

HEIGHT, WIDTH = 128, 192
TICK = Fraction(1, 90_000)
SCENE = texture(HEIGHT, 4 * WIDTH)
OTHER = texture(HEIGHT, 4 * WIDTH, seed=1)


def shown(x: int, scene: NDArray[np.uint8] = SCENE) -> NDArray[np.uint8]:
    return np.ascontiguousarray(scene[:, x : x + WIDTH])


def frames_of(
    pictures: Sequence[NDArray[np.uint8]], *, rate: Fraction = Fraction(30), times: Sequence[Fraction] = ()
) -> list[Frame]:
    whole = av.VideoFrame(16, 16, "yuv420p")
    times = times or [number / rate for number in range(len(pictures))]
    return [
        Frame(number, round(time / TICK), TICK, whole, picture, video_info())
        for number, (picture, time) in enumerate(zip(pictures, times, strict=True))
    ]


def keys(frames: Sequence[Frame], every: str, *, first: int = 0) -> list[int]:
    """The positions of the frames that the network sees."""
    every_ = parse_every(every)
    assert every_
    marked = mark_carried(frames, every_, first=first)
    return [position for position, frame in enumerate(marked, first) if frame.is_key]


def test_a_number_of_frames_and_a_time_can_be_told() -> None:
    assert (str(parse_every(3)), str(parse_every(" 12 ")), parse_every("1")) == ("3", "12", None)
    assert str(parse_every("66ms")) == str(parse_every("0.066s")) == "66ms"
    assert parse_every("0.1s") == Every(seconds=Fraction(1, 10))


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "66", "66 ms", "0ms", "301ms", "1s", "often", "", "٣"])
def test_what_is_neither_is_refused_in_words(text: str) -> None:
    if text == "66":  # frames
        assert parse_every(text) == Every(66)
        return
    with pytest.raises(ValueError, match=r"neither a number of frames \(3\) nor a time \(66ms\)|up to 300ms"):
        parse_every(text)


def test_every_n_th_frame_is_seen_where_the_picture_can_be_followed() -> None:
    assert keys(frames_of([shown(2 * number) for number in range(11)]), "3") == [0, 3, 6, 9]


@pytest.mark.parametrize(
    ("rate", "every", "expected"),
    [
        (Fraction(30), "66ms", 2),
        (Fraction(30_000, 1001), "66ms", 2),
        (Fraction(25), "66ms", 2),
        (Fraction(15), "66ms", 1),
        (Fraction(60), "66ms", 4),
        (Fraction(60), str(FAST), 12),
        (Fraction(30), str(FAST), 6),
        (Fraction(25), str(FAST), 5),
        (Fraction(15), str(FAST), 3),
        (Fraction(10), str(FAST), 2),
        (Fraction(5), str(FAST), 1),
    ],
)
def test_a_time_means_the_frames_nearest_to_it_at_any_rate(rate: Fraction, every: str, expected: int) -> None:
    assert keys(frames_of([shown(number) for number in range(17)], rate=rate), every) == [*range(0, 17, expected)]


def test_a_time_holds_where_the_rate_varies() -> None:
    times = [Fraction(item, 100) for item in (0, 3, 6, 10, 11, 12, 13, 20, 24, 27)]
    assert keys(frames_of([shown(number) for number in range(10)], times=times), "100ms") == [0, 3, 7]


@pytest.mark.parametrize("rate", [Fraction(10), Fraction(25), Fraction(60)])
def test_no_mask_is_carried_for_longer_than_three_tenths_of_a_second(rate: Fraction) -> None:
    seen = keys(frames_of([shown(0)] * 70, rate=rate), "1000")
    most = int(Fraction(3, 10) * rate)  # frames: with one more it would be too late
    assert {after - before for before, after in pairwise(seen)} == {most}


def test_a_cut_is_seen_at_once() -> None:
    pictures = [shown(2 * number) for number in range(4)] + [shown(2 * number, OTHER) for number in range(6)]
    assert keys(frames_of(pictures), "5") == [0, 4, 9]


def test_a_turn_is_seen_sooner_than_a_straight_road() -> None:
    straight, turn = [shown(number) for number in range(12)], [shown(20 * number) for number in range(12)]
    assert len(keys(frames_of(turn), "6")) > len(keys(frames_of(straight), "6"))


def test_a_gap_a_step_back_in_time_and_another_size_are_seen_at_once() -> None:
    gap = [Fraction(item, 100) for item in (0, 3, 6, 60, 63)]
    back = [Fraction(item, 100) for item in (10, 13, 6, 9, 12)]
    for times, seen in ((gap, [0, 3]), (back, [0, 2])):
        assert keys(frames_of([shown(0)] * 5, times=times), "9") == seen
    sizes = [shown(0), shown(0), np.ascontiguousarray(shown(0)[:64]), np.ascontiguousarray(shown(0)[:64])]
    assert keys(frames_of(sizes), "9") == [0, 2]


def test_unchanged_frames_stay_unchanged_and_their_time_counts() -> None:
    frames = frames_of([shown(0)] * 12)
    frames = [replace(frame, unchanged=frame.index in (1, 2, 3, 4)) for frame in frames]
    marked = list(mark_carried(frames, Every(3)))
    assert [frame.index for frame in marked if frame.unchanged] == [1, 2, 3, 4]
    assert [frame.index for frame in marked if frame.is_key] == [0, 5, 8, 11]


def test_a_stretch_of_unchanged_frames_is_no_gap() -> None:
    frames = frames_of([shown(0)] * 8)
    frames = [replace(frame, unchanged=frame.index in (1, 2, 3, 4)) for frame in frames]
    marked = list(mark_carried(frames, Every(seconds=Fraction(1, 4))))
    assert [frame.index for frame in marked if frame.carried] == [5, 6], (
        "at 0.17 and 0.2 s, 0.03 s after the one before"
    )


@pytest.mark.parametrize("begin", [PIECE - WARM_UP, 2 * PIECE - WARM_UP])
def test_frames_from_a_warm_up_on_are_marked_as_in_the_whole_video(begin: int) -> None:
    frames = frames_of([shown(number % 100) for number in range(begin + 70)], rate=Fraction(60))
    whole, alone = keys(frames, "7"), keys(frames[begin:], "7", first=begin)
    assert alone == [position for position in whole if position >= begin]
    assert alone[0] == begin


def test_behind_a_frame_that_was_seen_marking_goes_on_from_it_alone() -> None:
    frames = frames_of([shown(3 * number) for number in range(30)])
    whole = list(mark_carried(frames, Every(4)))
    seen = [number for number, frame in enumerate(whole) if frame.is_key]
    for number in seen[:-1]:
        known = Known(frames[number].input, frames[number].time)
        rest = list(mark_carried(frames[number + 1 :], Every(4), first=number + 1, known=known))
        assert [frame.carried for frame in rest] == [frame.carried for frame in whole[number + 1 :]]
        for one, other in zip(rest, whole[number + 1 :], strict=True):
            np.testing.assert_array_equal(one.motion, other.motion)


def test_what_warms_up_for_the_next_piece_knows_the_times_of_carried_frames_too() -> None:
    """Behind a stretch of unchanged frames, the last of which tells how much of it is left out."""
    first, scores = PIECE - WARM_UP - 2, np.zeros((3, 8, 8), np.float32)
    frames = frames_of([shown(0)] * 20)
    for number in range(8, 18):
        frames[number] = replace(frames[number], unchanged=True)
    frames[18] = replace(frames[18], carried=True, motion=np.zeros((8, 8, 2), np.float32))
    deciding = Deciding(3, smooth=True, carries=True, first=first, begin=first, every_s=0.0)
    *_, last = deciding.results([[(frame, scores if frame.is_key else None) for frame in frames]])
    assert last.state is not None
    assert last.state.next_piece is not None
    assert last.state.next_piece.still == last.state.piece.still


@pytest.mark.parametrize("size", [1, 2, 5])
def test_batches_are_of_frames_that_the_network_sees_and_those_between_wait_for_no_other(size: int) -> None:
    frames = list(mark_carried(frames_of([shown(number) for number in range(40)]), Every(4)))
    batches = list(batched(frames, size))
    assert list(chain.from_iterable(batches)) == frames
    seen = [sum(frame.is_key for frame in batch) for batch in batches]
    assert {count for count in seen if count} == ({size} if 10 % size == 0 else {size, 10 % size})
    assert all(len(batch) == 1 for batch, count in zip(batches, seen, strict=True) if count == 0)
    assert all(len(batch) <= size * (1 + MOST_BESIDE) for batch in batches)


# Whole runs.


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx")


def street(number: int, *, cut_at: int = 1000) -> NDArray[np.uint8]:
    """A car that moves by three pixels a frame over a textured road under a sky; after the cut all is sky."""
    rgb = np.empty((HEIGHT, WIDTH, 3), np.float32)
    rgb[:40], rgb[40:] = COLORS["Sky"], COLORS["Road"]
    rgb[60:100, 10 + 3 * number : 60 + 3 * number] = COLORS["Car"]
    rough = shown(3 * number).astype(np.float32) / 8 - 16
    if number >= cut_at:
        rgb[:], rough = COLORS["Sky"], shown(0, OTHER).astype(np.float32) / 8 - 16
    return np.clip(rgb + rough, 0, 255).astype(np.uint8)


def write_street(path: Path, frames: int, **options: int) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30, width=WIDTH, height=HEIGHT, options={"crf": "4"})
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(street(number, **options), format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_street(tmp_path_factory.mktemp("clip") / "street.mp4", 30)


def masks_of(clip: Path, model: Model, **options: object) -> NDArray[np.uint8]:
    return np.stack([result.mask for result in segment_video(clip, model=model, **options)])  # type: ignore[arg-type]


@pytest.mark.parametrize("smooth", [True, False])
def test_carried_masks_are_where_things_are(clip: Path, model: Path, smooth: bool) -> None:
    loaded = Model.load(model, device="cpu")
    without = masks_of(clip, loaded, smooth=smooth)
    results = list(segment_video(clip, model=loaded, smooth=smooth, every=4))
    assert [result.frame.carried for result in results[:9]] == [False, True, True, True] * 2 + [False]
    assert [result.frame.pts for result in results] == sorted({result.frame.pts for result in results})
    for number, result in enumerate(results):
        agreement = (result.mask == without[number]).mean()
        held = (without[number // 4 * 4] == without[number]).mean()
        assert agreement > 0.97  # but for the edges of the car
        assert not result.frame.carried or agreement > held


def test_the_network_is_asked_for_the_others_alone(clip: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, calls = Model.load(model, device="cpu", workers=1), []
    scores = loaded.scores

    def counting(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        calls.append(len(batch))
        return scores(batch)

    monkeypatch.setattr(loaded, "scores", counting)
    masks_of(clip, loaded, every=3, batch=2)
    assert calls == [2] * 5


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize(("workers", "batch", "depth"), [(3, None, 4), (1, 5, 1), (2, 3, 9)])
def test_any_workers_batch_and_depth_give_equal_masks_bit_for_bit(
    clip: Path, model: Path, workers: int, batch: int | None, depth: int, smooth: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Model.load(model, device="cpu", threads=1, workers=1)
    expected = masks_of(clip, one, every="100ms", smooth=smooth)
    monkeypatch.setattr("roadmask.stream.run.stages.AHEAD", depth)
    several = Model.load(model, device="cpu", threads=workers, workers=workers)
    np.testing.assert_array_equal(masks_of(clip, several, batch=batch, every="100ms", smooth=smooth), expected)


@pytest.mark.parametrize("cut_at", [4, 5, 6, 7])
def test_no_carried_mask_hides_a_cut(model: Path, tmp_path: Path, cut_at: int) -> None:
    clip = write_street(tmp_path / "cut.mp4", 12, cut_at=cut_at)
    results = list(segment_video(clip, model=Model.load(model, device="cpu"), every=4))
    sky = list(COLORS).index("Sky")
    shares = [float((result.mask == sky).mean()) for result in results]
    assert max(shares[:cut_at]) < 0.5
    assert min(shares[cut_at:]) > 0.99
    assert not results[cut_at].frame.carried


def test_stride_and_start_count_the_frames_that_are_taken(clip: Path, model: Path) -> None:
    loaded = Model.load(model, device="cpu")
    results = list(segment_video(clip, model=loaded, every=2, stride=2, start=Fraction(1, 10)))
    assert [result.frame.index for result in results] == [*range(3, 30, 2)]
    assert [result.frame.carried for result in results] == [number % 2 == 1 for number in range(len(results))]


def test_the_familiar_is_looked_for_in_carried_frames_too(clip: Path, model: Path) -> None:
    from roadmask.stream.masks.deciding import Deciding
    from roadmask.stream.masks.familiar import EVERY

    loaded = Model.load(model, device="cpu")
    frames = [result.frame for result in segment_video(clip, model=loaded)]

    def familiarity(every: int) -> tuple[int, int]:
        marked: Iterator[Frame] = mark_carried((replace(frame) for frame in frames), Every(every))
        scored = (loaded.scored([frame]) for frame in marked)
        *_, last = Deciding(len(COLORS), smooth=True, carries=True, least_lead=1e9).results(scored)
        return last.familiarity

    assert EVERY % 4
    assert familiarity(4) == (-(-len(frames) // EVERY),) * 2
