"""`roadmask preview` as its users call it: saved masks over their video, without the model."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.archive.masked_frames import MaskedVideo, usual_step
from roadmask.stream.cli import main
from roadmask.stream.decode.source import open_source
from roadmask.stream.encode.palette import load_palette
from roadmask.stream.errors import ArchiveError
from roadmask.stream.frames import SegmentedFrame
from roadmask.stream.preview.preview import PreviewSettings, preview_video
from tests.support.clips import SPEC, cfr, make_clip, sound_times_of, times_of
from tests.support.color_model import write_color_model
from tests.support.tool_masks import any_archive

SIZE = (96, 128)
RNG = np.random.default_rng(3)
SCENE = RNG.integers(0, 256, (*SIZE, 3), np.uint8)
KINDS = ["", ".zip", ".mkv", ".npz", ".zarr"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "drive.mp4"
    return make_clip(path, cfr(60), size=SIZE, picture=SCENE, sound_s=[2.4])


def save_masks(path: Path, video: Path, *, stride: int = 1, start: Fraction | None = None, seed: int = 0) -> Path:
    """Masks of a video as a run saves them, of all three classes in every picture."""
    rng = np.random.default_rng(seed)
    with (
        open_source(video, stride=stride, start=start) as source,
        any_archive(path, source.info, SPEC, source=video.name) as sink,
    ):
        for frame in source.frames(lambda _: (16, 16)):
            coarse = rng.integers(0, 3, (frame.picture.height // 8, frame.picture.width // 8), np.uint8)
            sink.write(SegmentedFrame(frame, np.kron(coarse, np.ones((8, 8), np.uint8))))
    return path


def preview(*arguments: object) -> int:
    return main(["preview", *map(str, arguments)])


def pictures(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("legend", ["--legend", "--legend=bottom-right"])
def test_with_a_run_s_options_it_is_the_overlay_of_that_run(kind: str, legend: str, clip: Path, tmp_path: Path) -> None:
    model = write_color_model(tmp_path / "colors.onnx")
    masks, overlay, drawn = tmp_path / f"masks{kind}", tmp_path / "run.mp4", tmp_path / "preview.mp4"
    drawing = ["--palette", "cityscapes", "--style", "fill+outline"] if legend == "--legend" else []
    look = [legend, "--alpha", "0.3", "--exclude", "sky", "--crf", "18", *drawing]
    saved = tmp_path / "saved.zip" if kind in (".npz", ".zarr") else masks
    run = ["run", clip, "--model", model, "--masks", saved, "--overlay", overlay, *look]
    assert main([str(word) for word in run]) == 0
    if saved != masks:
        assert main(["convert", str(saved), "-o", str(masks)]) == 0
    assert preview(masks, clip, "-o", drawn, *look) == 0
    assert drawn.read_bytes() == overlay.read_bytes()


def test_the_masks_of_every_third_frame_are_the_overlay_of_such_a_run_if_gaps_are_skipped(
    clip: Path, tmp_path: Path
) -> None:
    model = write_color_model(tmp_path / "colors.onnx")
    masks, overlay = tmp_path / "masks", tmp_path / "run.mp4"
    run = ["run", clip, "--model", model, "--masks", masks, "--overlay", overlay, "--stride", "3", "--start", "0.5"]
    assert main([str(word) for word in run]) == 0
    assert preview(masks, clip, "-o", tmp_path / "skip.mp4", "--gaps", "skip") == 0
    assert (tmp_path / "skip.mp4").read_bytes() == overlay.read_bytes()


def test_a_mask_is_held_up_to_the_next_and_the_last_for_as_long_as_the_others(clip: Path, tmp_path: Path) -> None:
    masks = save_masks(tmp_path / "masks", clip, stride=7, start=Fraction(1, 2))  # frames 13, 20, ... 55
    with open_masks(masks) as archive, open_source(clip) as source:
        pair = MaskedVideo(archive, clip)
        results = list(pair.frames(source.frames(lambda _: (1, 1)), gaps="hold", to_the_end=True))
        indices = [record.index for record in archive.records]
        assert usual_step(archive.records) == 7
        assert [result.frame.index for result in results] == list(range(13, 60))
        for result in results:
            own = max(position for position, index in enumerate(indices) if index <= result.frame.index)
            np.testing.assert_array_equal(result.mask, archive[own])


def test_a_part_is_the_same_frames_reached_by_a_jump(clip: Path, tmp_path: Path) -> None:
    masks = save_masks(tmp_path / "masks.zip", clip, stride=4)
    with open_masks(masks) as archive, open_source(clip, start=Fraction(3, 2), end=Fraction(2)) as source:
        pair = MaskedVideo(archive, clip)
        place = pair.place(Fraction(3, 2), source.info)
        assert place is not None
        assert place.index == 36
        results = list(pair.frames(source.frames(lambda _: (1, 1), place=place), gaps="hold"))
        assert [result.frame.index for result in results] == list(range(38, 50))
        np.testing.assert_array_equal(results[0].mask, archive[9])
    assert preview(masks, clip, "-o", tmp_path / "part.mp4", "--start", "1.5", "--end", "0:02") == 0
    assert len(times_of(tmp_path / "part.mp4")) == 12


def test_sound_and_times_are_the_video_s(clip: Path, tmp_path: Path) -> None:
    masks = save_masks(tmp_path / "masks", clip)
    assert preview(masks, clip, "-o", tmp_path / "seen.mp4") == 0
    assert times_of(tmp_path / "seen.mp4") == times_of(clip)
    assert sound_times_of(tmp_path / "seen.mp4") == sound_times_of(clip)


def test_side_by_side_has_the_picture_on_the_left_and_its_overlay_on_the_right(clip: Path, tmp_path: Path) -> None:
    masks = save_masks(tmp_path / "masks", clip)
    assert preview(masks, clip, "-o", tmp_path / "both.mp4", "--view", "side-by-side", "--crf", "1") == 0
    assert preview(masks, clip, "-o", tmp_path / "seen.mp4", "--crf", "1") == 0
    for both, source, overlay in zip(
        *(pictures(path) for path in (tmp_path / "both.mp4", clip, tmp_path / "seen.mp4")), strict=True
    ):
        assert both.shape == (96, 256, 3)
        # Of two lossy encoders' last bits.
        assert np.abs(both[:, :128].astype(int) - source).mean() < 2
        assert np.abs(both[:, 128:].astype(int) - overlay).mean() < 2


def test_the_mask_alone_has_the_class_colours_and_black_for_what_is_not_drawn(clip: Path, tmp_path: Path) -> None:
    masks = save_masks(tmp_path / "masks", clip)
    drawn = tmp_path / "mask.mp4"
    assert preview(masks, clip, "-o", drawn, "--view", "mask", "--exclude", "car", "--crf", "1") == 0
    with open_masks(masks) as archive:
        mask, picture = archive[30], pictures(drawn)[30]
    inner = np.zeros(SIZE, bool)
    inner.reshape(12, 8, 16, 8)[:, 2:6, :, 2:6] = True  # chroma is blurred where colours meet
    road, _, sky = load_palette("clear").colored(SPEC.classes)
    for number, color in enumerate([road.color, (0, 0, 0), sky.color]):
        assert np.abs(picture[inner & (mask == number)].astype(int) - color).max() <= 12


def test_another_video_is_refused_with_the_frame_where_they_part(clip: Path, tmp_path: Path) -> None:
    masks = save_masks(tmp_path / "masks", clip)
    later = make_clip(tmp_path / "later.mp4", [*cfr(30), *cfr(30, first=31 * 512)], size=SIZE)
    short = make_clip(tmp_path / "short.mp4", cfr(50), size=SIZE)
    large = make_clip(tmp_path / "large.mp4", cfr(60), size=(128, 160))
    for video, message in (
        (later, "the mask of frame 30 is of 1.200 s, but that frame of .*later.mp4 is at 1.240 s; it is another video"),
        (short, "goes on with frame 50 at 2.000 s, where .*short.mp4 has ended"),
        (large, "its masks are 128x96, .*large.mp4 is 160x128; it is another video"),
    ):
        with pytest.raises(ArchiveError, match=message):
            preview_video(PreviewSettings(masks, video, tmp_path / "seen.mp4"))
        assert not (tmp_path / "seen.mp4").exists()


def test_a_copy_in_another_container_is_the_same_video(tmp_path: Path) -> None:
    pts = cfr(30)
    clip = make_clip(tmp_path / "drive.mp4", [time + 7 for time in pts], size=SIZE)
    copy = tmp_path / "drive.mkv"  # whose times are whole milliseconds
    with av.open(clip) as source, av.open(copy, "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    masks = save_masks(tmp_path / "masks", clip)
    assert preview(masks, copy, "-o", tmp_path / "seen.mp4") == 0
    assert len(times_of(tmp_path / "seen.mp4")) == 30


def test_bad_paths_and_options_are_one_line_and_nothing_is_said_before_it(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = save_masks(tmp_path / "masks.zip", clip, start=Fraction(1))
    (tmp_path / "there.mp4").touch()
    for arguments, message in (
        ([masks, clip, "-o", clip, "--overwrite"], "is one of the inputs"),
        ([masks, clip, "-o", tmp_path / "there.mp4"], "exists; pass --overwrite"),
        ([masks, clip, "-o", tmp_path / "seen.avi"], "a video's suffix is one of"),
        ([tmp_path / "none", clip, "-o", tmp_path / "seen.mp4"], "no such file or folder"),
        ([masks, tmp_path / "none.mp4", "-o", tmp_path / "seen.mp4"], "no such file"),
        ([masks, clip, "-o", tmp_path / "seen.mp4", "--classes", "lawn"], "class 'lawn' is not known"),
        ([masks, clip, "-o", tmp_path / "seen.mp4", "--end", "0.5"], "holds no mask of what was asked for"),
    ):
        is_wrong_value = message.startswith(("a video's suffix", "class"))
        assert preview(*arguments) == (2 if is_wrong_value else 1)
        *before, last = capsys.readouterr().err.splitlines()
        assert message in last
        assert len(before) == ("holds no mask" in message)  # which only reading tells
        assert not (tmp_path / "seen.mp4").exists()
    assert preview(masks, clip, "--start", "2", "--end", "1") == 2


def test_the_model_s_runtime_is_not_even_imported(clip: Path, tmp_path: Path) -> None:
    masks = save_masks(tmp_path / "masks", clip)
    code = (
        "import sys; from roadmask.stream.cli import main; main(sys.argv[1:]); sys.exit('onnxruntime' in sys.modules)"
    )
    arguments = ["preview", str(masks), str(clip), "-o", str(tmp_path / "seen.mp4")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
    assert (tmp_path / "seen.mp4").exists()
