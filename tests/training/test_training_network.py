"""The network, its loss and its checkpoint."""

from __future__ import annotations

import errno
import importlib.util
import math
import pickle
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from torch import Tensor

from roadmask.training import checkpoint as checkpoints
from roadmask.training.checkpoint import Checkpoint, finished, load, save
from roadmask.training.encoder import EfficientNetLite, imagenet_package, load_imagenet
from roadmask.training.errors import CheckpointError
from roadmask.training.label_pictures import VOID
from roadmask.training.loss import LossWeights, class_weights, segmentation_loss
from roadmask.training.shape import Convolution, EncoderName, UNetSettings
from roadmask.training.unet import UNet, WideContext
from tests.support.full_disk import full_disk


def small_network() -> UNet:
    torch.manual_seed(0)
    return UNet(UNetSettings(3, decoder_channels=(8, 8, 8, 8))).eval()


@pytest.mark.parametrize("convolution", ["separable", "plain"])
def test_the_networks_scores_are_half_the_pictures_size(convolution: Convolution) -> None:
    network = UNet(UNetSettings(5, (8, 8, 8, 8), convolution)).eval()
    assert network(torch.zeros(2, 3, 64, 96)).shape == (2, 5, 32, 48)


@pytest.mark.parametrize(("height", "width"), [(64, 95), (33, 96)])
def test_a_size_the_network_cannot_take_is_named(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"multiples of 32, got {height} x {width}"):
        small_network()(torch.zeros(1, 3, height, width))


def test_the_encoder_halves_its_features_five_times() -> None:
    encoder = EfficientNetLite().eval()
    features = encoder(torch.zeros(1, 3, 64, 96))
    sizes = [(64 // stride, 96 // stride) for stride in (2, 4, 8, 16, 32)]
    assert [tuple(feature.shape[2:]) for feature in features] == sizes
    assert tuple(feature.shape[1] for feature in features) == encoder.channels


# Of the TPU repository's efficientnet-lite: width and depth 1.0 and 1.1, 1.1 and 1.2; first and last stage not deeper.
@pytest.mark.parametrize(
    ("name", "channels", "block_count"),
    [
        ("lite0", (16, 24, 40, 112, 320), 16),
        ("lite1", (16, 24, 40, 112, 320), 21),
        ("lite2", (16, 24, 48, 120, 352), 21),
    ],
)
def test_larger_encoders_are_wider_and_deeper(name: EncoderName, channels: tuple[int, ...], block_count: int) -> None:
    encoder = EfficientNetLite(name).eval()
    assert encoder.channels == channels
    assert len(encoder._blocks) == block_count
    features = encoder(torch.zeros(1, 3, 32, 64))
    assert [tuple(feature.shape[1:]) for feature in features] == [
        (count, 32 // stride, 64 // stride) for count, stride in zip(channels, (2, 4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("name", ["lite0", "lite2"])
def test_the_encoders_groups_hold_each_weight_once(name: EncoderName) -> None:
    encoder = EfficientNetLite(name)
    grouped = [value for scale in encoder.scales() for module in scale for value in module.parameters()]
    assert sorted(map(id, grouped)) == sorted(map(id, encoder.parameters()))


@pytest.mark.parametrize("name", ["lite0", "lite1", "lite2"])
def test_the_imagenet_weights_fill_the_encoder_completely(name: EncoderName) -> None:
    if importlib.util.find_spec(imagenet_package(name).replace("-", "_")) is None:
        pytest.skip(f"{imagenet_package(name)} is not installed")
    encoder = EfficientNetLite(name)
    with torch.no_grad():
        for value in [*encoder.parameters(), *(buffer for buffer in encoder.buffers() if buffer.is_floating_point())]:
            value.fill_(math.nan)
    load_imagenet(encoder)
    assert all(bool(value.isfinite().all()) for value in encoder.state_dict().values())


def test_context_begins_as_nothing() -> None:
    """So that a network trained without it can go on with it, in training too."""
    torch.manual_seed(0)
    context = WideContext(320)
    features = torch.randn(2, 320, 3, 5)
    assert torch.equal(context(features), features)
    assert torch.equal(context.eval()(features), features)
    context.train()(features).square().mean().backward()
    assert context.widen[1].weight.grad.abs().max() > 0  # but can become something


def test_a_network_with_context_and_a_larger_encoder_scores_at_half_size_too() -> None:
    network = UNet(UNetSettings(5, (8, 8, 8, 8), encoder="lite2", context="wide")).eval()
    assert network(torch.zeros(2, 3, 64, 96)).shape == (2, 5, 32, 48)


def weights_of(classes: list[float], *, label_smoothing: float = 0.0) -> LossWeights:
    """Of labels that stand for one class each."""
    return LossWeights(torch.eye(len(classes), dtype=torch.bool), torch.tensor(classes), label_smoothing)


def random_case() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 3, 4, 4, generator=generator)
    masks = torch.randint(0, 3, (2, 4, 4), generator=generator)
    masks[:, 2:] = VOID
    return scores, masks


def test_scores_under_void_change_nothing() -> None:
    scores, masks = random_case()
    weights = weights_of([0.5, 1.0, 1.5], label_smoothing=0.05)
    loss = segmentation_loss(scores, masks, weights)
    scores[:, :, 2:] = 1e4
    assert segmentation_loss(scores, masks, weights) == loss


def test_the_loss_is_the_weighted_mean_over_known_pixels() -> None:
    # Two known pixels with scores (0, ln 3): shares 1/4 and 3/4; weights 1 and 2; the third pixel is void.
    scores = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    masks = torch.tensor([[[0, 1, VOID]]])
    loss = segmentation_loss(scores, masks, weights_of([1.0, 2.0]))
    assert float(loss) == pytest.approx((math.log(4) + 2 * math.log(4 / 3)) / 3)


def test_all_void_gives_no_loss_and_finite_gradients() -> None:
    scores = random_case()[0].requires_grad_()
    masks = torch.full((2, 8, 8), VOID)
    loss = segmentation_loss(scores, masks, weights_of([1.0, 1.0, 1.0], label_smoothing=0.05))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_rare_classes_weigh_more_and_the_mean_weight_is_one() -> None:
    weights = class_weights(torch.tensor([0.9, 0.1, 0.0]), 1.1)
    assert weights[0] < weights[1] < weights[2]
    assert float(weights.mean()) == pytest.approx(1)
    assert float(weights[2] / weights[0]) == pytest.approx(math.log(2.0) / math.log(1.1))


def small_checkpoint() -> Checkpoint:
    network = small_network()
    return Checkpoint(
        network=network.settings,
        weights=network.state_dict(),
        class_names=("Sky", "Road", "Car"),
        class_colors=((1, 2, 3), (4, 5, 6), (7, 8, 9)),
        input_mean=127.0,
        input_std=128.0,
        input_height=64,
        input_width=96,
        stride=32,
        settings={"epochs": 3, "decoder": [8, 8, 8, 8]},
        provenance={"data": "made in a test"},
        scores={"miou": 0.5},
        progress={"epoch": 1},
    )


def test_a_checkpoint_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = small_checkpoint()
    save(written, tmp_path / "a.pt")
    read = load(tmp_path / "a.pt")
    for name in Checkpoint.__slots__:
        if name != "weights":
            assert getattr(read, name) == getattr(written, name)
    pictures = torch.rand(1, 3, 64, 96)
    assert torch.equal(read.build()(pictures), small_network()(pictures))
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_a_finished_model_leaves_out_what_only_resuming_needs() -> None:
    assert finished(small_checkpoint()).progress is None


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_dies_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    path = tmp_path / "last.pt"
    save(small_checkpoint(), path)
    before = path.read_bytes()

    def half(_content: object, file: IO[bytes]) -> None:
        file.write(before[:1000])
        raise fault

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises((CheckpointError, KeyboardInterrupt), match=r"No space left|^$"):
        save(small_checkpoint(), path)
    assert path.read_bytes() == before
    assert [left.name for left in tmp_path.iterdir()] == ["last.pt"]


def test_a_disk_that_is_full_is_one_line_whatever_torch_makes_of_it(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save(small_checkpoint(), path)
    before = path.read_bytes()
    with (
        full_disk(len(before) // 2),
        pytest.raises(CheckpointError, match=r"\(File too large\); make room, then go on"),
    ):
        save(small_checkpoint(), path)
    assert path.read_bytes() == before
    assert [left.name for left in tmp_path.iterdir()] == ["last.pt"]


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)

    def __init__(self, path: str) -> None:
        self.path = path


def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"format": "roadmask-checkpoint", "version": 1, "trap": _Trap(str(tmp_path / "ran"))}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError):
        load(tmp_path / "a.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content", [b"", b"hello there\n", b"PK\x03\x04 cut off", pickle.dumps({"a": 1}, protocol=2), b"\x89PNG\r\n\x1a\n"]
)
def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.pt: not a checkpoint") as raised:
        load(tmp_path / "a.pt")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}}, "not a checkpoint written by 'roadmask train'"),
        ({"format": "roadmask-checkpoint", "version": checkpoints.VERSION + 1}, "newer than this roadmask"),
        ({"format": "roadmask-checkpoint", "version": 1}, "'network' is missing"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, content: dict[str, object], message: str) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "a.pt")


def test_a_cut_off_checkpoint_is_refused(tmp_path: Path) -> None:
    save(small_checkpoint(), tmp_path / "a.pt")
    content = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "a.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="not a checkpoint, or damaged"):
        load(tmp_path / "a.pt")


def test_a_checkpoint_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load(tmp_path / "a.pt")
