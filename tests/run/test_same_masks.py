"""How the work is shared out changes when masks are done, never what they are."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import process_video, segment_video
from roadmask.stream.run.settings import SegmentSettings
from roadmask.stream.system.machine import computes_in
from tests.support.moving_scene import texture

FRAMES = 5


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene that moves by three pixels a frame."""
    path = tmp_path_factory.mktemp("clip") / "moving.mkv"
    scene = texture(96, 160 + 3 * FRAMES)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, width=160, height=96)
        stream.pix_fmt = "yuv420p"
        for number in range(FRAMES):
            shown = np.ascontiguousarray(scene[:, 3 * number : 3 * number + 160])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def masks_of(clip: Path, model: Model, *, batch: int | None = None, smooth: bool = True) -> list[NDArray[np.uint8]]:
    return [result.mask for result in segment_video(clip, model=model, batch=batch, smooth=smooth)]


@pytest.fixture(scope="module", params=["camvid-lite0", "camvid-lite0-int8"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["cpu", "openvino:fp32", "openvino:bf16"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param != "cpu":
        pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
    if request.param.endswith("bf16") and not computes_in("bf16"):
        pytest.skip("this CPU does not compute in bf16")
    return str(request.param)


@pytest.fixture(scope="module")
def expected(clip: Path, name: str, device: str) -> list[NDArray[np.uint8]]:
    masks = masks_of(clip, Model.load(name, size="small", device=device, threads=1, workers=1))
    assert len(masks) == FRAMES
    assert len(np.unique(masks)) > 2, "the network sees something"
    assert any((mask != masks[0]).any() for mask in masks), "and not always the same"
    return masks


@pytest.mark.parametrize(("threads", "workers", "batch"), [(4, 1, None), (3, 3, None), (1, 1, 3), (4, 2, 2)])
def test_any_threads_workers_and_batch_give_equal_masks_bit_for_bit(
    clip: Path, name: str, device: str, expected: list[NDArray[np.uint8]], threads: int, workers: int, batch: int | None
) -> None:
    model = Model.load(name, size="small", device=device, threads=threads, workers=workers)
    np.testing.assert_array_equal(masks_of(clip, model, batch=batch), expected)


# Whatever device and model they are for: pictures are read, and scores smoothed and enlarged, apart from both.
on_the_cpu = pytest.mark.parametrize(("name", "device"), [("camvid-lite0", "cpu")], indirect=True)


@on_the_cpu
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_opencv_s_threads_do_not_change_a_mask(
    clip: Path, name: str, device: str, expected: list[NDArray[np.uint8]], threads: int
) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        np.testing.assert_array_equal(masks_of(clip, Model.load(name, size="small", device=device)), expected)
    finally:
        cv2.setNumThreads(before)


@on_the_cpu
@pytest.mark.parametrize("depth", [1, 9])
def test_any_queue_depth_gives_equal_masks(
    clip: Path,
    name: str,
    device: str,
    expected: list[NDArray[np.uint8]],
    depth: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("roadmask.stream.run.stages.AHEAD", depth)
    np.testing.assert_array_equal(masks_of(clip, Model.load(name, size="small", device=device)), expected)


def test_a_run_of_several_workers_writes_the_bytes_of_a_run_of_one(clip: Path, device: str, tmp_path: Path) -> None:
    for workers in (1, 3):
        masks = tmp_path / f"{workers}.zip"
        process_video(SegmentSettings(clip, masks=masks), Model.load(size="small", device=device, workers=workers))
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "3.zip").read_bytes()
