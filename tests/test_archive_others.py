"""Other programs read our archives: NumPy, Zarr's own library, FFmpeg and OpenCV, any zip program."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.archive.mask_sink import open_archive_sink
from roadmask.stream.archive.npz import joined, shift_by
from roadmask.stream.archive.zarr import SHARD
from tests.support.clips import SPEC, result_of, video_info

MASKS = np.random.default_rng(1).integers(0, 3, (SHARD + 6, 30, 50), np.uint8)
INDICES = [2 * number + 5 for number in range(len(MASKS))]
PTS = [1024 * number - 300 for number in range(len(MASKS))]


def write(path: Path) -> Path:
    with open_archive_sink(path, video_info(50, 30), SPEC, source="drive.mp4") as sink:
        for mask, index, pts in zip(MASKS, INDICES, PTS, strict=True):
            sink.write(result_of(mask, index=index, pts=pts))
    return path


def test_numpy_reads_an_npz(tmp_path: Path) -> None:
    with np.load(write(tmp_path / "masks.npz"), allow_pickle=False) as content:
        np.testing.assert_array_equal(content["masks"], MASKS)
        assert content["index"].tolist() == INDICES
        assert content["pts"].tolist() == PTS
        np.testing.assert_allclose(content["time"], np.array(PTS) / 12800)
        assert content["crc32"].tolist() == [zlib.crc32(mask) for mask in MASKS]
        assert json.loads(str(content["header"]))["classes"][1] == {"name": "car", "color": [0, 0, 142]}
        lines = str(content["manifest"]).splitlines()
    assert [json.loads(line)["index"] for line in lines] == INDICES


def test_an_npz_is_a_sound_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(write(tmp_path / "masks.npz")) as content:
        assert content.testzip() is None, "every entry's checksum is right"


def test_zarr_reads_a_zarr(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(write(tmp_path / "masks.zarr"), mode="r")
    np.testing.assert_array_equal(group["masks"][:], MASKS)
    np.testing.assert_array_equal(group["masks"][SHARD + 2, 4:9], MASKS[SHARD + 2, 4:9])
    assert group["masks"].chunks == (1, 30, 50)
    assert group["masks"].shards == (SHARD, 30, 50)
    assert group["index"][:].tolist() == INDICES
    assert group["pts"][:].tolist() == PTS
    np.testing.assert_allclose(group["time"][:], np.array(PTS) / 12800)
    assert group["crc32"][:].tolist() == [zlib.crc32(mask) for mask in MASKS]
    assert group.attrs["header"]["source"] == "drive.mp4"
    lines = group["manifest"][:].tobytes().decode().splitlines()
    assert [json.loads(line)["index"] for line in lines] == INDICES
    assert sorted(name for name, _ in group.members()) == ["crc32", "index", "manifest", "masks", "pts", "time"]


def test_ffmpeg_reads_and_seeks_in_a_video_of_masks(tmp_path: Path) -> None:
    path = write(tmp_path / "masks.mkv")
    with av.open(path) as container:
        seen = [frame.to_ndarray() for frame in container.decode(video=0)]
        np.testing.assert_array_equal(seen, MASKS)
        assert container.duration == (PTS[-1] - PTS[0]) * 1_000_000 // 12800 // 1000 * 1000 + 1000
        stream = container.streams.video[0]
        assert stream.codec_context.pix_fmt == "gray"
        container.seek(2000, stream=stream)
        assert next(container.decode(stream)).pts == pytest.approx(2000, abs=80)
        assert next(container.demux(stream)).is_keyframe


def test_opencv_plays_a_video_of_masks(tmp_path: Path) -> None:
    video = cv2.VideoCapture(str(write(tmp_path / "masks.mkv")))
    video.set(cv2.CAP_PROP_CONVERT_RGB, 0)
    assert sum(1 for _ in iter(lambda: video.read()[0], False)) == len(MASKS)
    video.release()


def test_a_zip_holds_pngs_and_says_nothing_of_how_it_was_made(tmp_path: Path) -> None:
    with zipfile.ZipFile(write(tmp_path / "masks.zip")) as content:
        assert content.testzip() is None
        assert content.namelist()[0] == "classes.json"
        assert content.namelist()[-1] == "manifest.jsonl"
        assert {info.extra for info in content.infolist()} == {b""}
        picture = np.frombuffer(content.read("frame_000009.png"), np.uint8)
    np.testing.assert_array_equal(cv2.imdecode(picture, cv2.IMREAD_UNCHANGED), MASKS[2])


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_checksums_of_pieces_give_that_of_the_whole(pieces: list[bytes]) -> None:
    whole = zlib.crc32(pieces[0])
    for piece in pieces[1:]:
        whole = joined(whole, zlib.crc32(piece), shift_by(len(piece)))
    assert whole == zlib.crc32(b"".join(pieces))


def test_an_npz_of_more_than_four_gigabytes_is_laid_out_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 4_000)
    path = write(tmp_path / "masks.npz")
    monkeypatch.undo()
    with np.load(path) as content, open_masks(path) as masks:
        np.testing.assert_array_equal(content["masks"], MASKS)
        np.testing.assert_array_equal(masks[-1], MASKS[-1])
