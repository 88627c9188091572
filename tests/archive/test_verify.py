"""`roadmask verify`: what is wrong with an archive, or between it and a video, is named with frame and file."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.cli import main
from roadmask.stream.errors import ArchiveError
from roadmask.stream.system.disk import partial_path
from tests.support.clips import SPEC, TICK, cfr, make_clip, result_of, video_info
from tests.support.tool_masks import any_archive

NAMES = ["masks", "masks.zip", "masks.mkv", "masks.npz", "masks.zarr"]
COUNT = 12
MASKS = np.random.default_rng(5).integers(0, 3, (COUNT, 48, 64), np.uint8)


def write(
    path: Path, indices: list[int] | None = None, pts: list[int] | None = None, size: tuple[int, int] = (48, 64)
) -> Path:
    indices = list(range(COUNT)) if indices is None else indices
    with any_archive(path, video_info(size[1], size[0]), SPEC, source="drive.mp4") as sink:
        for number, index in enumerate(indices):
            time = 512 * index if pts is None else pts[number]
            sink.write(result_of(MASKS[number, : size[0], : size[1]], index=index, pts=time))
    return path


def verify(capsys: pytest.CaptureFixture[str], *words: Path | str) -> tuple[int, list[str]]:
    code = main(["verify", *map(str, words)])
    return code, capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_archive_is_said_to_be_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert verify(capsys, write(tmp_path / name)) == (0, ["12 masks, all whole"])


def rename(folder: Path) -> None:
    (folder / "frame_000004.png").rename(folder / "frame_000400.png")


def swap(folder: Path) -> None:
    (folder / "frame_000004.png").rename(folder / "x")
    (folder / "frame_000005.png").rename(folder / "frame_000004.png")
    (folder / "x").rename(folder / "frame_000005.png")


def shrink(folder: Path) -> None:
    cv2.imwrite(str(folder / "frame_000004.png"), MASKS[4, :40])


def change(folder: Path) -> None:
    cv2.imwrite(str(folder / "frame_000004.png"), MASKS[4] ^ 1)


def cut_manifest(folder: Path) -> None:
    manifest = folder / "manifest.jsonl"
    manifest.write_text(manifest.read_text()[:-9])


def edit(old: str, new: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        manifest = folder / "manifest.jsonl"
        assert old in manifest.read_text()
        manifest.write_text(manifest.read_text().replace(old, new))

    return apply


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (
            lambda folder: (folder / "frame_000004.png").unlink(),
            ["the mask of frame 4 (frame_000004.png) is missing"],
        ),
        (rename, ["the mask of frame 4 (frame_000004.png) is missing; frame_000400.png is that mask, renamed"]),
        (
            swap,
            [
                "frame 4 (frame_000004.png) is damaged: its checksum is",
                "; it is the mask of frame 5",
                "frame 5 (frame_000005.png) is damaged",
                "; it is the mask of frame 4",
            ],
        ),
        (shrink, ["the mask of frame 4 (frame_000004.png) is damaged: it is 64x40, not 64x48"]),
        (change, ["the mask of frame 4 (frame_000004.png) is damaged: its checksum is"]),
        (
            lambda folder: (folder / "frame_000004.png").write_bytes(b"\x89PNG"),
            ["the mask of frame 4 (frame_000004.png) is damaged: it cannot be decoded"],
        ),
        (
            lambda folder: shutil.copy(folder / "frame_000004.png", folder / "copy.png"),
            ["copy.png is extra: the manifest does not know it"],
        ),
        (edit('"index": 4,', '"index": 40,'), ["frame 5 (frame_000005.png) comes behind frame 40 in the manifest"]),
        (edit('"pts": 2048,', '"pts": 9,'), ["frame 4 (frame_000004.png) is shown at 0.001 s, not after 0.120 s"]),
        (cut_manifest, ["the last line of its manifest is cut off", "frame_000011.png is extra"]),
    ],
)
def test_what_is_wrong_is_named_with_frame_and_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object], expected: list[str]
) -> None:
    folder = write(tmp_path / "masks")
    damage(folder)
    code, lines = verify(capsys, folder)
    assert code == 1
    text = "\n".join(lines)
    for part in expected:
        assert part in text
    assert len(lines) <= 3


@pytest.mark.parametrize("name", ["masks.mkv", "masks.npz", "masks.zarr", "masks.zip"])
def test_a_flipped_byte_is_found_in_every_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = write(tmp_path / name)
    file = path / "masks/c/0/0/0" if path.is_dir() else path
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    code, lines = verify(capsys, path)
    assert code == 1
    assert "the mask of frame " in lines[0]
    if path.suffix == ".npz":  # one stream: what comes behind is gone with it
        assert len(lines) > 2
        return
    assert len(lines) == 2, "one mask, and the sum"
    with open_masks(path) as masks:
        whole = [position for position in range(len(masks)) if masks.examine(position)[0] is not None]
    assert len(whole) == COUNT - 1, "what is whole stays readable"


def test_every_problem_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "masks")
    for index in (2, 5, 7):
        (folder / f"frame_{index:06d}.png").unlink()
    code, lines = verify(capsys, folder)
    assert code == 1
    assert lines[-1] == "12 masks, 3 problems"
    assert [f"frame {index} " in line for index, line in zip((2, 5, 7), lines, strict=False)] == [True] * 3


def test_ids_beyond_the_class_table_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with any_archive(tmp_path / "masks", video_info(), SPEC) as sink:
        sink.write(result_of(np.full((48, 64), 3, np.uint8), index=7))
    code, lines = verify(capsys, tmp_path / "masks")
    assert code == 1
    assert "frame 7 (frame_000007.png) has the class id 3, which is not in the table of 3 classes" in lines[0]


def test_a_zip_with_pictures_put_into_it_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "masks.zip")
    with zipfile.ZipFile(path, "a") as content:
        content.writestr("extra.png", b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            content.writestr("frame_000004.png", content.read("frame_000004.png"))
    code, lines = verify(capsys, path)
    assert code == 1
    assert "extra.png is extra" in lines[0]
    assert "frame_000004.png is in it more than once" in lines[1]


@pytest.mark.parametrize("name", NAMES[:3])
def test_an_unfinished_archive_is_said_to_be_unfinished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = tmp_path / name
    with any_archive(path, video_info(), SPEC) as sink:
        sink.write(result_of(MASKS[0]))
        sink.sync()
        partial = partial_path(path)
        code, lines = verify(capsys, partial)
        assert main(["info", str(partial)]) == 0
    assert code == 1
    assert lines[0].endswith("it was not finished: its run was killed or goes on; masks that are whole: 1")
    told = " ".join(capsys.readouterr().out.split())
    assert "finished no, its run was killed or goes on" in told
    assert "masks 1 " in told


# Against a video.


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "drive.mp4", cfr(20))


def test_masks_of_every_frame_fit_their_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = make_clip(tmp_path / "drive.mp4", cfr(COUNT))
    masks = write(tmp_path / "masks")
    assert verify(capsys, masks, clip) == (0, ["12 masks, all whole, one for each frame of drive.mp4"])


def test_frames_without_a_mask_are_told_and_are_no_problem(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = write(tmp_path / "masks", [2, 3, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15])
    told = "12 masks, all whole and of drive.mp4; 8 of its 20 frames have none: 0-1, 5, 7, 16-19"
    assert verify(capsys, masks, clip) == (0, [told])


def test_masks_that_are_shifted_against_the_video_are_named(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = write(tmp_path / "masks", pts=[512 * (index + (3 if index >= 5 else 0)) for index in range(COUNT)])
    code, lines = verify(capsys, masks, clip)
    assert code == 1
    assert lines[0].endswith(
        f"frame 5 (frame_000005.png) to frame 11 (frame_000011.png), 7 masks: shifted by +3 frames against {clip}, "
        "whose frame 8 has that time"
    )
    assert lines[1:] == ["12 masks, 1 problem"]


def test_a_mask_at_a_time_that_no_frame_has_is_named(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = write(tmp_path / "masks", pts=[512 * index + (index == 6) for index in range(COUNT)])
    code, lines = verify(capsys, masks, clip)
    assert code == 1
    assert "frame 6 (frame_000006.png): the video has no frame at the time of the mask (0.240 s)" in lines[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: make_clip(path, cfr(20), size=(32, 64)), "its pictures are 64x32, the masks' were 64x48"),
        (lambda path: make_clip(path, cfr(11)), "it has 11 frames, and there is a mask of frame 11"),
        (
            lambda path: make_clip(path, list(range(20)), time_base=Fraction(1, 25)),
            "its times count in",
        ),
        (
            lambda path: make_clip(path, cfr(20, first=7)),
            "not one mask has the time of one of its frames",
        ),
    ],
)
def test_another_video_is_told_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], Path], message: str
) -> None:
    video = make(tmp_path / "other.mp4")
    code, lines = verify(capsys, write(tmp_path / "masks"), video, "--any-name")
    assert code == 1
    assert "other.mp4 is another video: " in lines[0]
    assert message in lines[0]
    assert len(lines) == 2


def test_a_video_of_another_name_is_another_unless_it_was_renamed(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks, renamed = write(tmp_path / "masks"), tmp_path / "tuesday.mp4"
    shutil.copy(clip, renamed)
    code, lines = verify(capsys, masks, renamed)
    assert code == 1
    assert "tuesday.mp4 is another video: the masks were made of drive.mp4 (pass --any-name where it has" in lines[0]
    assert verify(capsys, masks, renamed, "--any-name")[0] == 0


# What is asked for by frame and by time.


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_is_found_by_its_frames_index_and_by_time(tmp_path: Path, name: str) -> None:
    with open_masks(write(tmp_path / name, list(range(10, 34, 2)))) as masks:
        assert masks.position(14) == 2
        np.testing.assert_array_equal(masks.at(14 * 512 * TICK), MASKS[2])
        np.testing.assert_array_equal(masks.at(float(masks.records[2].time)), MASKS[2])
        assert masks.position_at(Fraction(15, 25)) == 2, "shown until the next"
        assert masks.position_at(1000) == 11
        with pytest.raises(ArchiveError, match=r"holds no mask of frame 15; it holds 12, from frame 10 \(0.400 s\) to"):
            masks.position(15)
        with pytest.raises(ArchiveError, match=r"shows no mask yet at 0.399 s; it holds 12, from frame 10"):
            masks.at(0.399)


def test_a_folder_of_runs_is_told_as_such_with_the_archives_to_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a_masks", "monday/b_masks", "c_masks.zip", "d_masks.mkv"):
        (tmp_path / "results" / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / "results" / name)
    (tmp_path / "results/summary.json").write_text("{}")
    results = tmp_path / "results"
    assert main(["verify", str(results)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"roadmask: {results}: a folder of results; name the masks of one: "
        f"{results}/a_masks, {results}/c_masks.zip, {results}/d_masks.mkv, ... 4 in all"
    )
