"""`roadmask run --ignore`: what is left out is of no class in every output, for files and cameras, resumed or not."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.cli import main
from roadmask.stream.masks.ignore import parse_ignored
from roadmask.stream.network.model import Model
from roadmask.stream.run import stages
from roadmask.stream.run.segment import process_video, segment_video
from roadmask.stream.run.settings import SegmentSettings
from tests.support.clips import cfr, make_clip
from tests.support.color_model import halves
from tests.support.file_content import pictures_of
from tests.support.run_command import run

GRAY = np.full((96, 128, 3), 150, np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "drive.mp4", cfr(12), size=(96, 128), picture=halves())


def write_mask(path: Path, height: int = 96, width: int = 128, *, share: float = 0.25) -> Path:
    """White at the bottom."""
    mask = np.zeros((height, width), np.uint8)
    mask[round(height * (1 - share)) :] = 255
    cv2.imwrite(str(path), mask)
    return path


def rgb_of(path: Path) -> NDArray[np.int16]:
    """The first picture."""
    with av.open(path) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24").astype(np.int16)


@pytest.mark.parametrize("kind", ["masks", "masks.zip", "masks.mkv"])
def test_masks_of_every_kind_have_255_there_and_are_whole(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    assert run(clip, "--masks", tmp_path / kind, "--ignore", "bottom:25%", "--ignore", "left:8px", model=model) == 0
    with open_masks(tmp_path / kind) as masks:
        assert len(masks) == 12
        for mask in masks:
            left_out = mask == 255
            assert left_out[72:].all()
            assert left_out[:, :8].all()
            assert not left_out[:72, 8:].any()
        assert masks.header.ignored == "bottom:25%, left:8px"
    for target in ("other.npz", "other.zarr", "other.mkv"):
        assert main(["convert", str(tmp_path / kind), "-o", str(tmp_path / target)]) == 0
        assert main(["verify", str(tmp_path / target), str(clip)]) == 0
    assert main(["info", str(tmp_path / kind)]) == 0
    assert "bottom:25%, left:8px" in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["--legend"], ["--exclude", "Car"]])
def test_the_overlay_shows_the_picture_itself_there(model: Path, tmp_path: Path, more: list[str]) -> None:
    clip = make_clip(tmp_path / "gray.mp4", cfr(2), size=(96, 128), picture=GRAY)
    mask, overlay = write_mask(tmp_path / "mask.png"), tmp_path / "seen.mp4"
    assert run(clip, "-o", overlay, "--ignore", mask, "--alpha", 1, "--crf", 0, *more, model=model) == 0
    apart = np.abs(rgb_of(overlay) - rgb_of(clip)).max(axis=2)
    assert apart[72:].max() == 0
    assert apart[50:72].min() > 30


def test_statistics_and_report_are_of_the_rest(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Road is on the left, sky on the right."""
    assert run(clip, "-o", f"{tmp_path}/", "--ignore", "right:75%", model=model) == 0
    with (tmp_path / "drive_stats.csv").open(newline="", encoding="utf-8") as file:
        assert {(row["Road"], row["Sky"], row["Car"]) for row in csv.DictReader(file)} == {
            ("1.000000", "0.000000", "0.000000")
        }
    words = [tmp_path / "drive_masks", "--stats", tmp_path / "drive_stats.csv", "--video", clip]
    assert main(["report", *map(str, words), "-o", str(tmp_path / "report.html")]) == 0
    assert "files whole" in capsys.readouterr().err
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<b>right:75%</b> shares are of the rest" in page
    assert "100.0 %" in page


def test_the_run_says_how_much_is_left_out(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(clip, "--stats", tmp_path / "shares.csv", "--ignore", "bottom:25%", model=model) == 0
    assert "25.0% left out" in capsys.readouterr().err


def test_places_are_those_of_the_picture_upright(model: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "turned.mp4", cfr(1), size=(96, 128), picture=halves(), rotation=90)
    mask = write_mask(tmp_path / "mask.png", 256, 192)
    for word in ("bottom:25%", str(mask)):
        (result,) = segment_video(clip, model=model, ignore=parse_ignored(word))
        assert result.mask.shape == (128, 96)
        assert ((result.mask == 255).all(axis=1)).tolist() == [False] * 96 + [True] * 32


def test_a_mask_is_as_wide_as_the_picture_is_shown_or_as_it_has_pixels(model: Path, tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "wide.mp4", cfr(1), size=(96, 128), picture=halves(), sample_aspect_ratio=Fraction(3, 2)
    )
    for width in (128, 192):
        mask = write_mask(tmp_path / "mask.png", 96, width)
        (result,) = segment_video(clip, model=model, ignore=parse_ignored(str(mask)))
        assert ((result.mask == 255).all(axis=1)).tolist() == [False] * 72 + [True] * 24


@pytest.mark.parametrize("frames", [1, 7, 12])
def test_a_resumed_run_makes_the_same_bytes(
    clip: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    monkeypatch.setattr(stages, "EVERY_S", 0.0)
    loaded = Model.load(model, device="cpu")

    def job(folder: Path, **changes: bool) -> SegmentSettings:
        outputs = {"overlay": folder / "seen.mp4", "masks": folder / "masks.mkv", "stats": folder / "shares.csv"}
        return SegmentSettings(clip, **outputs, ignore=parse_ignored("bottom:25%"), **changes)  # type: ignore[arg-type]

    def kill(done: int) -> None:
        if done == frames:
            raise KeyboardInterrupt

    process_video(job(tmp_path / "whole"), loaded)
    with pytest.raises(KeyboardInterrupt):
        process_video(job(tmp_path / "killed"), loaded, on_frame=kill)
    report = process_video(job(tmp_path / "killed", resume=True), loaded)
    assert (report.frames, report.resumed) == (12, frames)
    assert pictures_of(tmp_path / "killed/seen.mp4") == pictures_of(tmp_path / "whole/seen.mp4")
    for name in ("masks.mkv", "shares.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_mask_of_other_pixels_makes_another_run_and_one_of_another_name_does_not(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = write_mask(tmp_path / "mask.png")
    words = [clip, "--masks", tmp_path / "masks.zip"]
    assert run(*words, "--ignore", mask, model=model) == 0
    made = (tmp_path / "masks.zip").read_bytes()
    assert run(*words, "--ignore", mask.rename(tmp_path / "renamed.png"), "--resume", model=model) == 0
    assert "done before" in capsys.readouterr().err
    write_mask(mask, share=0.5)
    assert run(*words, "--ignore", mask, "--resume", model=model) == 1
    assert "made before, but --ignore was mask 128x96 " in capsys.readouterr().err
    assert (tmp_path / "masks.zip").read_bytes() == made


def test_a_parked_camera_s_masks_are_reused_though_its_time_stamp_counts(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "parked.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, width=128, height=96, options={"crf": "10"})
        stream.pix_fmt = "yuv420p"
        for number in range(10):
            picture = halves()
            cv2.rectangle(picture, (8 * number, 4), (8 * number + 20, 14), (255, 255, 255), -1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    for ignored, reused in ((None, 0), (parse_ignored("top:20%"), 9)):
        results = list(segment_video(path, model=model, reuse=True, ignore=ignored))
        assert sum(result.frame.unchanged for result in results) == reused


@pytest.mark.logs_errors
def test_each_of_several_videos_has_its_own_and_one_that_does_not_fit_fails_alone(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for name, size in (("a_front", (96, 128)), ("a_rear", (96, 128)), ("b_front", (64, 64))):
        make_clip(clips / f"{name}.mp4", cfr(2), size=size)
    mask = write_mask(tmp_path / "mask.png")
    words = ["--ignore", f"*_front.mp4={mask}", "--ignore", "*_rear.mp4=top:50%"]
    assert run(clips, "-o", f"{tmp_path}/out/", *words, model=model) == 3
    assert "b_front.mp4: its pictures are 64x64, and the mask mask.png is 128x96" in capsys.readouterr().err
    for name, left_out in (("a_front", slice(72, 96)), ("a_rear", slice(0, 48))):
        with open_masks(tmp_path / f"out/{name}_masks") as masks:
            rows = (masks[0] == 255).all(axis=1)
        assert np.flatnonzero(rows).tolist() == list(range(96))[left_out]
    assert not (tmp_path / "out/b_front_masks").exists()
    facts = json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))
    told = {Path(item["source"]).name: item.get("identity", {}).get("--ignore") for item in facts["sources"]}
    assert told["a_rear.mp4"] == "top:50%"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["bottom:120%"], 2, "120% is no part of a picture"),
        (["rear=bottom:12%"], 2, "no source is called so; there are drive.mp4"),
        (["gone.png"], 1, "gone.png: no such file"),
        (["top:60%,bottom:60%"], 1, "leaves nothing of its pictures, 128x96"),
        (["top:5%", "--save-ignore"], 2, "--save-ignore is for streams, webcams and pipes"),
    ],
)
def test_what_cannot_be_left_out_is_said_in_a_line_before_anything_is_made(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, told: str
) -> None:
    assert run(clip, "--masks", tmp_path / "out/masks", "--ignore", *words, model=model) == code
    assert told in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not list(tmp_path.glob("out/*"))


@contextmanager
def standing_in_for(descriptor: int, other: int) -> Iterator[None]:
    kept = os.dup(descriptor)
    os.dup2(other, descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


def test_what_is_saved_with_a_camera_s_name_holds_until_it_is_told_otherwise(
    clip: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = write_mask(tmp_path / "mask.png")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def rows_left_out(name: str, *words: object) -> tuple[int, str]:
        """Of the camera's picture, which comes through standard input; and what is said."""
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}.zip"
        with clip.open("rb") as video, standing_in_for(0, video.fileno()):
            assert run(f"{name}=-", "--masks", out, *words, model=model) == 0
        with open_masks(out) as masks:
            return int((masks[0] == 255).all(axis=1).sum()), capsys.readouterr().err

    assert rows_left_out("front", "--ignore", mask, "--save-ignore")[0] == 24
    mask.unlink()
    rows, told = rows_left_out("front")
    assert rows == 24
    assert "front: leaves out mask 128x96 " in told
    assert str(tmp_path / "config/roadmask/cameras.json") in told
    assert rows_left_out("rear")[0] == 0
    assert rows_left_out("front", "--ignore", "none")[0] == 0


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "5",
        '{"front": 5}',
        '{"front": {"ignore": 5}}',
        '{"front": {"ignore": [5]}}',
        '{"front": {"ignore": ["nonsense"]}}',
        '{"front": {"ignore": [{"mask": "a.png"}]}}',
        '{"front": {"ignore": [{"mask": "a.png", "png": "?"}]}}',
        '{"front": {"ignore": [{"mask": "a.png", "png": "aaaa"}]}}',
    ],
)
def test_what_was_saved_and_is_damaged_is_one_line_that_names_the_file(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "roadmask" / "cameras.json"
    path.parent.mkdir()
    path.write_text(content)
    assert main(["run", "front=rtsp://127.0.0.1:1/", "--masks", str(tmp_path / "m.zip"), "--max-retries", "0"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"roadmask: {path}: cannot be used (")
    assert line.endswith("); move it away")


def test_masks_made_without_are_left_out_afterwards(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(clip, "--masks", tmp_path / "all.zip", model=model) == 0
    assert run(clip, "--masks", tmp_path / "run.zip", "--ignore", "bottom:25%", model=model) == 0
    for name in ("less.zip", "less.npz"):
        words = [tmp_path / "all.zip", "-o", tmp_path / name, "--ignore", "bottom:25%"]
        assert main(["convert", *map(str, words)]) == 0
        assert main(["verify", str(tmp_path / name), str(clip)]) == 0
    assert (tmp_path / "less.zip").read_bytes() == (tmp_path / "run.zip").read_bytes()
    for masks, words in (("all.zip", ["--ignore", "bottom:25%"]), ("run.zip", [])):
        assert main(["preview", str(tmp_path / masks), str(clip), "-o", str(tmp_path / f"{masks}.mp4"), *words]) == 0
    assert pictures_of(tmp_path / "all.zip.mp4") == pictures_of(tmp_path / "run.zip.mp4")
    words = [tmp_path / "all.zip", "-o", tmp_path / "x.zip", "--ignore", write_mask(tmp_path / "mask.png", 96, 96)]
    assert main(["convert", *map(str, words)]) == 1
    assert "all.zip: its pictures are 128x96, and the mask mask.png is 96x96" in capsys.readouterr().err


@pytest.mark.parametrize("tool", ["cvat", "camvid", "coco", "label-studio", "fiftyone", "color"])
def test_a_tool_gets_no_label_there_whether_it_was_left_out_by_the_run_or_afterwards(
    made: Path, tmp_path: Path, tool: str
) -> None:
    folders = []
    for name, words in (("run", []), ("all", ["--ignore", "right:50%"])):
        folder = tmp_path / name / "out"
        folder.parent.mkdir()
        archive = made / name / "masks.zip"
        assert main(["convert", str(archive), "--to", tool, "-o", str(folder), *words]) == 0
        folders.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert folders[0] == folders[1]
    if tool == "coco":
        content = json.loads(folders[0][Path("annotations/instances_default.json")])
        assert {(item["category_id"], item["area"]) for item in content["annotations"]} == {(1, 96 * 64)}
    if tool == "cvat":
        picture = folders[0][Path("SegmentationClass/frame_000000.png")]
        labels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
        assert (np.unique(labels[:, :64]), np.unique(labels[:, 64:])) == ([1], [0])


@pytest.fixture(scope="module")
def made(clip: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    assert run(clip, "--masks", folder / "all/masks.zip", model=model) == 0
    assert run(clip, "--masks", folder / "run/masks.zip", "--ignore", "right:50%", model=model) == 0
    return folder
