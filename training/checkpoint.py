"""The self-describing checkpoint: a plain dict that says everything export and resume need."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from .errors import MAKE_ROOM, CheckpointError
from .field_types import misfit
from .files import Color, is_class_name
from .label_pictures import VOID
from .settings import TrainSettings
from .shape import MAX_CHANNELS, MAX_PIXELS, STRIDE, UNetSettings
from .unet import UNet

_FORMAT = "roadmask-checkpoint"
VERSION = 1
_MOST_TEXT = 1_000_000  # characters of all settings and notes together: they go into every model
_SETTINGS = {**get_type_hints(TrainSettings), "data": str | tuple[str, ...]}  # of 1.0: one folder


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A trained network, or one in the making."""

    network: UNetSettings
    weights: dict[str, Tensor]  # the averaged ones: what to score and to export
    class_names: tuple[str, ...]
    class_colors: tuple[Color, ...]
    input_mean: float  # the network sees (pixel - mean) / std
    input_std: float
    input_height: int  # about as large as the pictures it was trained on; multiples of `stride`
    input_width: int
    stride: int
    settings: dict[str, Any]  # of the run, as `roadmask train` was given them
    provenance: dict[str, str]  # data, licence note, versions, commit
    scores: dict[str, float]  # on the validation pictures
    progress: dict[str, Any] | None  # what resume needs; None in a finished model

    def build(self) -> UNet:
        """The network with its weights, in evaluation mode."""
        network = UNet(self.network)
        network.load_state_dict(self.weights)
        return network.eval()


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write so that `path` always holds a whole checkpoint, also after a power cut.

    Raises:
        CheckpointError: it cannot be written (the disk is full, ...); an older file stays as it was.
    """
    content = {"format": _FORMAT, "version": VERSION, **_fields(checkpoint)}
    # One process writes a run. The name is always the same, so that what a killed one left is written over.
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as exc:  # torch has an error of its own for the one that its file raised
        cause = exc if isinstance(exc, OSError) else exc.__context__
        why = cause.strerror if isinstance(cause, OSError) else exc
        raise CheckpointError(f"{path}: cannot be written ({why}); {MAKE_ROOM}") from exc
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in the file is executed (`weights_only`).

    Raises:
        CheckpointError: no such file, not a roadmask checkpoint, or of a newer version.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        # The first checkpoints hold torch's version in its own class, a str and nothing more.
        with torch.serialization.safe_globals([TorchVersion]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as exc:  # torch has an error of another kind for each kind of foreign file
        raise CheckpointError(f"{path}: not a checkpoint, or damaged; take best.pt or last.pt of a run") from exc
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint written by 'roadmask train'; take best.pt or last.pt of a run")
    version = content.get("version")
    if not isinstance(version, int):
        raise CheckpointError(f"{path}: a checkpoint of roadmask, but its version is missing or no number")
    if version > VERSION:
        raise CheckpointError(f"{path}: of a version that is newer than this roadmask; upgrade it")
    return checked(content, f"{path}: a checkpoint of roadmask, but")


def checked(content: Mapping[str, Any], begin: str) -> Checkpoint:
    """A checkpoint of fields that may come from anywhere.

    Raises:
        CheckpointError: one is missing or wrong; the message goes on from `begin`.
    """
    try:
        return _checked(content)
    except KeyError as exc:
        raise CheckpointError(f"{begin} {exc} is missing") from exc
    except (TypeError, ValueError, RecursionError) as exc:
        raise CheckpointError(f"{begin} {exc}") from exc


def finished(checkpoint: Checkpoint) -> Checkpoint:
    """The model alone, a third of the size: without what only resume needs."""
    return replace(checkpoint, progress=None)


def halved(checkpoint: Checkpoint) -> Checkpoint:
    """A finished model with its weights in half precision, as few bytes as the weights can be kept in."""
    weights = {name: value.half() if value.is_floating_point() else value for name, value in checkpoint.weights.items()}
    return replace(checkpoint, weights=weights, progress=None)


def _checked(content: Mapping[str, Any]) -> Checkpoint:
    """Raises `KeyError`, or `TypeError` or `ValueError` that says what is wrong."""
    fields = {name: content[name] for name in Checkpoint.__slots__}
    if wrong := misfit(fields, get_type_hints(Checkpoint)):
        raise TypeError(f"its {wrong}")
    fields["network"] = network = _network(fields["network"])
    fields["class_names"] = names = tuple(fields["class_names"])
    fields["class_colors"] = colors = tuple(tuple(color) for color in fields["class_colors"])
    fields["provenance"] = {key: str(value) for key, value in fields["provenance"].items()}
    height, width, stride = fields["input_height"], fields["input_width"], fields["stride"]
    if not network.class_count == len(names) == len(colors):
        raise ValueError(f"it has {network.class_count} classes, {len(names)} names and {len(colors)} colours of them")
    if not all(map(is_class_name, names)):
        raise ValueError("a class's name is no word")
    if not all(0 <= value < 256 for color in colors for value in color):
        raise ValueError("a class's colour is not three numbers of 0 to 255")
    if not (math.isfinite(fields["input_mean"]) and 0 < fields["input_std"] < math.inf):
        raise ValueError("its input_mean and input_std are no statistics")
    is_possible = min(height, width) > 0 and height * width <= MAX_PIXELS
    if stride != STRIDE or not is_possible or height % stride or width % stride:
        raise ValueError(f"its input of {width}x{height} in steps of {stride} is none that the network can have")
    if len(json.dumps([fields["settings"], fields["provenance"]])) > _MOST_TEXT:
        raise ValueError("its settings and provenance are of no size that training writes")
    if wrong := misfit(fields["settings"], _SETTINGS):
        raise ValueError(f"its settings' {wrong}")
    if not _fit(fields["weights"], network):
        raise ValueError("the weights do not fit the network that it describes")
    return Checkpoint(**fields)


def _network(content: Mapping[str, Any]) -> UNetSettings:
    network = UNetSettings(**{**content, "decoder_channels": tuple(content["decoder_channels"])})
    if not (
        0 < network.class_count <= VOID
        and all(0 < channels <= MAX_CHANNELS for channels in network.decoder_channels)
        and 0 <= network.dropout <= 1
    ):
        raise ValueError("its network is of no shape that can be")
    return network


def _fit(weights: Mapping[str, Tensor], settings: UNetSettings) -> bool:
    """Whether they are those of such a network, by name, shape and kind."""
    with torch.device("meta"):  # no memory is taken for what a stranger's numbers ask for
        own = UNet(settings).state_dict()
    return weights.keys() == own.keys() and all(
        given.shape == own[name].shape
        and given.is_floating_point() == own[name].is_floating_point()
        and not given.is_complex()
        and (given.layout, given.device.type) == (torch.strided, "cpu")
        for name, given in weights.items()
    )


def _fields(checkpoint: Checkpoint) -> dict[str, Any]:
    fields = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    fields["network"] = asdict(checkpoint.network)
    return fields
