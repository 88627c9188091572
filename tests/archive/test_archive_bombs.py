"""An archive from anywhere takes no more memory than its masks: each is read in a process that may have little more
than it has when it begins.
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.support.own_process import LIMIT_S, python
from tests.support.untrusted import HEIGHT, WIDTH, replace_entry, write

LIMITED = """
import resource, sys
import numpy, cv2, av
from roadmask.stream.archive.archive import open_masks
from roadmask.stream.cli import main
from roadmask.stream.errors import ArchiveError
import roadmask.stream.commands.verify
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000, -1))
sys.exit(main(["verify", sys.argv[1], "--quiet"]))
"""


def verified_in_little_memory(archive: Path) -> str:
    """What `verify` says of an archive that is not whole, in a few megabytes and seconds."""
    done = subprocess.run(
        [*python(LIMITED), str(archive)], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "allocate" not in done.stdout + done.stderr, "it was refused before memory was asked for"
    return done.stdout + done.stderr


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Of 8 bits and one channel."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pieces = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in (header, *chunks, (b"IEND", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


def zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(megabytes)), packer.flush()])


linux = pytest.mark.skipif(sys.platform != "linux", reason="limits the process's memory as Linux does")


@linux
@pytest.mark.parametrize("kind", ["masks", "masks.zip"])
def test_a_picture_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path: Path, kind: str) -> None:
    bomb = png(50_000, 50_000, (b"IDAT", zeros(1 << 6)))
    archive = write(tmp_path / kind)
    if archive.is_dir():
        (archive / "frame_000002.png").write_bytes(bomb)
    else:
        replace_entry(archive, "frame_000002.png", bomb)
    told = verified_in_little_memory(archive)
    assert "frame 2 (frame_000002.png) is damaged: it cannot be decoded" in told
    assert len(told.splitlines()) == 2


@linux
def test_a_picture_whose_part_says_that_it_has_gigabytes_is_not_believed(tmp_path: Path) -> None:
    archive = write(tmp_path / "masks")
    content = bytearray((archive / "frame_000002.png").read_bytes())
    content[33:37] = b"\x7f\x7f\x7f\x00"  # the length of its pixels
    (archive / "frame_000002.png").write_bytes(content)
    assert "frame 2 (frame_000002.png) is damaged: it cannot be decoded" in verified_in_little_memory(archive)


def claim(archive: Path, name: str, size: int) -> None:
    """That an entry has so many bytes, unpacked: no program unpacks more than that, and most believe it."""
    with zipfile.ZipFile(archive) as old:
        entries = {item: old.read(item) for item in old.namelist()}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as new:
        for item, piece in entries.items():
            new.writestr(item, piece + bytes(1 << 22) if item == name else piece)
        new.getinfo(name).file_size = size


@linux
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("masks.zip", "manifest.jsonl"),
        ("masks.zip", "classes.json"),
        ("masks.zip", "frame_000002.png"),
        ("masks.npz", "header.npy"),
        ("masks.npz", "manifest.npy"),
    ],
)
def test_an_entry_of_a_zip_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path: Path, kind: str, name: str) -> None:
    archive = write(tmp_path / kind)
    claim(archive, name, 3 << 30)
    assert f"{name} has {3 << 30} bytes, more than the" in verified_in_little_memory(archive)


@linux
@pytest.mark.parametrize("name", ["manifest.npy", "masks.npy"])
@pytest.mark.parametrize("shape", [(10**15,), (1 << 62, 1 << 62), (3, 10**12)])
def test_an_npz_s_array_is_not_as_large_as_it_says(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    archive = write(tmp_path / "masks.npz")
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "<i8", "fortran_order": False, "shape": shape})
    replace_entry(archive, name, array.getvalue() + bytes(80))
    done = subprocess.run(
        [*python(LIMITED), str(archive)], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 1
    assert "masks.npz: not a mask archive, or not a whole one" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@linux
def test_a_mask_of_an_npz_or_zarr_that_unpacks_to_more_than_it_is_stays_small(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(1 << 9)), packer.flush()])
    archive = write(tmp_path / "masks.zarr")
    shard = archive / "masks/c/0/0/0"
    content = bytearray(shard.read_bytes())
    content[16:32] = struct.pack("<QQ", len(content), len(bomb))
    shard.write_bytes(content + bomb)
    assert "frame 1 is damaged" in verified_in_little_memory(archive)


@linux
@pytest.mark.parametrize(("offset", "size"), [(0, 1 << 62), (1 << 63, 100), (0, (1 << 64) - 2)])
def test_a_zarr_s_chunk_is_not_where_it_cannot_be(tmp_path: Path, offset: int, size: int) -> None:
    archive = write(tmp_path / "masks.zarr")
    with (archive / "masks/c/0/0/0").open("r+b") as file:
        file.seek(16)
        file.write(struct.pack("<QQ", offset, size))
    assert "frame 1 cannot be read" in verified_in_little_memory(archive)


@linux
def test_a_directory_that_claims_any_number_of_entries_is_not_believed(tmp_path: Path) -> None:
    archive = write(tmp_path / "masks.zip")
    content = bytearray(archive.read_bytes())
    end = content.rindex(b"PK\5\6")
    content[end + 8 : end + 20] = struct.pack("<HHII", 0xFFFF, 0xFFFF, 0xFFFFFFF0, 0)
    archive.write_bytes(content)
    verified = subprocess.run(
        [*python(LIMITED), str(archive)], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert verified.returncode == 1
    assert "Traceback" not in verified.stderr


@linux
def test_a_video_of_masks_that_says_it_is_huge_is_not_decoded(tmp_path: Path) -> None:
    archive = write(tmp_path / "masks.mkv")
    content = archive.read_bytes()
    for element, size in ((b"\xb0", WIDTH), (b"\xba", HEIGHT)):  # PixelWidth, PixelHeight, two bytes each
        for width in (1, 2, 4):
            old = element + bytes([0x80 | width]) + size.to_bytes(width, "big")
            if old in content:
                content = content.replace(old, element + bytes([0x80 | width]) + b"\xff" * width, 1)
                break
    archive.write_bytes(content)
    verified_in_little_memory(archive)


@linux
@pytest.mark.parametrize("name", ["manifest.jsonl", "classes.json"])
def test_a_text_of_a_gigabyte_is_not_read(tmp_path: Path, name: str) -> None:
    archive = write(tmp_path / "masks")
    os.truncate(archive / name, 1 << 30)  # a file with a hole takes no room
    assert f"{name} has {1 << 30} bytes, more than the" in verified_in_little_memory(archive)
