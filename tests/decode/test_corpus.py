"""Every file of the corpus ends as its table says, and gives no frame fewer than the `ffmpeg` command line gets."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import av
import cv2
import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.archive.verify import VideoCheck, archive_problems
from roadmask.stream.cli import main
from tests.support.corpus import CASES, Case

CODES = {"done": 0, "partial": 3, "failed": 1}


def test_there_are_a_hundred_and_more() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 100


@pytest.mark.timeout(30)  # no file takes longer, whatever it is, on a busy machine
@pytest.mark.filterwarnings("ignore::UserWarning")  # of encoders, while a file is made
@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_ends_as_the_table_says(
    case: Case, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    case.make(Path(case.name))
    capfd.readouterr()
    code = main(["run", f"./{case.name}", "-o", f"{tmp_path}/out/", "--model", str(model)])
    told = capfd.readouterr().err
    assert "Traceback" not in told
    assert (code, case.says in told) == (CODES[case.state], True), told
    if case.state == "failed":
        assert not [path for path in tmp_path.glob("out/*") if "partial" not in path.name and path.suffix != ".json"]
        return
    (written,) = tmp_path.glob("out/*_run.json")
    (entry,) = json.loads(written.read_text(encoding="utf-8"))["sources"]
    assert (entry["state"], entry["frames"]) == (case.state, case.frames)
    if still := [*tmp_path.glob("out/*_mask.png")]:
        (overlay,) = tmp_path.glob("out/*_overlay.*")
        assert [cv2.imread(str(path)).shape[:2] for path in (*still, overlay)] == [case.size] * 2
        return
    check_masks(case, next(path for path in tmp_path.glob("out/*_masks")))
    (overlay,) = tmp_path.glob("out/*_overlay.mp4")
    assert_plays(overlay, case)


def check_masks(case: Case, path: Path) -> None:
    """One mask for each frame, of the frame's upright size and at its time."""
    with open_masks(path) as masks:
        assert len(masks) == case.frames
        assert masks[0].shape == case.size
        assert not list(archive_problems(masks))
        check = VideoCheck(masks, Path(case.name), any_name=True)
        assert (check.frames, list(check.problems())) == (case.frames, [])


def assert_plays(overlay: Path, case: Case) -> None:
    """In browsers and on phones: H.264, 4:2:0, 8 bit (full range is tagged), even sides, each frame later."""
    with av.open(overlay) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.pix_fmt in ("yuv420p", "yuvj420p")
        assert (stream.height, stream.width) == tuple(side + side % 2 for side in case.size)
        times = [frame.pts for frame in container.decode(stream)]
    assert len(times) == case.frames
    assert times == sorted(set(times))  # type: ignore[type-var]


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs the ffmpeg command line")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", [case for case in CASES if not case.beyond_ffmpeg and case.state != "failed"], ids=str)
def test_the_ffmpeg_command_line_gets_no_more_frames(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.name
    case.make(path)
    command = ["ffmpeg", "-v", "error", "-i", f"file:{path}", "-map", "0:v:0", "-fps_mode", "passthrough"]
    told = subprocess.run([*command, "-f", "framecrc", "-"], capture_output=True, text=True, check=False).stdout
    assert sum(not line.startswith("#") for line in told.splitlines()) <= case.frames
