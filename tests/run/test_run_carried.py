"""What a drive carries, in a whole run: by the command, gone on with, in stretches; and where it was, in its tables."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import av
import pyarrow.parquet as pq
import pytest

from roadmask.stream.cli import main
from roadmask.stream.network.model import Model
from roadmask.stream.run import stages
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import SegmentSettings
from roadmask.stream.stats.stats import PLACE_COLUMNS
from tests.cluster.test_stretches import joined
from tests.run.test_resume import resumed, run_until
from tests.support.clips import cfr, make_clip, sound_times_of
from tests.support.color_model import write_color_model
from tests.support.drives import RATE, TAGS, Timed, chapters_of, gps5, make_drive, tags_of, track_of
from tests.support.file_content import pictures_of
from tests.support.short_pieces import PIECE, shorten_pieces

CHAPTERS = [Timed(0, 2, "Home"), Timed(2, 30, "Road")]


@pytest.fixture(scope="module", autouse=True)
def short_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        shorten_pieces(patch)
        yield


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx")


@pytest.fixture(scope="module")
def model(model_path: Path) -> Model:
    return Model.load(model_path, device="cpu")


def make_long(path: Path, frames: int) -> Path:
    """With a GPS track as text, and GoPro's data in an MP4."""
    seconds = frames / RATE
    texts = [Timed(n, 1, f"N:51.{n:02d}0000 W:0.120000 {40 + n} km/h") for n in range(int(seconds))]
    if path.suffix == ".mkv":
        return make_drive(path, seconds=seconds, texts=texts, codec="subrip", chapters=CHAPTERS)
    gpmd = [Timed(n, 1, gps5((51 + n / 100, -0.12, 10), fix=0)) for n in range(int(seconds))]
    return make_drive(path, seconds=seconds, texts=texts, gpmd=gpmd, chapters=CHAPTERS)


def job(clip: Path, folder: Path, suffix: str, table: str, **changes: object) -> SegmentSettings:
    folder.mkdir(exist_ok=True)
    return SegmentSettings(clip, overlay=folder / f"seen{suffix}", stats=folder / table, **changes)  # type: ignore[arg-type]


def all_of(settings: SegmentSettings) -> dict[str, object]:
    assert settings.overlay
    assert settings.stats
    kinds = ["subtitle", "data"] if settings.overlay.suffix == ".mp4" else ["subtitle"]
    return {
        "pictures": pictures_of(settings.overlay),
        "tags": tags_of(settings.overlay),
        "chapters": chapters_of(settings.overlay),
        "table": settings.stats.read_bytes(),
        **{kind: track_of(settings.overlay, kind) for kind in kinds},
    }


@pytest.mark.parametrize(
    ("name", "suffix", "table"), [("drive.mp4", ".mp4", "t.csv"), ("drive.mkv", ".mkv", "t.parquet")]
)
def test_a_run_that_was_killed_goes_on_to_the_same_tracks_and_tables(
    name: str, suffix: str, table: str, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_long(tmp_path / name, PIECE + 40)
    monkeypatch.setattr(stages, "EVERY_S", 0.0)
    whole, parts = (job(clip, tmp_path / folder, suffix, table) for folder in ("whole", "parts"))
    process_video(whole, model)
    run_until(parts, model, PIECE + 9)
    resumed(parts, model)
    assert all_of(parts) == all_of(whole)
    assert len(all_of(whole)["subtitle"]) == (PIECE + 40) // RATE  # type: ignore[arg-type]


def test_a_drive_made_in_stretches_carries_the_same(model: Model, tmp_path: Path) -> None:
    clip = make_long(tmp_path / "drive.mp4", 2 * PIECE + 20)
    one, many = (job(clip, tmp_path / folder, ".mp4", "t.csv", keep_times=True) for folder in ("one", "many"))
    process_video(one, model)
    joined(many, model)
    assert all_of(many) == all_of(one)
    for path in (*one.outputs, *many.outputs):
        assert path.stat().st_mtime_ns == clip.stat().st_mtime_ns


def run(model_path: Path, *arguments: object) -> int:
    return main([str(word) for word in ("run", *arguments, "--model", model_path)])


def test_the_tables_of_a_run_tell_where_each_frame_was(model_path: Path, tmp_path: Path) -> None:
    texts = [Timed(0, 1, "N:51.500000 W:0.120000 40 km/h"), Timed(1, 1, "N:51.501000 W:0.120000 50 km/h")]
    clip = make_drive(tmp_path / "drive.mp4", texts=texts, seconds=4)
    assert run(model_path, clip, "--stats", tmp_path / "t.csv", "--stride", 25) == 0
    assert run(model_path, clip, "--stats", tmp_path / "t.parquet", "--start", 1, "--stride", 25) == 0
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "time", "Road", "Sky", "Car", *PLACE_COLUMNS]
    assert [tuple(row[name] for name in PLACE_COLUMNS) for row in rows] == [
        ("51.500000", "-0.120000", "40.000000"),
        ("51.501000", "-0.120000", "50.000000"),
        ("51.501000", "-0.120000", "50.000000"),
        ("", "", ""),
    ]
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.column_names == list(rows[0])
    assert table["index"].to_pylist() == [25, 50, 75]
    assert table["latitude"].to_pylist() == [51.501, 51.501, None]


def test_a_table_of_a_drive_without_a_track_has_the_columns_that_it_always_had(
    model_path: Path, tmp_path: Path
) -> None:
    clip = make_drive(tmp_path / "drive.mp4", texts=[Timed(0, 1, "Hello")], seconds=1)
    assert run(model_path, clip, "--stats", tmp_path / "t.csv") == 0
    assert (tmp_path / "t.csv").read_text().splitlines()[0] == "index,time,Road,Sky,Car"


def test_keep_times_gives_what_is_made_the_times_of_its_file(model_path: Path, tmp_path: Path) -> None:
    clip, out = make_drive(tmp_path / "drive.mp4", seconds=1), tmp_path / "out"
    os.utime(clip, (1_700_000_000, 1_600_000_000))
    assert run(model_path, clip, "-o", f"{out}/", "--keep-times") == 0
    made = [out / name for name in ("drive_overlay.mp4", "drive_masks", "drive_stats.csv")]
    assert [path.stat().st_mtime for path in made] == [1_600_000_000] * 3
    assert run(model_path, clip, "-o", f"{out}/", "--keep-times", "--resume") == 0
    assert run(model_path, clip, "-o", tmp_path / "now.mp4") == 0
    assert (tmp_path / "now.mp4").stat().st_mtime > 1_700_000_000


def test_of_some_frames_far_apart_the_texts_go_with_all_of_them(model_path: Path, tmp_path: Path) -> None:
    texts = [Timed(n / 2, 0.5, f"text {n}") for n in range(6)]
    clip, out = make_drive(tmp_path / "drive.mkv", seconds=3, texts=texts, codec="subrip"), tmp_path / "seen.mkv"
    assert run(model_path, clip, "-o", out, "--stride", RATE // 5, "--max-frames", 10) == 0  # two seconds
    assert [item.begin_s for item in track_of(out, "subtitle")] == pytest.approx([0, 0.5, 1, 1.5])


def test_what_hides_people_says_what_still_tells_the_place_and_how_to_leave_it_out(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, out = make_long(tmp_path / "drive.mp4", 50), tmp_path / "seen.mp4"
    told = "may tell where it was taken: location, subtitle mov_text, data bin_data (GoPro MET); --no-metadata leaves"
    assert run(model_path, clip, "-o", out, "--masks", tmp_path / "m.zip", "--blur", "car") == 0
    assert told in capsys.readouterr().err.replace("subtitle mov_text (SubtitleHandler)", "subtitle mov_text")
    preview = [str(word) for word in ("preview", tmp_path / "m.zip", clip, "-o", tmp_path / "p.mp4", "--blur", "car")]
    assert main(preview) == 0
    assert "location, subtitle" in capsys.readouterr().err
    assert run(model_path, clip, "-o", out, "--overwrite") == 0
    assert "may tell" not in capsys.readouterr().err
    assert run(model_path, clip, "-o", out, "--blur", "car", "--no-metadata", "--overwrite") == 0
    assert main([*preview, "--no-metadata", "--overwrite"]) == 0
    assert "may tell" not in capsys.readouterr().err
    for path in (out, tmp_path / "p.mp4"):
        assert tags_of(path).keys().isdisjoint({*TAGS, "location-eng"})
        assert chapters_of(path) == []
        with av.open(path) as container:
            assert [stream.type for stream in container.streams] == ["video"]


@pytest.mark.logs_errors
def test_sound_stays_without_metadata_and_a_run_with_it_is_another(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip(tmp_path / "spoken.mp4", cfr(20), size=(48, 64), sound_s=[0.8])
    assert run(model_path, clip, "-o", f"{tmp_path}/out/", "--no-metadata") == 0
    assert sound_times_of(tmp_path / "out/spoken_overlay.mp4") == sound_times_of(clip)
    assert run(model_path, clip, "-o", f"{tmp_path}/out/", "--resume") == 1
    assert "--no-metadata was on, is now off" in capsys.readouterr().err


def test_a_preview_carries_the_same_as_the_run_s_overlay(model_path: Path, tmp_path: Path) -> None:
    clip = make_long(tmp_path / "drive.mp4", 50)
    span = ("--start", 0.4, "--end", 1.6)
    assert run(model_path, clip, "-o", tmp_path / "o.mp4", "--masks", tmp_path / "m.zip", *span) == 0
    words = ("preview", tmp_path / "m.zip", clip, "-o", tmp_path / "p.mp4", *span)
    assert main([str(word) for word in words]) == 0
    assert (tmp_path / "p.mp4").read_bytes() == (tmp_path / "o.mp4").read_bytes()
    assert tags_of(tmp_path / "p.mp4").items() >= (TAGS | {"creation_time": "2026-05-01T10:00:00.400000Z"}).items()
