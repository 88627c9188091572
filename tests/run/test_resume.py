"""A run that ends anywhere goes on from there to what it would have made in one go."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from threading import Event

import av
import numpy as np
import pytest

from roadmask.stream.decode.place import look_of
from roadmask.stream.decode.source import open_source
from roadmask.stream.encode.palette import load_palette
from roadmask.stream.errors import OutputError, SourceError
from roadmask.stream.frames import WARM_UP, Frame, Place, SegmentedFrame
from roadmask.stream.masks.deciding import Deciding
from roadmask.stream.masks.deciding_state import unpack_state, write_state
from roadmask.stream.masks.familiar import EVERY, lead
from roadmask.stream.masks.reuse import mark_unchanged
from roadmask.stream.network.model import Model
from roadmask.stream.run import stages
from roadmask.stream.run.claim import progress_folder
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import Report, SegmentSettings
from tests.support.awkward_files import retimed, video
from tests.support.clips import make_clip, sound_times_of
from tests.support.color_model import spec, write_color_model
from tests.support.file_content import pictures_of
from tests.support.full_disk import full_disk
from tests.support.moving_scene import texture
from tests.support.short_pieces import PIECE, shorten_pieces

FRAMES = 2 * PIECE + 60


class Killed(BaseException):
    """As abrupt as a signal: nobody catches it."""


@pytest.fixture(scope="module", autouse=True)
def short_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        shorten_pieces(patch)
        yield


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene that moves by a pixel a frame, and stands still in between, with sound."""
    path = tmp_path_factory.mktemp("clip") / "moving.mp4"
    scene = texture(64, 96 + FRAMES)
    silent = path.with_name("silent.mp4")
    with av.open(silent, "w") as container:
        stream = container.add_stream("libx264", rate=25, width=96, height=64, options={"bf": "2", "crf": "10"})
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 40
        for number in range(FRAMES):
            at = number if number % 100 < 80 else number // 100 * 100 + 80
            shown = np.ascontiguousarray(scene[:, at : at + 96])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(stream.encode(None))
    return with_sound(silent, path)


def with_sound(silent: Path, path: Path) -> Path:
    spoken = make_clip(path.with_name("spoken.mp4"), [0], sound_s=[FRAMES / 25])
    with av.open(silent) as pictures, av.open(spoken) as sound, av.open(path, "w") as target:
        streams = [pictures.streams.video[0], sound.streams.audio[0]]
        twins = [target.add_stream_from_template(stream) for stream in streams]
        for stream, twin in zip(streams, twins, strict=True):
            for packet in stream.container.demux(stream):
                if packet.dts is not None:
                    packet.stream = twin
                    target.mux(packet)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.load(write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx"), device="cpu")


@pytest.fixture
def saves_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "EVERY_S", 0.0)


def job(clip: Path, folder: Path, **changes: object) -> SegmentSettings:
    settings = SegmentSettings(clip, overlay=folder / "seen.mp4", preset="ultrafast")
    return replace(settings, **changes)  # type: ignore[arg-type]


def run_until(settings: SegmentSettings, model: Model, frames: int) -> None:
    """A run that is killed with that many frames in its outputs."""

    def on_frame(done: int) -> None:
        if done == frames:
            raise Killed

    with pytest.raises(Killed):
        process_video(settings, model, on_frame=on_frame)


def resumed(settings: SegmentSettings, model: Model) -> Report:
    """Gone on with to the end, saving now and then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "EVERY_S", 2.0)
        return process_video(replace(settings, resume=True), model)


def content_of(path: Path) -> dict[str, bytes]:
    """The bytes of a file, or of a folder's files, by name."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.name: file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def whole(clip: Path, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of a run in one go."""
    folder = tmp_path_factory.mktemp("whole")
    assert process_video(job(clip, folder, **all_outputs(folder)), model).frames == FRAMES
    return folder


def all_outputs(folder: Path) -> dict[str, object]:
    return {"masks": folder / "masks.zip", "stats": folder / "shares.csv"}


@pytest.mark.usefixtures("saves_always")
@pytest.mark.parametrize("frames", [1, 30, PIECE - WARM_UP + 1, PIECE, PIECE + 1, 2 * PIECE + 7, FRAMES])
def test_a_run_that_was_killed_anywhere_goes_on_to_the_same_outputs(
    clip: Path, model: Model, whole: Path, tmp_path: Path, frames: int
) -> None:
    settings = job(clip, tmp_path, **all_outputs(tmp_path))
    run_until(settings, model, frames)
    assert not settings.overlay.exists()  # type: ignore[union-attr]
    report = resumed(settings, model)
    assert (report.frames, report.resumed) == (FRAMES, frames)
    assert pictures_of(tmp_path / "seen.mp4") == pictures_of(whole / "seen.mp4")
    assert sound_times_of(tmp_path / "seen.mp4") == sound_times_of(whole / "seen.mp4")
    for name in ("masks.zip", "shares.csv"):
        assert content_of(tmp_path / name) == content_of(whole / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks.zip", "seen.mp4", "shares.csv"]


@pytest.mark.usefixtures("saves_always")
def test_a_run_that_was_killed_when_its_last_piece_was_whole_has_its_video(
    clip: Path, model: Model, whole: Path, tmp_path: Path
) -> None:
    settings = job(clip, tmp_path, max_frames=PIECE)
    run_until(settings, model, PIECE)
    assert resumed(settings, model).resumed == PIECE
    assert pictures_of(tmp_path / "seen.mp4") == pictures_of(whole / "seen.mp4")[:PIECE]


@pytest.mark.usefixtures("saves_always")
@pytest.mark.parametrize("archive", ["masks", "masks.zip", "masks.mkv"])
def test_a_run_that_is_killed_again_and_again_makes_the_same_outputs(
    clip: Path, model: Model, tmp_path: Path, archive: str
) -> None:
    changes = {"stride": 2, "start": Fraction(1), "reuse": True, "preset": "medium"}
    expected, folder = tmp_path / "expected", tmp_path / "killed"
    process_video(job(clip, expected, masks=expected / archive, **changes), model)
    settings = job(clip, folder, masks=folder / archive, **changes)
    run_until(settings, model, 40)
    for frames in (41, PIECE, PIECE + 1, PIECE + 12):
        run_until(replace(settings, resume=True), model, frames)
    resumed(settings, model)
    assert content_of(folder / archive) == content_of(expected / archive)
    assert pictures_of(folder / "seen.mp4") == pictures_of(expected / "seen.mp4")


@pytest.mark.usefixtures("saves_always")
def test_what_ctrl_c_finished_can_be_gone_on_with(clip: Path, model: Model, whole: Path, tmp_path: Path) -> None:
    settings, stop = job(clip, tmp_path, **all_outputs(tmp_path)), Event()
    at = PIECE + 50
    report = process_video(settings, model, stop=stop, on_frame=lambda frames: stop.set() if frames == at else None)
    assert report.interrupted
    assert len(pictures_of(tmp_path / "seen.mp4")) == at, "playable as it is"
    assert resumed(settings, model).resumed == at
    assert pictures_of(tmp_path / "seen.mp4") == pictures_of(whole / "seen.mp4")
    assert content_of(tmp_path / "masks.zip") == content_of(whole / "masks.zip")


@pytest.mark.usefixtures("saves_always")
def test_after_a_full_disk_a_run_goes_on_to_the_same_outputs(
    clip: Path, model: Model, whole: Path, tmp_path: Path
) -> None:
    settings = job(clip, tmp_path, **all_outputs(tmp_path))
    with full_disk(70_000), pytest.raises(OutputError, match=r"too large|No space"):
        process_video(settings, model)
    assert 0 < resumed(settings, model).resumed < FRAMES
    for name in ("masks.zip", "shares.csv"):
        assert content_of(tmp_path / name) == content_of(whole / name)
    assert pictures_of(tmp_path / "seen.mp4") == pictures_of(whole / "seen.mp4")


@pytest.mark.usefixtures("saves_always")
def test_without_resume_nothing_of_an_earlier_run_is_thrown_away(clip: Path, model: Model, tmp_path: Path) -> None:
    settings = job(clip, tmp_path)
    run_until(settings, model, 20)
    with pytest.raises(OutputError, match=r"seen.mp4: an earlier run stopped after 20 frames; pass --resume"):
        process_video(settings, model)
    assert process_video(replace(settings, overwrite=True, max_frames=5), model).frames == 5


def test_resume_where_nothing_was_begun_begins(clip: Path, model: Model, tmp_path: Path) -> None:
    assert resumed(job(clip, tmp_path, max_frames=5), model).resumed == 0


@pytest.mark.usefixtures("saves_always")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 0.7}, r"--alpha was 0.5, is now 0.7"),
        ({"palette": load_palette("camvid")}, r"--palette was clear, is now camvid"),
        ({"style": "outline", "legend": "auto"}, r"--legend was off, is now auto; --style was fill, is now outline"),
        ({"stride": 3}, r"--stride was 1, is now 3"),
        ({"smooth": False, "crf": 30}, r"--smooth was on, is now off; --crf was 23, is now 30"),
    ],
)
def test_going_on_with_other_settings_is_refused_by_name(
    clip: Path, model: Model, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    settings = job(clip, tmp_path)
    run_until(settings, model, 5)
    with pytest.raises(OutputError, match=message):
        resumed(replace(settings, **changes), model)  # type: ignore[arg-type]
    assert resumed(replace(settings, batch=3), model).frames == FRAMES, "and the progress is still there"


@pytest.mark.usefixtures("saves_always")
def test_going_on_with_another_model_or_source_is_refused(clip: Path, model: Model, tmp_path: Path) -> None:
    settings = job(clip, tmp_path)
    run_until(settings, model, 5)
    changed = spec(provenance={"data": "other streets"})
    other = Model.load(write_color_model(tmp_path / "other.onnx", metadata=changed), device="cpu")
    with pytest.raises(OutputError, match=r"model was colors.onnx \(\w+\), is now other.onnx"):
        resumed(settings, other)
    shorter = tmp_path / "short" / clip.name
    shorter.parent.mkdir()
    shorter.write_bytes(clip.read_bytes()[:-1])
    with pytest.raises(OutputError, match=r"source was moving.mp4 \(\d+ bytes, \w+\), is now moving.mp4 \(\d+ bytes"):
        resumed(replace(settings, source=shorter), model)


@pytest.mark.usefixtures("saves_always")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "state.npz").write_bytes(b"PK"), "cannot be read"),
        (lambda folder: (folder / "run.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "00000000.masks").unlink(), "missing"),
        (lambda folder: (folder / "00000000.masks").write_bytes(b""), "record of frame 0 is damaged"),
        (lambda folder: (folder.parent / "seen.partial.mp4").unlink(), "not there any more"),
    ],
)
def test_progress_that_is_damaged_is_refused_in_one_line(
    clip: Path,
    model: Model,
    tmp_path: Path,
    damage: Callable[[Path], object],
    message: str,
) -> None:
    settings = job(clip, tmp_path)
    run_until(settings, model, 30)
    damage(progress_folder(settings.outputs))
    with pytest.raises(OutputError, match=message) as caught:
        resumed(settings, model)
    assert "\n" not in str(caught.value)
    assert "--overwrite" in str(caught.value)


@pytest.mark.usefixtures("saves_always")
def test_progress_names_what_it_is_of(clip: Path, model: Model, tmp_path: Path) -> None:
    settings = job(clip, tmp_path)
    run_until(settings, model, 5)
    content = json.loads((progress_folder(settings.outputs) / "run.json").read_text())
    assert content["source"].startswith("moving.mp4 (")
    assert content["model"].startswith("colors.onnx (")


# The place in the video.


def input_size(_: object) -> tuple[int, int]:
    return 32, 64


def numbered(path: Path, stride: int = 1, place: Place | None = None) -> list[tuple[int, int, int]]:
    with open_source(path, stride=stride) as source:
        return [(frame.index, frame.pts, look_of(frame.picture)) for frame in source.frames(input_size, place=place)]


def copied(clip: Path, path: Path, codec: str | None = None) -> Path:
    """The clip in another container, or encoded anew."""
    with av.open(clip) as source, av.open(path, "w") as target:
        stream = source.streams.video[0]
        if codec is None:
            twin = target.add_stream_from_template(stream)
            for packet in source.demux(stream):
                if packet.dts is not None:
                    packet.stream = twin
                    target.mux(packet)
            return path
        video = target.add_stream(codec, rate=25, width=96, height=64)
        for frame in source.decode(stream):
            target.mux(video.encode(frame.reformat(format="yuv420p")))
        target.mux(video.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", None), ("a.mkv", None), ("a.ts", None), ("a.h264", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "vp9")],
)
@pytest.mark.parametrize("stride", [1, 3])
def test_the_frames_from_a_place_on_are_those_of_the_whole_video(
    clip: Path, tmp_path: Path, name: str, codec: str | None, stride: int
) -> None:
    path = copied(clip, tmp_path / name, "libvpx-vp9" if codec == "vp9" else codec)
    frames = numbered(path, stride)
    for position in (0, 1, 39, 40, len(frames) - 10, len(frames) - 1):
        index, pts, _ = frames[position]
        place = Place(position, index, pts, tuple(frames[position : position + 8]))
        assert numbered(path, stride, place) == frames[position:]


def test_where_several_frames_have_one_time_a_place_is_still_the_frame_of_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    retimed(video("mpeg4", gop=4), lambda number, _: number // 12 * 1000)(path)
    frames = numbered(path)
    for index, pts, _ in frames[1:]:
        assert numbered(path, place=Place(0, index, pts)) == frames[index:], index


def test_a_place_that_is_not_in_the_video_is_refused(clip: Path) -> None:
    index, pts, look = numbered(clip)[50]
    with pytest.raises(SourceError, match=r"moving.mp4: frame 50 is not the one that the run began with"):
        numbered(clip, place=Place(50, index, pts, ((index, pts, look + 1),)))


# Pieces.


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("smooth", [False, True])
def test_a_piece_made_by_itself_has_the_masks_of_the_whole(clip: Path, model: Model, reuse: bool, smooth: bool) -> None:
    whole = list(decided(clip, model, 0, reuse=reuse, smooth=smooth))
    assert any(result.frame.unchanged for result in whole) == reuse
    for begin in (PIECE, 2 * PIECE):
        alone = list(decided(clip, model, begin, reuse=reuse, smooth=smooth))
        assert len(alone) == FRAMES - begin
        for one, other in zip(alone, whole[begin:], strict=True):
            assert one.frame.unchanged == other.frame.unchanged
            np.testing.assert_array_equal(one.mask, other.mask)


def decided(clip: Path, model: Model, begin: int, *, reuse: bool, smooth: bool) -> Iterator[SegmentedFrame]:
    """The frames from number `begin` on, from nothing but them and those that warm up."""
    first = max(begin - WARM_UP, 0)
    with open_source(clip) as source:
        frames: Iterable[Frame] = islice(source.frames(input_size), first, None)
        frames = mark_unchanged(frames, first=first) if reuse else frames
        scored = (model.scored([frame]) for frame in frames)
        for item in Deciding(3, smooth=smooth, first=first, begin=begin).results(scored):
            yield item.result


@pytest.mark.parametrize("frames", [1, PIECE - WARM_UP + 5, 30, PIECE])
def test_a_state_that_was_on_disk_leads_to_the_same_masks_and_the_same_familiarity(
    clip: Path, model: Model, tmp_path: Path, frames: int
) -> None:
    with open_source(clip, max_frames=PIECE + 20) as source:
        scored = [model.scored([frame]) for frame in mark_unchanged(source.frames(input_size))]
    leads = [lead(scores) for ((_, scores),) in scored[::EVERY] if scores is not None]
    least = float(np.median(leads))
    whole = list(Deciding(3, smooth=True, least_lead=least, every_s=0).results(scored))
    assert 0 < whole[-1].familiarity.unlike < whole[-1].familiarity.seen == len(leads)
    state = whole[frames - 1].state
    assert state is not None
    path = tmp_path / "state.npz"
    with path.open("wb") as file:
        write_state(file, {"frames": frames}, state)
    facts, state = unpack_state(path)
    assert facts["frames"] == frames
    again = Deciding(3, smooth=True, least_lead=least, first=frames, begin=frames, state=state)
    rest = again.results(scored[frames:])
    for one, other in zip(rest, whole[frames:], strict=True):
        np.testing.assert_array_equal(one.result.mask, other.result.mask)
        assert one.familiarity == other.familiarity
