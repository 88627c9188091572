"""Folders as cameras, earlier runs and accidents leave them: which of their files are videos to be done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import pytest

from roadmask.stream.batch.footage import is_result
from roadmask.stream.batch.video_files import find_sources
from roadmask.stream.cli import main
from roadmask.stream.encode.carried import COMMENT
from roadmask.stream.errors import SourceError
from tests.support.awkward_files import video
from tests.support.clips import cfr, make_clip
from tests.support.own_process import LIMIT_S, eager, python, started
from tests.support.run_command import run

FRAMES = 12


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "drive.mp4", cfr(FRAMES), size=(48, 64))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


def found(folder: Path) -> set[str]:
    return {item.path.relative_to(folder).as_posix() for item in find_sources([str(folder)])}


# Container, as FFmpeg calls it, and codec, of each suffix that a camera or a recorder writes.
MADE = {
    **dict.fromkeys(("264", "h264"), ("h264", "libx264")),
    **dict.fromkeys(("265", "hevc"), ("hevc", "libx265")),
    **dict.fromkeys(("asf", "wmv"), ("asf", "wmv2")),
    **dict.fromkeys(("vob", "mpg", "mod"), ("vob", "mpeg2video")),
    **dict.fromkeys(("m2t", "m2ts", "mts", "trp"), ("mpegts", "libx264")),
    **dict.fromkeys(("MP4", "insv", "360", "lrv", "dav", "f4v", "m4v", "qt"), ("mp4", "libx264")),
    "mxf": ("mxf", "mpeg2video"),
    "3g2": ("3gp", "libx264"),
    "flv": ("flv", "libx264"),
    "rm": ("rm", "rv10"),
    "nut": ("nut", "ffv1"),
    "ivf": ("ivf", "libvpx"),
    "y4m": ("yuv4mpegpipe", "wrapped_avframe"),
    "ogv": ("ogg", "libvpx"),
    "m2v": ("mpeg2video", "mpeg2video"),
    "divx": ("avi", "mpeg4"),
}


@pytest.mark.parametrize("suffix", MADE)
def test_what_ffmpeg_reads_as_video_is_a_video_of_its_folder(suffix: str, folder: Path) -> None:
    kind, codec = MADE[suffix]
    video(codec, kind=kind, size=(96, 128), frames=10)(folder / f"seen.{suffix}")
    with av.open(folder / f"seen.{suffix}") as container:
        assert container.streams.video
    assert found(folder) == {f"seen.{suffix}"}


@pytest.mark.parametrize(
    ("names", "done"),
    [
        (["GX010001.MP4", "GL010001.LRV", "GH010002.MP4", "GL010002.LRV"], ["GX010001.MP4", "GH010002.MP4"]),
        (["GOPR0001.MP4", "GOPR0001.LRV", "GOPR0001.THM"], ["GOPR0001.MP4"]),
        (["DJI_0001.MOV", "DJI_0001.LRF"], ["DJI_0001.MOV"]),
        (
            ["VID_20260101_120000_00_001.insv", "VID_20260101_120000_10_001.insv", "LRV_20260101_120000_11_001.insv"],
            ["VID_20260101_120000_00_001.insv", "VID_20260101_120000_10_001.insv"],
        ),
        (["GL010001.LRV", "LRV_20260101_120000_11_001.insv", "a.lrv", "b.mp4"],) * 2,
        (["GX010001.MP4", "low/GL010001.LRV"],) * 2,
        (["GX010001.MP4", "GL010002.LRV"],) * 2,
    ],
)
def test_a_low_resolution_twin_is_a_source_only_where_its_large_one_is_not(
    names: list[str], done: list[str], folder: Path
) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert found(folder) == set(done)


@pytest.mark.parametrize("name", ["seen.mp4", "seen.mov", "seen.mkv"])
def test_an_overlay_says_what_it_is_and_is_no_source_unless_it_is_named(
    name: str, clip: Path, folder: Path, model: Path, tmp_path: Path
) -> None:
    shutil.copy(clip, folder / "drive.mp4")
    assert run(clip, "-o", folder / name, "--masks", folder / "masks.mkv", model=model) == 0
    with av.open(folder / name) as container:
        assert COMMENT in container.metadata.values()
    assert is_result(folder / name)
    assert not is_result(clip)
    assert found(folder) == {"drive.mp4"}
    assert [item.name for item in find_sources([f"{folder}/*"])] == ["drive.mp4"]
    assert [item.name for item in find_sources([str(folder / name)])] == [name]
    assert run(folder / name, "-o", tmp_path / "twice.mp4", model=model) == 0


def test_a_file_that_is_named_and_would_be_written_for_another_is_refused_before_either_is_touched(
    clip: Path, folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (Path(shutil.copy(clip, folder / name)) for name in ("drive.mp4", "drive_overlay.mp4"))
    before = second.read_bytes()
    assert run(first, second, "-o", f"{folder}/", "--overwrite", model=model) == 1
    told = "roadmask: drive_overlay.mp4 is to be segmented, and drive.mp4 would write it; run them apart\n"
    assert capsys.readouterr().err == told
    assert {path.name for path in folder.iterdir()} == {"drive.mp4", "drive_overlay.mp4"}
    assert second.read_bytes() == before


def test_a_preview_s_video_says_so_too(clip: Path, folder: Path, model: Path) -> None:
    assert run(clip, "--masks", folder / "masks.zip", model=model) == 0
    assert main(["preview", str(folder / "masks.zip"), str(clip), "-o", str(folder / "look.mp4")]) == 0
    assert is_result(folder / "look.mp4")


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_an_overlay_that_was_gone_on_with_says_so_too(folder: Path, model: Path, tmp_path: Path) -> None:
    long_clip = make_clip(tmp_path / "long.mp4", cfr(500), size=(32, 32))
    out = folder / "seen.mp4"
    command = eager("run", long_clip, "-o", out, "--model", model, "--quiet")
    process = started(command, (folder / ".seen.mp4.progress/state.npz").exists)
    process.kill()
    process.communicate(timeout=LIMIT_S)
    assert run(long_clip, "-o", out, "--resume", model=model) == 0
    assert is_result(out)


def test_what_is_passed_over_is_told_in_one_line(
    clip: Path, folder: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("GX010001.MP4", "GL010001.LRV", "notes.txt", "gps.txt", "README", ".hidden.mp4", "a.partial.mp4", "x.THM")
    for name in names:
        shutil.copy(clip, folder / name)
    assert run(clip, "-o", folder / "seen.mp4", model=model) == 0
    capsys.readouterr()
    assert run(folder, "-o", f"{tmp_path}/out/", "--max-frames", 2, model=model) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "passed over" in line]
    assert line.startswith("roadmask: 7 passed over (2 .txt, ")
    assert (tmp_path / "out/GX010001_overlay.mp4").exists()
    for kind in ("1 in low resolution, too", "1 made by roadmask", "1 unfinished", "1 .thm", "1 without a suffix"):
        assert kind in line


def test_a_card_s_own_folders_and_a_mac_s_hidden_twins_are_no_sources(clip: Path, folder: Path) -> None:
    names = ("DCIM/RO/REC_0001F.MP4", "DCIM/rec_0001r.mp4", "DCIM/._REC_0001F.MP4", ".Trashes/old.mp4")
    for name in (*names, "$RECYCLE.BIN/$R1.mp4", "System Volume Information/x.mp4", "@eaDir/x.mp4", "#recycle/x.mp4"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, folder / name)
    assert found(folder) == {"DCIM/RO/REC_0001F.MP4", "DCIM/rec_0001r.mp4"}
    assert [item.name for item in find_sources([f"{folder}/$RECYCLE.BIN"])] == ["$R1.mp4"], "named itself"


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")
@pytest.mark.logs_errors
def test_a_bad_entry_of_a_folder_costs_itself_only(
    clip: Path, folder: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(clip, folder / "good.mp4")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "dangling.mp4").symlink_to("gone.mp4")
    (folder / "again").symlink_to(folder)
    os.mkfifo(folder / "pipe.mp4")
    (folder / "device.mp4").symlink_to("/dev/zero")
    (folder / "folder.mp4").mkdir()
    assert run(folder, "-o", f"{tmp_path}/out/", model=model) == 3
    talk = capsys.readouterr().err
    assert "5 files: 1 done, 4 failed" in talk
    assert "loop.mp4: cannot be read (Too many levels of symbolic links)" in talk
    assert "Traceback" not in talk
    assert (tmp_path / "out/good_overlay.mp4").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="users of POSIX")
def test_a_folder_that_may_not_be_looked_into_is_told_and_costs_itself_only(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "closed").mkdir()
    (folder / "good.mp4").touch()
    scan = os.scandir

    def refused(path: str) -> object:  # as to anybody but root
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert found(folder) == {"good.mp4"}
    assert caplog.messages == [f"{folder}/closed: cannot be looked into (Permission denied); what is in it is left out"]


@pytest.mark.skipif(sys.platform == "win32", reason="names are measured in bytes")
@pytest.mark.parametrize("length", [200, 235, 243])
def test_a_long_name_has_its_results_and_is_gone_on_with(
    length: int, clip: Path, folder: Path, model: Path, tmp_path: Path
) -> None:
    source = folder / f"{'ä' * (length // 2)}{'x' * (length % 2)}.mp4"
    shutil.copy(clip, source)
    for options in ([], ["--resume"]):
        assert run(source, "-o", f"{tmp_path}/out/", *options, model=model) == 0
    assert run(folder, "-o", f"{tmp_path}/all/", model=model) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        source.stem + end for end in ("_overlay.mp4", "_masks", "_stats.csv", "_run.json")
    }


def test_a_name_too_long_for_its_results_is_one_line_before_work_starts(
    clip: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(clip, folder / f"{'x' * 251}.mp4")
    for word in (folder / f"{'x' * 251}.mp4", tmp_path / f"{'y' * 252}.mp4", f"@{'z' * 300}"):
        assert main(["run", str(word), "-o", f"{tmp_path}/out/", "--model", "none.onnx"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("roadmask: ")
        assert "bytes, and may have at most 255" in line or "too long" in line
    assert main(["run", f"rtsp://127.0.0.1:1/{'x' * 200}", "-o", f"{tmp_path}/out/", "--max-retries", "0"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "bytes, and may have at most 215" in line, "a part of a recording has its time in its name"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a.mp4\n" * (6 << 20), "it is longer than 32 MiB"),
        (b"\x00\x00\x00\x20ftypisom", "it is no text"),
        (b"x" * 300 + b"\n", None),
    ],
)
def test_a_list_is_bounded(content: bytes, told: str | None, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    if told is None:
        assert len(find_sources([f"@{path}"])) == 1, "one that is missing, as others are"
        return
    with pytest.raises(SourceError, match=told):
        find_sources([f"@{path}"])


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of memory, and a device without end")
def test_a_list_without_end_is_not_read_to_its_end() -> None:
    """In a process that may take 256 MB more than it has: else, where it fails, it would take the machine's."""
    script = """
        import resource
        from pathlib import Path
        from roadmask.stream.batch.video_files import find_sources
        from roadmask.stream.errors import SourceError

        has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (has + (256 << 20),) * 2)
        try:
            find_sources(["@/dev/zero"])
        except SourceError as exc:
            print(exc)
    """
    done = subprocess.run(python(script), capture_output=True, text=True, check=True, timeout=LIMIT_S)
    assert done.stdout == "/dev/zero: not a list of videos: it is no text; a video is named without @\n"
