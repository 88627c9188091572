"""An archive from anywhere opens nothing but itself, fills nothing but its target, takes no more memory than ours."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.archive.verify import archive_problems
from roadmask.stream.cli import main
from roadmask.stream.errors import ArchiveError
from roadmask.stream.system.talk import printable
from tests.support.clips import SPEC, cfr, make_clip, result_of, video_info
from tests.support.color_model import write_color_model
from tests.support.tool_masks import any_archive

KINDS = ["masks", "masks.zip", "masks.mkv", "masks.npz", "masks.zarr"]
HEIGHT, WIDTH, COUNT = 24, 32, 4
SECRET = "root:x:0:0:a secret of this machine"


def write(path: Path) -> Path:
    with any_archive(path, video_info(WIDTH, HEIGHT), SPEC, source="drive.mp4") as sink:
        for number in range(COUNT):
            sink.write(result_of(np.full((HEIGHT, WIDTH), number % 3, np.uint8), index=number, pts=512 * number))
    return path


def commands(archive: Path, target: Path) -> list[list[str]]:
    """All that read masks."""
    return [
        ["info", str(archive)],
        ["verify", str(archive), "--quiet"],
        ["convert", str(archive), "-o", str(target / "copy.npz"), "--quiet"],
        ["convert", str(archive), "--to", "cvat", "-o", str(target / "cvat"), "--quiet"],
        ["report", str(archive), "-o", str(target / "report.html"), "--quiet"],
    ]


def all_refuse(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, says: str) -> None:
    """Each command ends with 1 and a line, or has a line about each mask, and writes nothing but into its target."""
    target = tmp_path / "target"
    target.mkdir(exist_ok=True)
    before = everything(tmp_path, but=target)
    told = ""
    for arguments in commands(archive, target):
        code = main(arguments)
        talk = capsys.readouterr()
        assert code == 1 or arguments[0] in ("info", "report"), arguments
        assert "Traceback" not in talk.err
        assert code == 0 or len(talk.err.splitlines()) <= 2
        told += talk.out + talk.err
    assert says in told
    assert SECRET not in told
    assert everything(tmp_path, but=target) == before
    assert not any(SECRET.encode() in path.read_bytes() for path in target.rglob("*") if path.is_file())


def everything(folder: Path, *, but: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_relative_to(but)}


def change_records(manifest: str, **changes: Any) -> str:
    return "".join(json.dumps(json.loads(line) | changes) + "\n" for line in manifest.splitlines())


def changed(path: Path, *, manifest: Callable[[str], str] = str, header: Callable[[str], str] = str) -> Path:
    """An archive, a folder or a zip, whose texts are others."""
    if path.suffix != ".zip":
        for name, change in (("manifest.jsonl", manifest), ("classes.json", header)):
            (path / name).write_text(change((path / name).read_text()))
        return path
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in old.namelist()}
    content["manifest.jsonl"] = manifest(content["manifest.jsonl"].decode()).encode()
    content["classes.json"] = header(content["classes.json"].decode()).encode()
    with zipfile.ZipFile(path, "w") as new:
        for name, piece in content.items():
            new.writestr(name, piece)
    return path


# Paths


@pytest.mark.parametrize("kind", ["masks", "masks.zip"])
@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "C:\\secret.png", "..\\secret.png", "a/b.png", "..", ".", "", "x\0.png", 7]
)
def test_a_manifest_names_no_file_outside_its_archive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, name: object
) -> None:
    (tmp_path / "secret.png").write_text(SECRET)
    archive = changed(write(tmp_path / kind), manifest=lambda text: change_records(text, file=name))
    all_refuse(archive, tmp_path, capsys, says="masks")


@pytest.mark.parametrize("name", ["classes.json", "manifest.jsonl", "frame_000001.png"])
def test_a_link_out_of_a_folder_is_not_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "secret").write_text(SECRET)
    archive = write(tmp_path / "masks")
    (archive / name).unlink(missing_ok=True)
    (archive / name).symlink_to(tmp_path / "secret")
    all_refuse(archive, tmp_path, capsys, says=f"{name} leads out of the folder")


def test_a_link_out_of_a_zarr_is_not_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = write(tmp_path / "masks.zarr")
    (archive / "masks").rename(tmp_path / "elsewhere")
    (archive / "masks").symlink_to(tmp_path / "elsewhere")
    all_refuse(archive, tmp_path, capsys, says="leads out of the folder")


def test_an_archive_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(write(tmp_path / "masks"))
    with open_masks(tmp_path / "link") as masks:
        assert len(list(masks)) == COUNT


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
@pytest.mark.parametrize("name", ["masks/frame_000001.png", "masks/manifest.jsonl", "pipe.zip", "pipe.mkv"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    write(tmp_path / "masks")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    archive = tmp_path / (name.partition("/")[0])
    all_refuse(archive, tmp_path, capsys, says="not a regular file" if "/" in name else "a pipe, a device or a socket")


def test_a_link_in_a_zip_is_no_more_than_its_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret").write_text(SECRET)
    archive = changed(write(tmp_path / "masks.zip"))
    with zipfile.ZipFile(archive) as old:
        content = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(archive, "w") as new:
        for name, piece in content.items():
            info = zipfile.ZipInfo(name)
            if name == "frame_000001.png":
                info.external_attr, piece = 0o120777 << 16, str(tmp_path / "secret").encode()
            new.writestr(info, piece)
    all_refuse(archive, tmp_path, capsys, says="frame 1 (frame_000001.png) is damaged: it cannot be decoded")


# Bombs: each is read in a process that may have little more memory than it has when it begins.

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
        [sys.executable, "-c", LIMITED, str(archive)], capture_output=True, text=True, timeout=30, check=False
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


def replace_entry(archive: Path, replaced: str, content: bytes, *, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(archive) as old:
        entries = {name: old.read(name) for name in old.namelist()} | {replaced: content}
    with zipfile.ZipFile(archive, "w", compression) as new:
        for name, piece in entries.items():
            new.writestr(name, piece)


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
        [sys.executable, "-c", LIMITED, str(archive)], capture_output=True, text=True, timeout=30, check=False
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
        [sys.executable, "-c", LIMITED, str(archive)], capture_output=True, text=True, timeout=30, check=False
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


# Texts


@linux
@pytest.mark.parametrize("name", ["manifest.jsonl", "classes.json"])
def test_a_text_of_a_gigabyte_is_not_read(tmp_path: Path, name: str) -> None:
    archive = write(tmp_path / "masks")
    os.truncate(archive / name, 1 << 30)  # a file with a hole takes no room
    assert f"{name} has {1 << 30} bytes, more than the" in verified_in_little_memory(archive)


BAD_RECORDS: dict[str, dict[str, Any]] = {
    "a huge number": {"index": 10**40},
    "not a number": {"pts": float("nan")},
    "without end": {"pts": float("inf")},
    "a negative frame": {"index": -1},
    "a half frame": {"index": 1.5},
    "a truth": {"index": True},
    "a text for a number": {"width": "32"},
    "a mask of petabytes": {"width": 1 << 40, "height": 1 << 40},
    "a mask of gigabytes": {"width": 1 << 16, "height": 1 << 16},
    "a mask without pixels": {"width": 0},
    "a time base that takes years": {"time_base": "1e999999999"},
    "a time base of no time": {"time_base": "0/1"},
    "a time base that divides by nothing": {"time_base": "1/0"},
    "a time base of a list": {"time_base": [1, 25]},
    "a list for a name": {"file": ["frame_000000.png"]},
    "a long line": {"file": "x" * 100_000},
}


@pytest.mark.parametrize("bad", BAD_RECORDS)
@pytest.mark.parametrize("kind", ["masks", "masks.zip"])
def test_a_manifest_of_something_else_is_refused_by_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, bad: str
) -> None:
    archive = changed(write(tmp_path / kind), manifest=lambda text: change_records(text, **BAD_RECORDS[bad]))
    all_refuse(archive, tmp_path, capsys, says=f"{kind}: line 1 of its manifest.jsonl cannot be used")


@pytest.mark.parametrize(
    "text", ["[" * 3000 + "]" * 3000, '{"index": ' + "9" * 4000 + "}", "null", "[]", '"', "\0", ""]
)
def test_a_manifest_that_is_no_manifest_is_refused_by_its_line(tmp_path: Path, text: str) -> None:
    archive = changed(write(tmp_path / "masks"), manifest=lambda _: f"{text}\n")
    with pytest.raises(ArchiveError, match=r"masks: line 1 of its manifest\.jsonl cannot be used"):
        open_masks(archive)


BAD_HEADERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "thousands of classes": lambda header: header | {"classes": header["classes"][:1] * 5000},
    "no class": lambda header: header | {"classes": []},
    "a class without end": lambda header: header | {"classes": [{"name": "x" * 500_000, "color": [1, 2, 3]}]},
    "a class of control characters": lambda header: header | {"classes": [{"name": "\x1b[2J", "color": [1, 2, 3]}]},
    "a class that is a list": lambda header: header | {"classes": [{"name": ["car"], "color": [1, 2, 3]}]},
    "a colour of four": lambda header: header | {"classes": [{"name": "car", "color": [1, 2, 3, 4]}]},
    "a colour out of range": lambda header: header | {"classes": [{"name": "car", "color": [1, 2, 1 << 80]}]},
    "a width without end": lambda header: header | {"width": 1 << 80},
    "a source that is a list": lambda header: header | {"source": ["drive.mp4"]},
    "a list": lambda header: [header],
    "lists in lists": lambda _: eval("[" * 90 + "]" * 90),
    "a schema of text": lambda header: header | {"schema": "1"},
}


@pytest.mark.parametrize("bad", BAD_HEADERS)
def test_a_table_of_classes_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: str
) -> None:
    def broken(text: str) -> str:
        return json.dumps(BAD_HEADERS[bad](json.loads(text)))

    archive = changed(write(tmp_path / "masks"), header=broken)
    all_refuse(archive, tmp_path, capsys, says="masks: its classes.json cannot be used")


def test_arrays_that_would_run_code_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path}/harm",)

    pickled = io.BytesIO()
    np.save(pickled, np.array([Harm()], dtype=object), allow_pickle=True)
    archive = write(tmp_path / "masks.npz")
    for name in ("header.npy", "manifest.npy", "masks.npy"):
        replace_entry(archive, name, pickled.getvalue())
        all_refuse(archive, tmp_path, capsys, says="masks.npz: not a mask archive, or not a whole one")
    assert not (tmp_path / "harm").exists()


def test_codecs_that_a_zarr_names_are_not_loaded(tmp_path: Path) -> None:
    archive = write(tmp_path / "masks.zarr")
    content = json.loads((archive / "masks/zarr.json").read_text())
    content["codecs"] = [{"name": "pickle", "configuration": {"module": "os"}}]
    (archive / "masks/zarr.json").write_text(json.dumps(content))
    with open_masks(archive) as masks:
        assert len(list(masks)) == COUNT, "what packs the masks is known, whatever the archive says"


def mutated(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 3, 20])):
        at = chance.randrange(len(changed) or 1)
        piece = chance.choice([b"\xff" * 4, bytes(8), b"\x7f" * 2, b'"', b"[", changed[: chance.randrange(30)]])
        changed[at : at + chance.choice([0, 1, len(piece)])] = piece
    return bytes(changed)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_changed_in_an_archive_is_told_in_one_line(tmp_path: Path, kind: str) -> None:
    chance = random.Random(kind)
    archive = write(tmp_path / kind)
    files = [path for path in [archive, *sorted(archive.rglob("*"))] if path.is_file()]
    told: list[str] = []
    for _ in range(150):
        path = chance.choice(files)
        content = path.read_bytes()
        path.write_bytes(mutated(content, chance))
        try:
            with open_masks(archive) as masks:
                told += archive_problems(masks)
        except ArchiveError as refused:
            told.append(str(refused))
        path.write_bytes(content)
    assert told
    assert not any("\n" in line for line in told)


# Names

NAMES = [
    "-rf.mp4",
    "a\nb.mp4",
    "<b>&amp;.mp4",
    "[bold]x.mp4",
    "\u202eevil.mp4",
    "\x1b[31mred\x1b]0;title\x07.mp4",
    os.fsdecode(b"no\xfftext.mp4"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx")


def test_no_name_reaches_the_terminal_raw_or_leaves_the_results(tmp_path: Path, model: Path) -> None:
    """In tables, lines, archives and pages."""
    make_clip(tmp_path / "clip.mp4", cfr(2))
    (tmp_path / "in").mkdir()
    for name in NAMES:
        (tmp_path / "in" / name).write_bytes((tmp_path / "clip.mp4").read_bytes())
    settings = ["--model", str(model), "--device", "cpu", "--preset", "ultrafast", "--progress", "none"]
    _, told = ran_in(tmp_path, "run", "in", "-o", "out/", *settings)
    for name in NAMES[-2:]:
        masks = f"out/{Path(name).stem}_masks"
        told += b"".join(ran_in(tmp_path, "info", masks) + ran_in(tmp_path, "verify", masks, f"in/{name}"))
    told += b"".join(ran_in(tmp_path, "report", "out", "-o", "out/report.html"))
    for raw in (b"\x1b", b"\x07", "\u202e".encode(), b"a\nb"):
        assert raw not in told
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out", "clip.mp4"}
    assert "<b>&amp;" not in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def ran_in(folder: Path, *arguments: str) -> tuple[bytes, bytes]:
    """What a command that ends well writes, for programs and for people."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent / ".package")}
    done = subprocess.run(
        [sys.executable, "-m", "roadmask", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_a_name_of_dots_leaves_the_folder_of_results_as_little(tmp_path: Path, model: Path) -> None:
    for name in ("..mp4", "...mp4"):
        make_clip(tmp_path / "clip.mp4", cfr(2)).rename(tmp_path / name)
        ran_in(tmp_path, "run", name, "-o", "out/", "--model", str(model), "--progress", "none")
    assert {path.name for path in tmp_path.iterdir()} == {"..mp4", "...mp4", "out"}
    assert {"..mp4_overlay.mp4", "...mp4_overlay.mp4"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_what_a_terminal_obeys_is_written_out() -> None:
    assert printable("a\x1b[31m\n\x9b\u2028\u202e\udcff é 日 \t") == r"a\x1b[31m\n\x9b\u2028\u202e\udcff é 日 \t"


def test_classes_named_like_paths_make_no_files_and_no_markup(tmp_path: Path) -> None:
    names = ["../../evil", "/etc/evil", "<script>evil()</script>"]

    def renamed(text: str) -> str:
        header = json.loads(text)
        for item, name in zip(header["classes"], names, strict=True):
            item["name"] = name
        return json.dumps(header)

    archive = changed(write(tmp_path / "masks"), header=renamed)
    (tmp_path / "target").mkdir()
    before = everything(tmp_path, but=tmp_path / "target")
    tools = ["cvat", "camvid", "label-studio", "fiftyone", "color", "coco"]
    for tool in tools:
        if tool == "coco":
            pytest.importorskip("pycocotools")
        assert main(["convert", str(archive), "--to", tool, "-o", f"{tmp_path}/target/{tool}", "--quiet"]) in (0, 1)
    assert main(["report", str(archive), "-o", f"{tmp_path}/target/report.html"]) == 0
    assert everything(tmp_path, but=tmp_path / "target") == before
    assert not any("evil" in path.name for path in (tmp_path / "target").rglob("*"))
    assert "<script>evil" not in (tmp_path / "target/report.html").read_text()
    assert "<script>" not in (tmp_path / "target/label-studio/label_config.xml").read_text()
