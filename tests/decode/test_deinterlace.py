"""Interlaced video is made whole before network and overlay: one picture a frame, at its time."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.cli import main
from roadmask.stream.decode import source as source_module
from roadmask.stream.decode.deinterlace import Deinterlace, deinterlaced
from roadmask.stream.decode.pixels import planes_of
from roadmask.stream.decode.place import look_of
from roadmask.stream.decode.source import open_source
from tests.support.interlaced import SIZE, film, scene
from tests.support.own_process import LIMIT_S, python
from tests.support.run_command import run

COUNT = 20
TOP_FIRST = 2  # AV_FIELD_TT


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("clips") / "interlaced.mkv", COUNT, interlaced=True)


def brightness(path: Path, deinterlace: Deinterlace = "auto") -> list[tuple[int, int, NDArray[np.uint8]]]:
    """Index, pts and luma of each frame."""
    with open_source(path, deinterlace=deinterlace) as source:
        return [(frame.index, frame.pts, planes_of(frame.picture)[0].copy()) for frame in source.frames(lambda _: SIZE)]


def likeness(path: Path, deinterlace: Deinterlace) -> float:
    """DB between the frames and the scene as a progressive camera films it."""
    levels = [16 + scene(index)[..., 0] * (219 / 255) for index in range(COUNT)]
    return float(
        np.mean(
            [cv2.PSNR(luma.astype(np.float64), levels[index], 255) for index, _, luma in brightness(path, deinterlace)]
        )
    )


def test_interlaced_video_is_nearly_as_filmed_progressively_and_combed_without(clip: Path) -> None:
    assert likeness(clip, "off") < 28
    assert likeness(clip, "auto") > 35
    assert likeness(clip, "on") == likeness(clip, "auto")


def test_every_frame_comes_once_at_its_time_without_its_mark(clip: Path) -> None:
    with av.open(clip) as container:
        expected = [(index, frame.pts) for index, frame in enumerate(container.decode(video=0))]
    with open_source(clip) as source:
        frames = list(source.frames(lambda _: SIZE))
    assert [(frame.index, frame.pts) for frame in frames] == expected
    assert not any(frame.picture.interlaced_frame for frame in frames)
    assert all(frame.picture.pts == frame.pts for frame in frames)


@pytest.mark.parametrize(("codec", "pixels"), [("ffv1", "yuv420p"), ("mjpeg", "yuvj420p")])
def test_where_the_container_alone_says_so_it_is_believed(codec: str, pixels: str, tmp_path: Path) -> None:
    told = film(tmp_path / "a.mkv", COUNT, interlaced=True, codec=codec, pixels=pixels, field_order=TOP_FIRST)
    silent = film(tmp_path / "b.mkv", COUNT, interlaced=True, codec=codec, pixels=pixels)
    assert all(
        np.array_equal(one[2], other[2]) for one, other in zip(brightness(told), brightness(silent, "on"), strict=True)
    )
    assert all(
        np.array_equal(one[2], other[2])
        for one, other in zip(brightness(silent), brightness(silent, "off"), strict=True)
    )


def test_progressive_pictures_go_by_as_they_are_and_none_waits(tmp_path: Path) -> None:
    with av.open(film(tmp_path / "clip.mp4", 3, interlaced=False)) as container:
        pictures = list(container.decode(video=0))
    given = iter(pictures)
    results = deinterlaced(given, "auto", picture_of=lambda it: it, replaced=lambda _, it: it)
    assert next(results) is pictures[0]
    assert next(given) is pictures[1]  # it had not been asked for


def test_a_video_that_changes_its_size_or_its_kind_in_the_middle_keeps_all_frames(tmp_path: Path, clip: Path) -> None:
    with av.open(clip) as one, av.open(film(tmp_path / "clip.mp4", 4, interlaced=False)) as other:
        interlaced, progressive = list(one.decode(video=0))[:4], list(other.decode(video=0))
    small = [picture.reformat(width=64, height=48) for picture in interlaced]
    for picture in small:
        assert picture.interlaced_frame
    pictures = [*progressive, *interlaced, *small, *progressive, *interlaced]
    results = list(
        deinterlaced(enumerate(pictures), "auto", picture_of=lambda it: it[1], replaced=lambda it, new: (it[0], new))
    )
    assert [number for number, _ in results] == list(range(len(pictures)))
    assert all(
        (new.width, new.height, new.pts) == (old.width, old.height, old.pts)
        for (_, new), old in zip(results, pictures, strict=True)
    )
    assert not any(picture.interlaced_frame for _, picture in results)


@pytest.mark.parametrize("pixels", ["yuv420p", "gray"])
@pytest.mark.parametrize("levels", [0, 1, 2])  # not told, some of 0 to 255, all
def test_what_is_told_of_levels_stays(pixels: str, levels: int, clip: Path) -> None:
    with av.open(clip) as container:
        pictures = [picture.reformat(format=pixels, threads=1) for picture in list(container.decode(video=0))[:4]]
    for picture in pictures:
        picture.color_range = levels
    items = list(deinterlaced(pictures, "on", picture_of=lambda it: it, replaced=lambda _, new: new))
    assert [item.color_range for item in items] == [levels] * 4


def test_a_frame_is_the_same_wherever_decoding_began(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def looks(start: Fraction | None) -> list[tuple[int, int]]:
        with open_source(clip, start=start) as source:
            return [(frame.index, look_of(frame.picture)) for frame in source.frames(lambda _: SIZE)]

    whole = looks(None)
    monkeypatch.setattr(source_module, "_DECODED_BEFORE_START", 0)
    monkeypatch.setattr(source_module, "_AGREEING", 5)
    assert looks(Fraction(3, 5)) == whole[15:]


def test_masks_through_a_pipe_and_a_preview_are_those_of_the_file(clip: Path, model: Path, tmp_path: Path) -> None:
    outputs = [
        tmp_path / name for name in ("whole.mp4", "preview.mp4", "combed.mp4", "masks.zip", "piped.zip", "combed.zip")
    ]
    whole, preview, combed, masks, piped, combed_masks = outputs
    assert run(clip, "--overlay", whole, "--masks", masks, model=model) == 0
    assert run(clip, "--overlay", combed, "--masks", combed_masks, "--deinterlace", "off", model=model) == 0
    assert main(["preview", str(masks), str(clip), "-o", str(preview)]) == 0
    assert pictures(preview) == pictures(whole) != pictures(combed)
    assert (
        main(["preview", str(combed_masks), str(clip), "-o", str(preview), "--deinterlace", "off", "--overwrite"]) == 0
    )
    assert pictures(preview) == pictures(combed)
    command = python("import sys; from roadmask.stream.cli import main; sys.exit(main(sys.argv[1:]))")
    words = ["run", "-", "--masks", str(piped), "--model", str(model), "--decode", "software"]
    with clip.open("rb") as file:
        subprocess.run([*command, *words], stdin=file, check=True, timeout=LIMIT_S)
    with open_masks(masks) as one, open_masks(piped) as other:
        assert len(one) == len(other) == COUNT
        assert all(np.array_equal(one[number], other[number]) for number in range(COUNT))


@pytest.mark.logs_errors
def test_a_run_goes_on_only_as_it_began(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for deinterlace, code in (("off", 0), ("auto", 1)):
        words = (clip, "-o", f"{tmp_path}/results/", "--deinterlace", deinterlace)
        assert run(*words, "--resume", model=model) == code
    assert "--deinterlace was off" in capsys.readouterr().err


def test_what_a_version_without_the_option_has_done_is_done(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (clip, film(tmp_path / "other.mp4", 3, interlaced=False), "-o", f"{tmp_path}/results/")
    assert run(*words, model=model) == 0
    summary = tmp_path / "results" / "summary.json"
    told = summary.read_text()
    summary.write_text(re.sub(r'"--deinterlace": "auto",\s*', "", told))
    assert summary.read_text() != told
    assert run(*words, model=model) == 0
    assert "2 done before" in capsys.readouterr().err


def pictures(path: Path) -> list[bytes]:
    with av.open(path) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]
