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
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.own_process import python
from tests.support.untrusted import HEIGHT, WIDTH, replace_entry, write

# What is imported once serves all archives: each is read in a fork, which has no other threads and the same limit.
LIMITED = """
    import os, resource, sys, traceback
    import numpy, cv2, av
    import roadmask.stream.commands.verify
    from roadmask.stream.archive.archive import open_masks
    from roadmask.stream.cli import main

    for line in sys.stdin:
        archive, told = line.strip().split("\\t")
        if not (child := os.fork()):
            file = os.open(told, os.O_WRONLY | os.O_CREAT)
            os.dup2(file, 1), os.dup2(file, 2)
            used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000, -1))
            code = 70
            try:
                code = main(["verify", archive, "--quiet"])
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush(), sys.stderr.flush()
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
Verify = Callable[..., str]


@pytest.fixture(scope="module")
def verified_in_little_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verify]:
    """What `verify` says of an archive that is not whole, in a few megabytes and seconds.

    What is called may ask for memory in vain, where it is told so.
    """
    folder = tmp_path_factory.mktemp("told")
    with subprocess.Popen(python(LIMITED), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def verified(archive: Path, *, may_ask: bool = False) -> str:
            assert process.stdin
            assert process.stdout
            path = folder / str(len(list(folder.iterdir())))
            process.stdin.write(f"{archive}\t{path}\n")
            process.stdin.flush()
            code = process.stdout.readline()
            told = path.read_text()
            assert code == "1\n", told
            assert "Traceback" not in told
            assert may_ask or "allocate" not in told, "it was refused before memory was asked for"
            return told

        try:
            yield verified
        finally:
            process.kill()  # one that hangs would be waited for


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
def test_a_picture_that_unpacks_to_gigabytes_is_not_unpacked(
    verified_in_little_memory: Verify, tmp_path: Path, kind: str
) -> None:
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
def test_a_picture_whose_part_says_that_it_has_gigabytes_is_not_believed(
    verified_in_little_memory: Verify, tmp_path: Path
) -> None:
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
def test_an_entry_of_a_zip_that_unpacks_to_gigabytes_is_not_unpacked(
    verified_in_little_memory: Verify, tmp_path: Path, kind: str, name: str
) -> None:
    archive = write(tmp_path / kind)
    claim(archive, name, 3 << 30)
    assert f"{name} has {3 << 30} bytes, more than the" in verified_in_little_memory(archive)


@linux
@pytest.mark.parametrize("name", ["manifest.npy", "masks.npy"])
@pytest.mark.parametrize("shape", [(10**15,), (1 << 62, 1 << 62), (3, 10**12)])
def test_an_npz_s_array_is_not_as_large_as_it_says(
    verified_in_little_memory: Verify, tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    archive = write(tmp_path / "masks.npz")
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "<i8", "fortran_order": False, "shape": shape})
    replace_entry(archive, name, array.getvalue() + bytes(80))
    told = verified_in_little_memory(archive, may_ask=True)
    assert "masks.npz: not a mask archive, or not a whole one" in told
    assert len(told.splitlines()) == 1


@linux
def test_a_mask_of_an_npz_or_zarr_that_unpacks_to_more_than_it_is_stays_small(
    verified_in_little_memory: Verify, tmp_path: Path
) -> None:
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
def test_a_zarr_s_chunk_is_not_where_it_cannot_be(
    verified_in_little_memory: Verify, tmp_path: Path, offset: int, size: int
) -> None:
    archive = write(tmp_path / "masks.zarr")
    with (archive / "masks/c/0/0/0").open("r+b") as file:
        file.seek(16)
        file.write(struct.pack("<QQ", offset, size))
    assert "frame 1 cannot be read" in verified_in_little_memory(archive)


@linux
def test_a_directory_that_claims_any_number_of_entries_is_not_believed(
    verified_in_little_memory: Verify, tmp_path: Path
) -> None:
    archive = write(tmp_path / "masks.zip")
    content = bytearray(archive.read_bytes())
    end = content.rindex(b"PK\5\6")
    content[end + 8 : end + 20] = struct.pack("<HHII", 0xFFFF, 0xFFFF, 0xFFFFFFF0, 0)
    archive.write_bytes(content)
    verified_in_little_memory(archive)


@linux
def test_a_video_of_masks_that_says_it_is_huge_is_not_decoded(
    verified_in_little_memory: Verify, tmp_path: Path
) -> None:
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
def test_a_text_of_a_gigabyte_is_not_read(verified_in_little_memory: Verify, tmp_path: Path, name: str) -> None:
    archive = write(tmp_path / "masks")
    os.truncate(archive / name, 1 << 30)  # a file with a hole takes no room
    assert f"{name} has {1 << 30} bytes, more than the" in verified_in_little_memory(archive)
