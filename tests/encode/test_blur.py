"""What is hidden in pictures: all of it, in every frame, for good; and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.decode.pixels import planes_of
from roadmask.stream.decode.place import look_of
from roadmask.stream.encode.blur import Blur
from roadmask.stream.errors import RoadmaskError
from roadmask.stream.frames import PIECE, Frame, SegmentedFrame
from roadmask.stream.masks.deciding import Decided
from tests.support.clips import SPEC, video_info
from tests.support.moving_scene import texture

ROAD, CAR = 0, 1
RNG = np.random.default_rng(5)
SIDE, SQUARE = 48, 8  # of a board, and of its squares: a code of 36 bits
BITS = RNG.permutation(np.arange(36) % 2).reshape(6, 6)
BOARD = np.kron(BITS, np.ones((SQUARE, SQUARE), np.uint8))[..., None] * np.array([230, 230, 230], np.uint8)
FRAMES, HEIGHT, WIDTH = 60, 144, 256
SCENE = texture(HEIGHT, WIDTH)


def frame_of(rgb: NDArray[np.uint8], mask: NDArray[np.uint8], number: int, rate: int = 25) -> Decided:
    picture = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
    frame = Frame(number, number, Fraction(1, rate), picture, np.zeros((2, 2, 3), np.uint8), video_info())
    return Decided(number, SegmentedFrame(frame, mask))


def blurred(decided: Iterable[Decided], *, live: bool = False) -> list[SegmentedFrame]:
    return [item.result for item in Blur(SPEC.classes, ["Car"], live=live).over(decided)]


def luma(result: SegmentedFrame) -> NDArray[np.uint8]:
    return planes_of(result.frame.picture)[0].copy()


def masked(height: int, width: int, box: tuple[slice, slice]) -> NDArray[np.uint8]:
    mask = np.full((height, width), ROAD, np.uint8)
    mask[box] = CAR
    return mask


def corner_at(number: int) -> tuple[int, int]:
    """Row and column of the board, which goes faster than its squares are wide."""
    return 30 + number // 2, 10 + 3 * number


def board_drive(missed: Sequence[int], *, moving_on: int = 1) -> list[Decided]:
    """A board that crosses a scene which itself moves; in some frames the mask has nothing of it."""
    scene = texture(HEIGHT, WIDTH + FRAMES * moving_on)
    drive = []
    for number in range(FRAMES):
        rgb = scene[:, number * moving_on :][:, :WIDTH].copy()
        row, column = corner_at(number)
        box = slice(row, row + SIDE), slice(column, column + SIDE)
        rgb[box] = BOARD
        mask = masked(HEIGHT, WIDTH, box)
        drive.append(frame_of(rgb, mask if number not in missed else np.zeros_like(mask), number))
    return drive


def boards(results: Sequence[SegmentedFrame]) -> NDArray[np.float64]:
    """(frames, SIDE, SIDE): what is where the board is, held in place."""
    places = (corner_at(number) for number in range(len(results)))
    return np.array(
        [
            luma(item)[row : row + SIDE, column : column + SIDE]
            for item, (row, column) in zip(results, places, strict=True)
        ],
        np.float64,
    )


def is_read(board: NDArray[np.float64]) -> bool:
    """Whether the code can be told from it: by the middles of its squares, each against what is around it."""
    flat = board - cv2.GaussianBlur(board, (0, 0), 2 * SQUARE, borderType=cv2.BORDER_REFLECT)
    middles = cv2.resize(flat, (6, 6), interpolation=cv2.INTER_AREA)
    right = np.mean((middles > np.median(middles)) == (BITS > 0))
    return bool(max(right, 1 - right) > 0.85)  # by chance 0.5, and 0.85 once in a hundred thousand times


MISSES = {
    "none": (),
    "single frames": range(3, FRAMES - 3, 3),
    "for two fifths of a second": range(20, 30),
    "until it is well inside the picture": range(10),
}


@pytest.mark.parametrize("missed", MISSES)
def test_a_moving_board_is_read_in_no_frame_though_the_mask_misses_it(missed: str) -> None:
    drive = board_drive(MISSES[missed])
    assert all(map(is_read, boards([item.result for item in drive])))
    assert sum(map(is_read, boards(blurred(drive)))) == 0


def test_a_camera_s_board_is_read_in_no_frame_once_it_was_seen() -> None:
    results = blurred(board_drive([*range(10), *range(20, 30), *range(33, FRAMES, 3)]), live=True)
    read = [is_read(board) for board in boards(results)]
    assert all(read[:10])  # nobody knew of it
    assert not any(read[10:])


def test_neither_the_mean_of_many_frames_nor_undoing_a_blur_brings_the_board_back() -> None:
    held = boards(blurred(board_drive(())))
    mean = held.mean(axis=0)
    assert mean.std() < 0.1 * boards([item.result for item in board_drive(())]).mean(axis=0).std()
    assert not is_read(mean)
    for sigma in (2, 4, 8, 16):
        kernel = np.outer(*[cv2.getGaussianKernel(SIDE - 1, sigma)[:, 0]] * 2)
        transfer = np.fft.fft2(np.pad(kernel, ((0, 1), (0, 1))))
        for noise in (1e-6, 1e-4, 1e-2):
            undone = np.fft.ifft2(np.fft.fft2(mean) * transfer.conj() / (abs(transfer) ** 2 + noise))
            assert not is_read(np.fft.fftshift(undone.real)), (sigma, noise)


def test_what_is_hidden_makes_no_difference_to_the_picture() -> None:
    """So nothing of it can be worked out from the picture, whatever one does."""
    box = slice(40, 100), slice(80, 170)
    shown = []
    for hidden in (np.zeros((60, 90, 3), np.uint8), RNG.integers(0, 256, (60, 90, 3), np.uint8)):
        rgb = SCENE.copy()
        rgb[box] = hidden
        (result,) = blurred([frame_of(rgb, masked(HEIGHT, WIDTH, box), 0)])
        shown.append([plane.tobytes() for plane in planes_of(result.frame.picture)])
    assert shown[0] == shown[1]


@pytest.mark.parametrize(("height", "width"), [(144, 256), (97, 131), (20, 30), (31, 400)])
def test_what_is_not_hidden_stays_as_it_is_to_the_byte(height: int, width: int) -> None:
    rgb = RNG.integers(0, 256, (height, width, 3), np.uint8)
    mask = masked(height, width, (slice(height // 2, height // 2 + 4), slice(width // 2, width // 2 + 6)))
    (decided,) = [frame_of(rgb, mask, 0)]
    (result,) = blurred([decided])
    far = cv2.dilate(mask, np.ones((25, 25), np.uint8)) == ROAD
    assert far.any()
    for before, after in zip(planes_of(decided.result.frame.picture), planes_of(result.frame.picture), strict=True):
        step = round(height / before.shape[0])
        outside = far[::step, ::step][: before.shape[0], : before.shape[1]]
        np.testing.assert_array_equal(after[outside], before[outside])
        assert (after != before).any()
    assert result.frame.look == look_of(decided.result.frame.picture)


def test_a_frame_without_any_of_it_is_the_decoder_s_own() -> None:
    decided = frame_of(SCENE, np.zeros((HEIGHT, WIDTH), np.uint8), 0)
    (result,) = blurred([decided])
    assert result is decided.result


@pytest.mark.parametrize("rate", [10, 25, 50])
@pytest.mark.parametrize("live", [False, True])
def test_it_stays_hidden_for_half_a_second_whatever_the_rate_and_in_files_before_too(rate: int, live: bool) -> None:
    seen = masked(HEIGHT, WIDTH, (slice(40, 80), slice(80, 140)))
    at = rate  # of a second and a half
    drive = [frame_of(SCENE, seen if number == at else np.zeros_like(seen), number, rate) for number in range(2 * at)]
    changed = [item.frame.look is not None for item in blurred(drive, live=live)]
    hidden = np.flatnonzero(changed)
    after = -(-rate // 2) - 1  # frames within the half second
    before = 0 if live else min(after, 16)  # that wait, at most
    assert hidden.tolist() == list(range(at - before, at + after + 1))


def test_where_motion_is_told_wrong_it_stays_hidden_in_its_place_for_an_eighth_of_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def far_away(_: Blur, now: NDArray[np.uint8], __: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full((*now.shape[:2], 2), 1000, np.float32)

    monkeypatch.setattr(Blur, "_origins", far_away)
    seen = masked(HEIGHT, WIDTH, (slice(40, 80), slice(80, 140)))
    drive = [frame_of(SCENE, seen if number == 10 else seen * 0, number) for number in range(20)]
    hidden = np.flatnonzero([item.frame.look is not None for item in blurred(drive)])
    assert hidden.tolist() == list(range(7, 14))


def test_a_cut_ends_it_in_either_direction() -> None:
    seen, other = masked(HEIGHT, WIDTH, (slice(40, 80), slice(80, 140))), texture(HEIGHT, WIDTH, seed=8)
    drive = [frame_of(SCENE if number < 10 else other, seen * 0, number) for number in range(20)]
    for at, expected in ((9, range(10)), (10, range(10, 20))):
        drive_with = [
            frame_of(SCENE if at < 10 else other, seen, at) if number == at else item
            for number, item in enumerate(drive)
        ]
        hidden = np.flatnonzero([item.frame.look is not None for item in blurred(drive_with)])
        assert hidden.tolist() == list(expected)


def test_pieces_are_hidden_each_by_itself() -> None:
    seen = masked(HEIGHT, WIDTH, (slice(40, 80), slice(80, 140)))
    drive = [frame_of(SCENE, seen if number == PIECE else seen * 0, number) for number in range(PIECE - 20, PIECE + 20)]
    hidden = np.flatnonzero([item.frame.look is not None for item in blurred(drive)]) + PIECE - 20
    assert hidden.tolist() == list(range(PIECE, PIECE + 13))
    np.testing.assert_array_equal(luma(blurred(drive[20:])[3]), luma(blurred(drive)[23]))


def test_a_camera_has_no_pieces() -> None:
    seen, at = masked(HEIGHT, WIDTH, (slice(40, 80), slice(80, 140))), PIECE - 1
    drive = [frame_of(SCENE, seen if number == at else seen * 0, number) for number in range(at, at + 20)]
    hidden = np.flatnonzero([item.frame.look is not None for item in blurred(drive, live=True)])
    assert hidden.tolist() == list(range(13))


def test_what_the_mask_has_for_something_else_in_the_middle_of_it_is_hidden_too() -> None:
    mask = masked(HEIGHT, WIDTH, (slice(40, 110), slice(60, 180)))
    mask[70:86, 100:124] = 2
    results = []
    for plate in (20, 200):
        rgb = SCENE.copy()
        rgb[70:86, 100:124] = plate
        results.append(luma(blurred([frame_of(rgb, mask, 0)])[0]))
    np.testing.assert_array_equal(*results)


def test_a_picture_that_is_hidden_all_over_is_gray() -> None:
    (result,) = blurred([frame_of(SCENE, np.full((HEIGHT, WIDTH), CAR, np.uint8), 0)])
    assert {tuple(np.unique(plane)) for plane in planes_of(result.frame.picture)} == {(128,)}


def test_pictures_of_changing_size_and_times_that_stand_still_are_hidden_too() -> None:
    sizes = [(48, 64), (48, 64), (96, 128), (17, 19), (17, 19)]
    drive = [
        frame_of(RNG.integers(0, 256, (*size, 3), np.uint8), np.full(size, CAR, np.uint8), number)
        for number, size in enumerate(sizes)
    ]
    for item in drive:
        object.__setattr__(item.result.frame, "pts", 3)
    assert [item.frame.picture.height for item in blurred(drive)] == [height for height, _ in sizes]
    assert {int(luma(item).min()) for item in blurred(drive)} == {128}


def test_a_class_that_is_none_is_named() -> None:
    with pytest.raises(RoadmaskError, match=r"class 'cra' is not known here; .* did you mean car\?"):
        Blur(SPEC.classes, ["cra"])
