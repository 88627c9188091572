"""What never moves in a drive is found, and nothing else; as pictures, and as `roadmask suggest-ignore` gives it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.cli import main
from roadmask.stream.masks.ignore import read_painted
from roadmask.stream.masks.unmoving import LEAST, Watcher
from tests.support.moving_scene import texture

HEIGHT, WIDTH = 180, 320
COUNT = 50
SCENE = texture(HEIGHT, WIDTH + 31 * COUNT)
NOISE = np.random.default_rng(1).normal(0, 4, (HEIGHT, WIDTH + 4 * COUNT, 3)).astype(np.float32)  # levels
STAMP = (slice(8, 19), slice(12, 130))  # its rows and columns

Picture = NDArray[np.uint8]


def street(number: int) -> Picture:
    """The scene, a little further on with each picture."""
    return SCENE[:, 31 * number : 31 * number + WIDTH].copy()


def noisy(picture: Picture, number: int) -> Picture:
    """With the noise of a sensor, another one for each number."""
    return np.clip(picture + NOISE[:, number : number + WIDTH], 0, 255).astype(np.uint8)


def bonnet() -> NDArray[np.bool_]:
    rows, columns = np.indices((HEIGHT, WIDTH))
    return rows > 145 + (columns - WIDTH / 2) ** 2 / 900


def with_bonnet(picture: Picture, number: int) -> Picture:
    """A dark one, which mirrors the sky: what is on it moves."""
    mirrored = cv2.GaussianBlur(SCENE[:, 17 * number : 17 * number + WIDTH], (0, 0), 12) // 5
    return np.where(bonnet()[..., None], mirrored, picture).astype(np.uint8)


def with_stamp(picture: Picture, number: int) -> Picture:
    """A second passes between two pictures."""
    text = f"2026-11-28 12:{number // 60 + 4:02d}:{number % 60:02d}"
    cv2.putText(picture, text, (12, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (250, 250, 250), 1, cv2.LINE_AA)
    return picture


def with_bars(picture: Picture) -> Picture:
    picture[:14] = picture[-14:] = 16
    return picture


def watched(pictures: Iterable[Picture]) -> Watcher:
    watcher = Watcher()
    for picture in pictures:
        watcher.add(picture)
    return watcher


def found_in(pictures: Iterable[Picture]) -> NDArray[np.bool_]:
    watcher = watched(pictures)
    assert watcher.counted >= LEAST
    found = watcher.found()
    return np.zeros((HEIGHT, WIDTH), bool) if found is None else found.pixels > 0


def assert_is(found: NDArray[np.bool_], expected: NDArray[np.bool_]) -> None:
    """All of it, and no more than its edge is wide."""
    assert found[expected].mean() > 0.98
    assert not found[cv2.dilate(expected.astype(np.uint8), np.ones((11, 11), np.uint8)) == 0].any()


def test_in_a_street_without_anything_fixed_nothing_is_found() -> None:
    assert watched(map(street, range(COUNT))).found() is None


def test_a_bonnet_that_mirrors_the_sky_is_found_to_its_edge() -> None:
    found = found_in(with_bonnet(street(number), number) for number in range(COUNT))
    assert_is(found, bonnet())


def test_a_time_stamp_is_found_with_its_last_digits() -> None:
    found = found_in(with_stamp(street(number), number) for number in range(COUNT))
    assert found[STAMP].mean() > 0.9
    assert not found[24:].any()
    assert not found[:, 140:].any()


def test_black_bars_are_found() -> None:
    found = found_in(with_bars(street(number)) for number in range(COUNT))
    assert found[:14].all()
    assert found[-14:].all()
    assert not found[20:-20].any()


def test_where_the_car_waits_nothing_is_learnt() -> None:
    """However long: each picture has noise of its own, so that none is the same."""
    numbers = [*range(25), *[25] * 3 * COUNT, *range(26, COUNT)]
    waiting = watched(with_bonnet(noisy(street(number), n), number) for n, number in enumerate(numbers))
    assert waiting.looked_at == len(numbers)
    assert waiting.counted == COUNT
    found = waiting.found()
    assert found
    assert_is(found.pixels > 0, bonnet())


def write_drive(path: Path, count: int) -> Path:
    """Four pictures a second, as few as there are."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=4, width=WIDTH, height=HEIGHT, options={"preset": "ultrafast"})
        stream.pix_fmt = "yuv420p"
        for number in range(count):
            picture = with_stamp(with_bonnet(street(number), number), number)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_the_command_writes_a_mask_and_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drive, mask = write_drive(tmp_path / "drive.mp4", COUNT), tmp_path / "mask.png"
    assert main(["suggest-ignore", str(drive), "-o", str(mask)]) == 0
    talk = capsys.readouterr()
    assert talk.out == f"{mask}\n"
    assert "bottom" in talk.err
    assert "1 small place" in talk.err
    assert str(tmp_path / "mask_preview.jpg") in talk.err
    white = read_painted(mask).pixels() > 0
    assert white[STAMP].mean() > 0.9
    assert_is(white[40:], bonnet()[40:])
    shown = cv2.imread(str(tmp_path / "mask_preview.jpg")).astype(int)
    redder = shown[..., 2] - shown[..., 0]
    assert redder[bonnet()].mean() > redder[40:140].mean() + 60
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drive.mp4", "mask.png", "mask_preview.jpg"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["-o", "mask.png"], 1, "the scene moves on in 9 of the 9 pictures looked at, and 30 are needed"),
        (["-o", "mask.jpg"], 2, "a mask is a PNG"),
        (["-o", "taken.png"], 1, "taken.png: exists; pass --overwrite"),
    ],
)
def test_what_cannot_be_told_is_said_and_nothing_is_left(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_drive(tmp_path / "drive.mp4", 9)
    (tmp_path / "taken.png").write_bytes(b"mine")
    assert main(["suggest-ignore", "drive.mp4", *words]) == code
    assert told in " ".join(capsys.readouterr().err.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drive.mp4", "taken.png"]
    assert (tmp_path / "taken.png").read_bytes() == b"mine"


def test_a_drive_in_which_nothing_is_fixed_gets_no_mask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "with_bonnet", lambda picture, _: picture)
    monkeypatch.setitem(globals(), "with_stamp", lambda picture, _: picture)
    drive = write_drive(tmp_path / "drive.mp4", COUNT)
    assert main(["suggest-ignore", str(drive), "-o", str(tmp_path / "mask.png")]) == 1
    assert "nothing stays in place in" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["drive.mp4"]


def test_ctrl_c_ends_it_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watcher, "add", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    drive = write_drive(tmp_path / "drive.mp4", 9)
    assert main(["suggest-ignore", str(drive), "-o", str(tmp_path / "mask.png")]) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["drive.mp4"]
