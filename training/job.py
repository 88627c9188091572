"""What stays the same from the first step of a run to the last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .augment import Soft
from .batches import Key, Pictures, steps_in
from .checkpoint import Checkpoint
from .device import Autocast, choose_autocast, choose_device, precision_name
from .errors import CheckpointError, DataError, TrainingError
from .evaluate import of_shape
from .few import as_before, fitted
from .label_pictures import VOID
from .labels import Labels
from .loss import LossWeights, class_weights
from .mixture import Mixture, Part, meaning, open_mixture
from .provenance import provenance
from .run_folder import check_same_data
from .settings import SettledSettings, TrainSettings, check, from_plain, settled
from .shape import STRIDE, UNetSettings
from .trained import load_trained

# Pixels that are sane where nobody says how many.
_LARGE, _SEEN = 1 << 20, 960 * 544  # of a picture that the network sees smaller, and as how many it sees it
_MOST_CROP, _CROP = 400_000, 512 * 384  # of a whole picture as a crop, and of a crop of more than that

OnMessage = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A run before its first step: settings, pictures, sizes, device."""

    settings: SettledSettings
    labels: Labels
    parts: tuple[Part, ...]
    pictures: Pictures
    network: UNetSettings
    parent: Checkpoint | None  # to start from
    teachers: tuple[Checkpoint, ...]
    size: tuple[int, int]  # (height, width) at validation
    crop: tuple[int, int]  # in training
    device: torch.device
    autocast: Autocast
    loss_weights: LossWeights
    provenance: dict[str, str]
    soft: Mapping[Key, Soft] | None = None  # what the teachers say of each training picture, once they are asked

    @property
    def batch(self) -> int:
        """Crops a step; all of an epoch where it has fewer than were asked for."""
        return min(self.settings.batch, self._crops_per_epoch)

    @property
    def steps_per_epoch(self) -> int:
        return steps_in(self._crops_per_epoch, self.settings.batch)

    @property
    def meanings(self) -> list[dict[str, str]]:
        """What the classes of each data set stand for."""
        return [meaning(part, self.labels) for part in self.parts]

    @property
    def _crops_per_epoch(self) -> int:
        return self.settings.passes * sum(len(part.split.train) for part in self.parts)


def prepare(asked: TrainSettings, previous: Checkpoint | None, say: OnMessage) -> Job:
    """Check and choose everything before the first step; a resumed run keeps what it began with.

    Raises:
        DataError: a data set is unusable.
        CheckpointError: what to go on with, to start from or to be taught by is unusable, or does not fit.
        TrainingError: the device is not there.
    """
    device = choose_device(asked.device)
    autocast = choose_autocast(asked.precision, device)
    mixture = open_mixture(asked)
    labels, parts = mixture.labels, mixture.parts
    if previous:
        settings, why = as_before(asked, settled(from_plain(previous.settings))), ""
    else:
        settings, why = fitted(asked, sum(len(part.split.train) for part in parts if part.horizon is None))
        check(settings)
    parent = load_trained(settings.start_from) if settings.start_from and not previous else None
    teachers = tuple(load_trained(name) for name in settings.teachers)
    _check_teachers(teachers, settings, labels)
    pictures = Pictures(parts)
    shares = _read_all(parts, pictures, len(labels.class_names))
    height, width = pictures.read(0, parts[0].split.train[0])[1].shape
    size = settings.size or _input_size(height, width)
    crop = settings.crop or _crop(size)
    job = Job(
        settings=settings,
        labels=labels,
        parts=parts,
        pictures=pictures,
        network=previous.network if previous else _network(settings, len(labels.class_names), parent),
        parent=parent,
        teachers=teachers,
        size=size,
        crop=crop,
        device=device,
        autocast=autocast,
        loss_weights=LossWeights(
            members=torch.from_numpy(labels.members).to(device),
            classes=class_weights(torch.from_numpy(shares).float(), settings.class_weight_offset).to(device),
            label_smoothing=settings.label_smoothing,
            of_set=settings.of_set,
            distill=settings.distill,
        ),
        provenance=previous.provenance if previous else provenance(settings, parts, parent, teachers),
    )
    if previous:
        check_same_data(previous, labels.class_names, job.meanings)
    _check_batch_norm(job)
    for line in (*_described(mixture, device, autocast), *([why] if why else [])):
        say(line)
    for part in parts:
        if without := part.split.without:
            some = ", ".join(example.name for example in without[:3]) + (", ..." if len(without) > 3 else "")
            say(f"{part.name}: {len(without)} pictures have no label, and are left out: {some}")
        if strays := part.dataset.reader.strays:
            say(f"{part.name}: {sum(strays.values())} pixels of {len(strays)} labels are in colours of no class: void")
        if shades := part.dataset.reader.shades:
            say(f"{part.name}: {sum(shades.values())} pixels of {len(shades)} labels are a shade off a class's colour")
    if crop != (settings.crop or size) or (settings.size is None and _is_reduced(size, height, width)):
        say(
            f"pictures are {width}x{height}: the network sees them at {size[1]}x{size[0]}, and learns from crops of "
            f"{crop[1]}x{crop[0]} (--size, --crop)"
        )
    return job


def _network(settings: TrainSettings, class_count: int, parent: Checkpoint | None) -> UNetSettings:
    """As it is asked for; what is left open is as `parent` has it. Context may be new."""
    known = parent.network if parent else UNetSettings(class_count)
    asked: dict[str, Any] = {
        "encoder": settings.encoder,
        "decoder_channels": settings.decoder,
        "convolution": settings.convolution,
        "context": settings.context,
    }
    others = {name: value for name, value in asked.items() if value not in (None, getattr(known, name))}
    if parent and others and (others.keys() != {"context"} or known.context != "none"):
        raise CheckpointError(
            f"{settings.start_from}: is of another shape; leave its options away, or pass "
            f"--decoder {','.join(map(str, known.decoder_channels))} --convolution {known.convolution} "
            f"--encoder {known.encoder} --context {known.context}"
        )
    return replace(known, class_count=class_count, dropout=settings.dropout, **others)


def _check_teachers(teachers: Sequence[Checkpoint], settings: TrainSettings, labels: Labels) -> None:
    for name, teacher in zip(settings.teachers, teachers, strict=True):
        if teacher.class_names != labels.class_names:
            raise CheckpointError(
                f"{name}: teaches {', '.join(teacher.class_names)}; to be learnt are {', '.join(labels.class_names)}, "
                "and a teacher is to know these; train one on them first"
            )
    if teachers and not settings.distill and not (labels.sets and settings.of_set):
        raise TrainingError(
            "nothing is asked of the teacher: no label stands for several classes, so raise its share of the others, "
            "as in --distill 0.3"
        )


def _read_all(parts: Sequence[Part], pictures: Pictures, class_count: int) -> NDArray[np.float64]:
    """Every picture and label once, so that bad ones are found before training.

    Returns:
        The share of each class among the training pixels of the first data set that show one class for certain.
    """
    counts = np.zeros(256, np.int64)
    for number, part in enumerate(parts):
        for examples in (part.split.train, part.split.valid):
            known = np.zeros(256, np.int64)
            for example in examples:
                known += np.bincount(pictures.read(number, example)[1].ravel(), minlength=256)
            if examples and not known[:VOID].any():
                raise DataError(
                    f"{part.dataset.root}: every pixel of the labels is void; "
                    "look at them: roadmask data DATA -o sheet.png"
                )
            if number == 0 and examples is part.split.train:
                counts = known
    return np.asarray(counts[:class_count] / max(counts[:class_count].sum(), 1), np.float64)


def _described(mixture: Mixture, device: torch.device, autocast: Autocast) -> list[str]:
    """For people: what is learnt from, and where."""
    what = f"{len(mixture.labels.class_names)} classes; {device.type}, {precision_name(autocast)}"
    first, *others = mixture.parts
    if not others:
        return [f"{_counted(first)}; {what}"]
    return [*(f"{part.share:.0%} of each batch from {part.name}: {_counted(part)}" for part in mixture.parts), what]


def _counted(part: Part) -> str:
    if part.horizon is not None:
        return f"{len(part.split.train)} pictures without labels"
    by = f" (by {part.split.valid_by})" if part.split.valid else ""
    return f"{len(part.split.train)} pictures to train on, {len(part.split.valid)} to score on{by}"


def _input_size(height: int, width: int) -> tuple[int, int]:
    """That of the first picture, down to multiples of the stride; of a large one less, in its shape."""
    if height * width > _LARGE:
        return of_shape((1, _SEEN), (height, width))
    return max(height // STRIDE, 1) * STRIDE, max(width // STRIDE, 1) * STRIDE


def _is_reduced(size: tuple[int, int], height: int, width: int) -> bool:
    return height - size[0] >= STRIDE or width - size[1] >= STRIDE


def _crop(size: tuple[int, int]) -> tuple[int, int]:
    """All that the network sees, or a part in its shape: a batch of large ones is too much for most machines."""
    return of_shape((1, _CROP), size) if size[0] * size[1] > _MOST_CROP else size


def _check_batch_norm(job: Job) -> None:
    """Batch norm needs two values a channel; the deepest features have (height / 32) x (width / 32) of each picture."""
    height, width = job.crop
    if job.batch * (height // STRIDE) * (width // STRIDE) < 2:
        raise DataError(f"one crop of {width}x{height} is too little for a batch; raise --batch or --crop")
