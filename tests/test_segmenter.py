"""A model for one's own code: pictures of any kind, videos, frames of one's own loop, and what comes out."""

from __future__ import annotations

import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import roadmask
from roadmask import ArchiveError, Camera, ModelError, OutputError, RoadmaskError, SourceError, segment_video
from roadmask.stream.network.model import Model
from roadmask.stream.segmenter import Segmenter
from tests.support.clips import cfr, make_clip
from tests.support.color_model import COLORS
from tests.support.moving_scene import texture
from tests.support.run_command import run

SIZE = (96, 128)


@pytest.fixture(scope="module")
def segmenter(model: Path) -> Segmenter:
    return roadmask.load(model, device="cpu")


def street(height: int = SIZE[0], width: int = SIZE[1]) -> NDArray[np.uint8]:
    """Sky above, road below, a car at the right."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[: height // 2], picture[height // 2 :] = COLORS["Sky"], COLORS["Road"]
    picture[height // 2 :, width * 3 // 4 :] = COLORS["Car"]
    return picture


def encoded(path: Path, picture: NDArray[np.uint8]) -> Path:
    cv2.imwrite(str(path), picture[..., ::-1])
    return path


def test_a_picture_of_any_kind_has_the_same_mask(segmenter: Segmenter, tmp_path: Path) -> None:
    picture = street()
    expected = segmenter(picture).mask
    assert expected.shape == SIZE
    assert [expected[10, 10], expected[80, 10], expected[80, 120]] == [1, 0, 2]
    kinds: dict[str, Any] = {
        "not contiguous": street(SIZE[0], SIZE[1] * 2)[:, ::2],
        "RGBA": np.dstack([picture, np.full(SIZE, 7, np.uint8)]),
        "PIL": Image.fromarray(picture),
        "a path": encoded(tmp_path / "street.png", picture),
        "a path as text": str(tmp_path / "street.png"),
    }
    for kind, given in kinds.items():
        assert (segmenter(given).mask == expected).all(), kind
    gray = np.full(SIZE, 90, np.uint8)
    assert (segmenter(gray).mask == segmenter(np.dstack([gray] * 3)).mask).all()


def test_a_picture_turned_by_its_exif_is_turned_upright(segmenter: Segmenter) -> None:
    lying = Image.fromarray(np.rot90(street()))
    lying.getexif()[0x0112] = 6  # to be turned right by 90 degrees
    assert (segmenter(lying).mask == segmenter(street()).mask).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (33, 47), (1081, 1921)])
def test_any_size_has_a_mask_of_its_size(segmenter: Segmenter, size: tuple[int, int]) -> None:
    assert segmenter(np.zeros((*size, 3), np.uint8)).mask.shape == size


def test_a_list_gives_a_list_in_its_order(segmenter: Segmenter) -> None:
    pictures = [street(), np.zeros((20, 30, 3), np.uint8), Image.fromarray(street(50, 60))]
    results = segmenter(pictures)
    assert [result.mask.shape for result in results] == [SIZE, (20, 30), (50, 60)]
    assert (results[0].mask == segmenter(street()).mask).all()
    assert segmenter([]) == []


def test_one_model_serves_many_threads(segmenter: Segmenter) -> None:
    pictures = [street(90 + 7 * number, 120) for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        masks = [result.mask for result in pool.map(segmenter, pictures)]
    assert all((mask == segmenter(picture).mask).all() for mask, picture in zip(masks, pictures, strict=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3.5, "float: no picture; give an array (height, width, 3) of uint8, a PIL image or a path"),
        (None, "NoneType: no picture"),
        (np.zeros((3, 40, 50), np.uint8), "array of shape (3, 40, 50): not (height, width, 3); channels come last"),
        (np.zeros((2, 40, 50, 3), np.uint8), "array of shape (2, 40, 50, 3): not (height, width, 3)"),
        (np.zeros((40, 50, 3)), "array of float64: not uint8; (array * 255).astype('uint8')"),
        (np.full((40, 50, 3), 200.0), "array of float64: not uint8; array.clip(0, 255).astype('uint8')"),
        (np.zeros((40, 50, 3), np.uint16), "array of uint16: not uint8; scale it to 0..255"),
        (np.zeros((0, 50, 3), np.uint8), "array of shape (0, 50, 3): has no pixels"),
        (Image.new("I;16", (8, 8)), "array of uint16: not uint8; scale it to 0..255"),
        ([street(), "nope.png"], "nope.png: no such file"),
        (".", ".: is a folder, not a picture; give a list of its files"),
        ("", "'': no picture; no file is called so"),
        ("a" * 5000, "aaa: "),
        ("a\0b.png", "no picture; no file is called so"),
        ("http://joe:secret@10.0.0.7/a.jpg", "http://10.0.0.7/a.jpg: an address, and no file; fetch a picture first"),
        (b"abc", "bytes: no picture"),
    ],
)
def test_what_is_no_picture_is_told_in_one_line(segmenter: Segmenter, given: Any, message: str) -> None:
    with pytest.raises(RoadmaskError) as caught:
        segmenter(given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tensor_is_a_picture_and_one_that_is_elsewhere_is_told(segmenter: Segmenter) -> None:
    torch = pytest.importorskip("torch")
    assert (segmenter(torch.from_numpy(street())).mask == segmenter(street()).mask).all()
    for tensor in (torch.empty((8, 8, 3), device="meta"), torch.rand((8, 8, 3), requires_grad=True)):
        with pytest.raises(RoadmaskError, match=r"Tensor: cannot be seen as an array \(.*Tensor"):
            segmenter(tensor)


def test_models_and_results_go_to_other_processes_and_are_the_same_there(segmenter: Segmenter, model: Path) -> None:
    """As `multiprocessing` sends them: by pickle."""
    for bgr in (False, True):
        given = roadmask.load(model, device="cpu", bgr=bgr)
        there = pickle.loads(pickle.dumps(given))
        result = there(street())
        back = pickle.loads(pickle.dumps(result))
        assert (back.mask == given(street()).mask).all()
        assert (back.plot() == result.plot()).all()
        assert (back.shares, back.time, back.index, back.classes) == (result.shares, 0, 0, segmenter.classes)
    clip = make_clip(model.parent / "sent.mp4", cfr(3), size=SIZE)
    drive = [pickle.loads(pickle.dumps(result)) for result in segmenter.stream(clip, stride=2)]
    assert [(result.index, result.time) for result in drive] == [(0, 0.0), (2, 0.08)]


def test_whether_a_class_is_in_a_picture_can_be_asked_by_its_name(segmenter: Segmenter) -> None:
    result = segmenter(street())
    assert "Car" in result
    assert "car" in result
    assert "Sky" not in segmenter(np.full((*SIZE, 3), COLORS["Road"], np.uint8))
    with pytest.raises(RoadmaskError, match="did you mean Car"):
        _ = "Cars" in result


def test_a_result_taken_for_the_list_that_other_libraries_give_says_what_it_is(segmenter: Segmenter) -> None:
    for taken in (lambda: segmenter(street())[0], lambda: list(segmenter(street()))):  # type: ignore[index, call-overload]
        with pytest.raises(RoadmaskError, match="this is the result of one picture, and no list; use it as it is"):
            taken()


def test_a_pil_image_whose_file_is_cut_off_is_told_in_one_line(segmenter: Segmenter, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    content = encoded(tmp_path / "noise.png", noise).read_bytes()
    (tmp_path / "noise.png").write_bytes(content[: len(content) // 2])
    with Image.open(tmp_path / "noise.png") as cut, pytest.raises(SourceError, match="PIL image: cannot be read"):
        segmenter(cut)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda _: roadmask.load(3), "int: no model file; give a path"),  # type: ignore[arg-type]
        (lambda _: roadmask.load(device=0), "device '0' is not known; choose auto, "),  # type: ignore[arg-type]
        (lambda model: model.stream("v.mp4", stride=1.5), "stride is 1.5; it must be a whole number"),
        (lambda model: model.stream("v.mp4", max_frames=0), "max_frames is 0; it must be 1 or more"),
        (lambda model: model.stream("v.mp4", start="1:00"), "start is 1:00: not a number of seconds"),
        (lambda model: model.stream("v.mp4", start=2, end=1), "end is 1; it must be more than start, which is 2"),
        (lambda model: model.stream(None), "NoneType: no video and no camera"),
        (lambda model: model.stream("foo://x"), "unknown kind of address foo://"),
        (lambda model: model.session()("a.png"), "str: no picture"),
        (lambda model: model.session()(street(), time="3"), "time is 3: not a number of seconds"),
        (lambda model: model(street())[0], "this is the result of one picture, and no list"),
        (lambda model: model(street()).plot(alpha="0.5"), "alpha 0.5 is not between 0 and 1"),
        (lambda model: model(street()).plot(classes=[1]), "class '1' is not known here"),
        (lambda model: model(street()).plot(palette="nice"), "palette 'nice' is none of clear, "),
        (lambda model: model(street()).plot(style="dots"), "style dots is none of fill, "),
        (lambda model: model(street()).plot(legend=True), "legend True is none of off, auto, "),
        (lambda model: model(street()).save(None), "NoneType: no name of a picture; give a path"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(segmenter: Segmenter, call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(RoadmaskError) as caught:
        call(segmenter)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_says_how_it_becomes_a_model(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "best.pt", "w") as file:
        file.writestr("best/data.pkl", b"")
    with pytest.raises(ModelError, match=r"best\.pt: no model file; .*: roadmask export .*best\.pt"):
        roadmask.load(tmp_path / "best.pt")


@pytest.mark.usefixtures("short_pauses")
def test_a_camera_that_is_lost_is_told_and_given_up_in_python_too(
    segmenter: Segmenter, caplog: pytest.LogCaptureFixture
) -> None:
    camera = Camera("gate", "testsrc2=size=64x48:rate=10:duration=0.3", "lavfi", every_frame=True, max_retries=1)
    results = []
    with pytest.raises(SourceError, match="gate: the stream ended; given up after 2 tries"):
        results.extend(segmenter.stream(camera))
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("gate: reconnecting (the stream ended); next try in ")


def test_a_video_is_no_picture_and_says_how_to_go_on(segmenter: Segmenter, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "drive.mp4", cfr(3))
    with pytest.raises(SourceError, match=r"drive\.mp4: a video; its frames come one by one from model\.stream\("):
        segmenter(clip)


def test_a_video_s_results_are_those_of_a_run(segmenter: Segmenter, model: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "drive.mp4", cfr(10), size=SIZE, picture=street())
    expected = list(segment_video(clip, model=model))
    results = list(segmenter.stream(str(clip)))
    assert [(result.index, result.time) for result in results] == [(number, number / 25) for number in range(10)]
    assert all((result.mask == frame.mask).all() for result, frame in zip(results, expected, strict=True))
    some = segmenter.stream(clip, start=0.08, stride=2, max_frames=2)
    assert [result.index for result in some] == [2, 4]
    with pytest.raises(ValueError, match="stride is 0"):  # a RoadmaskError, too
        segmenter.stream(clip, stride=0)


def test_a_session_s_frames_are_smoothed_as_a_video_s(segmenter: Segmenter, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [cv2.add(street(), rng.integers(0, 90, (*SIZE, 3), np.uint8)) for _ in range(5)]
    drive = lossless(tmp_path / "drive.mkv", pictures)
    session = segmenter.session()
    masks = [session(picture, time=number / 25).mask for number, picture in enumerate(pictures)]
    run = [result.mask for result in segmenter.stream(drive)]
    assert all((mask == of_run).all() for mask, of_run in zip(masks, run, strict=True))
    alone = [segmenter(picture).mask for picture in pictures]
    assert any((mask != of_picture).any() for mask, of_picture in zip(masks, alone, strict=True))
    session.reset()
    assert (session(pictures[-1]).mask == alone[-1]).all()
    with pytest.raises(RoadmaskError, match="time is nan: not a number of seconds"):
        session(pictures[0], time=float("nan"))


@pytest.mark.parametrize("every", [3, "120ms", 1, None])
def test_a_session_carries_masks_between_frames_as_a_run_does(
    segmenter: Segmenter, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int | str | None
) -> None:
    scene = texture(SIZE[0], 2 * SIZE[1])
    pictures = [np.ascontiguousarray(scene[:, number : number + SIZE[1]]) for number in range(8)]
    drive = lossless(tmp_path / "drive.mkv", pictures)
    run = list(segment_video(drive, model=model, device="cpu", every=every))
    assert any(of_run.frame.carried for of_run in run) == (every in (3, "120ms"))
    session = segmenter.session(every=every)
    calls = count_calls(monkeypatch)
    for number, (picture, of_run) in enumerate(zip(pictures, run, strict=True)):
        calls.clear()
        result = session(picture, time=100 + number / 25)
        assert (result.mask == of_run.mask).all()
        assert (result.index, result.time) == (number, 100 + number / 25)
        assert len(calls) == of_run.frame.is_key


def test_a_session_s_network_sees_what_does_not_follow(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = texture(*SIZE)
    session = segmenter.session(every=1000)
    calls = count_calls(monkeypatch)
    for _ in range(6):  # times are not known: as at 15 a second, of which five are a third of one
        session(picture)
    assert len(calls) == 2
    session(texture(*SIZE, seed=1))
    assert len(calls) == 3, "a cut"
    session(np.ascontiguousarray(texture(*SIZE, seed=1)[:64]))
    assert len(calls) == 4, "another size"
    session.reset()
    session(np.ascontiguousarray(texture(*SIZE, seed=1)[:64]))
    assert len(calls) == 5
    with pytest.raises(RoadmaskError, match="every: 'often' is neither a number of frames"):
        segmenter.session(every="often")


def lossless(path: Path, pictures: Sequence[NDArray[np.uint8]]) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=SIZE[1], height=SIZE[0])
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = "bgr0"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is called of the network from now on: how many pictures at a time."""
    calls, scores = [], Model.scores

    def counted(self: Model, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        calls.append(len(pictures))
        return scores(self, pictures)

    monkeypatch.setattr(Model, "scores", counted)
    return calls


def test_a_result_names_what_it_holds(segmenter: Segmenter) -> None:
    result = segmenter(street())
    assert result.classes == segmenter.classes == ("Road", "Sky", "Car")
    assert result.shares == pytest.approx({"Road": 0.375, "Sky": 0.5, "Car": 0.125}, abs=0.01)
    assert (result["car"] == (result.mask == 2)).all()
    assert repr(result) == "<128x96: Sky 50%, Road 38%, Car 12%>"
    with pytest.raises(RoadmaskError, match=r"Cars: no class of this model, of Road, Sky, Car; did you mean Car\?"):
        result["Cars"]


def test_a_plot_mixes_the_colours_of_the_classes_that_are_drawn(segmenter: Segmenter) -> None:
    result = segmenter(np.zeros((*SIZE, 3), np.uint8))  # black is nearest to one class
    (name,) = (name for name, share in result.shares.items() if share == 1)
    assert (result.plot(alpha=0) == 0).all()
    assert (result.plot(alpha=1, palette="camvid") == COLORS[name]).all()
    (clear,) = roadmask.load_palette("clear").colored([roadmask.PixelClass(name, COLORS[name])])
    assert (result.plot(alpha=1) == clear.color).all()
    assert (result.plot(style="outline") == 0).all(), "no class meets another"
    assert (result.plot(exclude=[name]) == 0).all()
    assert (result.plot(exclude=name.lower()) == 0).all()
    assert result.plot(legend="auto")[:20, :20].any()
    assert not result.picture.any(), "drawn upon"
    with pytest.raises(RoadmaskError, match=r"alpha 1\.5 is not between 0 and 1"):
        result.plot(alpha=1.5)


def test_arrays_with_blue_first_go_in_and_come_out_so(model: Path) -> None:
    rgb, bgr = roadmask.load(model), roadmask.load(model, bgr=True)
    picture = street()
    expected, result = rgb(picture), bgr(np.ascontiguousarray(picture[..., ::-1]))
    assert (result.mask == expected.mask).all()
    assert (result.plot(legend="auto")[..., ::-1] == expected.plot(legend="auto")).all()
    assert (result.picture[..., ::-1] == expected.picture).all()
    assert result._repr_png_() == expected._repr_png_()


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_picture_is_saved_as_a_run_draws_it(segmenter: Segmenter, model: Path, tmp_path: Path, suffix: str) -> None:
    photo, drawn, saved = (tmp_path / f"{name}.{suffix}" for name in ("photo", "drawn", "saved"))
    cv2.imwrite(str(photo), street()[..., ::-1])
    assert run(photo, "-o", drawn, "--style", "fill+outline", "--device", "cpu", model=model) == 0
    segmenter(photo).save(saved, style="fill+outline")
    assert np.array_equal(cv2.imread(str(drawn)), cv2.imread(str(saved)))


def test_what_is_saved_is_what_is_plotted(segmenter: Segmenter, tmp_path: Path) -> None:
    result = segmenter(street())
    result.save(str(tmp_path / "seen.png"), alpha=0.3)
    result.save_mask(tmp_path / "mask.png")
    assert (cv2.imread(str(tmp_path / "seen.png"))[..., ::-1] == result.plot(alpha=0.3)).all()
    assert (cv2.imread(str(tmp_path / "mask.png"), cv2.IMREAD_UNCHANGED) == result.mask).all()
    with pytest.raises(OutputError, match=r"seen\.gif: ends in \.gif, not in \.png, "):
        result.save(tmp_path / "seen.gif")
    with pytest.raises(OutputError, match=r"cannot be written \(No such file"):
        result.save(tmp_path / "no" / "seen.png")


def test_a_notebook_shows_a_small_picture(segmenter: Segmenter) -> None:
    shown = segmenter(street(1080, 1920))._repr_png_()
    assert cv2.imdecode(np.frombuffer(shown, np.uint8), cv2.IMREAD_COLOR).shape == (360, 640, 3)


def test_a_notebook_shows_of_an_error_the_reader_s_own_lines_and_the_message(segmenter: Segmenter) -> None:
    with pytest.raises(SourceError) as caught:
        segmenter("nothing.jpg")
    here, message = caught.value._render_traceback_()
    assert here.splitlines()[1:2] == ['    segmenter("nothing.jpg")']  # from Python 3.13 on, it is underlined
    assert message == "SourceError: nothing.jpg: no such file"


def test_paths_may_be_text_everywhere(model: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "drive.mp4", cfr(3))
    settings = roadmask.SegmentSettings(str(clip), masks=str(tmp_path / "m.zip"), stats=str(tmp_path / "s.csv"))  # type: ignore[arg-type]
    assert roadmask.process_video(settings, roadmask.Model.load(str(model))).frames == 3
    with roadmask.open_masks(str(tmp_path / "m.zip")) as masks:
        assert len(masks) == 3
    with pytest.raises(ArchiveError):
        roadmask.open_masks("nope.zip")


def test_importing_roadmask_does_not_wait_for_opencv() -> None:
    code = "import roadmask, sys; roadmask.load; print('PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
