"""Other programs read our archives: NumPy, Zarr's own library, FFmpeg and OpenCV, any zip program."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.archive.convert import convert_archive
from roadmask.stream.archive.manifest import record_line
from roadmask.stream.archive.verify import archive_problems
from roadmask.stream.archive.zarr import SHARD
from tests.support.clips import SPEC, result_of, video_info
from tests.support.tool_masks import any_archive

MASKS = np.random.default_rng(1).integers(0, 3, (70, 30, 50), np.uint8)
INDICES = [2 * number + 5 for number in range(len(MASKS))]
PTS = [1024 * number - 300 for number in range(len(MASKS))]


def write(path: Path) -> Path:
    with any_archive(path, video_info(50, 30), SPEC, source="drive.mp4") as sink:
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


def test_an_npz_of_more_than_four_gigabytes_is_laid_out_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved, path = write(tmp_path / "saved"), tmp_path / "masks.npz"
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 4_000)
    convert_archive(saved, path)
    monkeypatch.undo()
    with np.load(path) as content, open_masks(path) as masks:
        np.testing.assert_array_equal(content["masks"], MASKS)
        np.testing.assert_array_equal(masks[-1], MASKS[-1])


def written_by_1_0_0(folder: Path, kind: str) -> Path:
    """Archives of 70 masks as the first release laid them out: a deflate stream of pieces, shards of 64."""
    saved = write(folder / "saved.zip")
    with open_masks(saved) as masks, zipfile.ZipFile(saved) as content:
        header = content.read("classes.json").decode()
        lines = "".join(record_line(replace(record, file=None)) + "\n" for record in masks.records)
    if kind == "npz":
        return npz_of_1_0_0(folder / "masks.npz", header, lines)
    return zarr_of_1_0_0(folder / "masks.zarr", header, lines)


def npz_of_1_0_0(path: Path, header: str, lines: str) -> Path:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": MASKS.shape})
    pieces = [b"\0" + struct.pack("<HH", len(head.getvalue()), len(head.getvalue()) ^ 0xFFFF) + head.getvalue()]
    for mask in MASKS:
        packer = zlib.compressobj(6, zlib.DEFLATED, -15, 8, zlib.Z_RLE)
        pieces.append(packer.compress(mask.data) + packer.flush(zlib.Z_FULL_FLUSH))
    info = zipfile.ZipInfo("masks.npy")
    info.compress_type, info.header_offset = zipfile.ZIP_DEFLATED, 0
    info.CRC = zlib.crc32(head.getvalue() + MASKS.tobytes())
    info.file_size, info.compress_size = len(head.getvalue()) + MASKS.size, sum(map(len, pieces)) + 2
    with path.open("wb") as file:
        file.write(info.FileHeader() + b"".join(pieces) + b"\3\0")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as rest:
            rest.filelist.append(info)
            offsets = np.cumsum([len(piece) for piece in pieces])
            for name, array in {"offsets": offsets, "header": np.array(header), "manifest": np.array(lines)}.items():
                content = io.BytesIO()
                np.save(content, array)
                rest.writestr(f"{name}.npy", content.getvalue())
    return path


def zarr_of_1_0_0(path: Path, header: str, lines: str) -> Path:
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"header": json.loads(header)}}
    array = {"node_type": "array", "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [64, 30, 50]}}}
    for shard in range(2):
        chunks = [gzip.compress(mask.tobytes(), 6) for mask in MASKS[64 * shard : 64 * (shard + 1)]]
        ends = [64 * 16, *(64 * 16 + int(end) for end in np.cumsum([len(chunk) for chunk in chunks]))]
        entries = [struct.pack("<QQ", at, len(chunk)) for at, chunk in zip(ends, chunks, strict=False)]
        file = path / f"masks/c/{shard}/0/0"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"".join(entries).ljust(64 * 16, b"\xff") + b"".join(chunks))
    texts = {"zarr.json": json.dumps(group), "masks/zarr.json": json.dumps(array)}
    for name, text in (texts | {"manifest/c/0": lines, "index/zarr.json": ""}).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


@pytest.mark.parametrize("kind", ["npz", "zarr"])
def test_an_archive_of_the_first_release_still_opens(tmp_path: Path, kind: str) -> None:
    with open_masks(written_by_1_0_0(tmp_path, kind)) as masks:
        assert [record.index for record in masks.records] == INDICES
        assert masks.header.source == "drive.mp4"
        for position in (69, 0, 65, 3):
            np.testing.assert_array_equal(masks[position], MASKS[position])
        assert not list(archive_problems(masks))
