"""The self-describing checkpoint: a plain dict that says everything export and resume need."""

from __future__ import annotations

import os
import pickle
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from .camvid import Color
from .errors import CheckpointError
from .unet import UNet, UNetSettings

_FORMAT = "roadmask-checkpoint"
VERSION = 1


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
    scores: dict[str, Any]  # on the validation pictures
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
    except OSError as exc:
        raise CheckpointError(f"{path}: cannot be written ({exc.strerror or exc})") from exc
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
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, TypeError, ValueError) as exc:
        # Each of these is what torch says of some kind of foreign file; a text file can be a LookupError.
        raise CheckpointError(f"{path}: not a checkpoint, or damaged") from exc
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint written by 'roadmask train'")
    try:
        if content["version"] > VERSION:
            raise CheckpointError(f"{path}: version {content['version']} is newer than this roadmask; upgrade it")
        return _from_content(content)
    except (LookupError, TypeError) as exc:
        raise CheckpointError(f"{path}: a checkpoint of roadmask, but {exc} is missing or wrong") from exc


def finished(checkpoint: Checkpoint) -> Checkpoint:
    """The model alone, a third of the size: without what only resume needs."""
    return replace(checkpoint, progress=None)


def halved(checkpoint: Checkpoint) -> Checkpoint:
    """A finished model with its weights in half precision, as few bytes as the weights can be kept in."""
    weights = {name: value.half() if value.is_floating_point() else value for name, value in checkpoint.weights.items()}
    return replace(checkpoint, weights=weights, progress=None)


def _from_content(content: dict[str, Any]) -> Checkpoint:
    network = {**content["network"], "decoder_channels": tuple(content["network"]["decoder_channels"])}
    fields = {name: content[name] for name in Checkpoint.__slots__}
    fields["network"] = UNetSettings(**network)
    fields["provenance"] = {key: str(value) for key, value in fields["provenance"].items()}
    fields["class_names"] = tuple(fields["class_names"])
    fields["class_colors"] = tuple(tuple(color) for color in fields["class_colors"])
    return Checkpoint(**fields)


def _fields(checkpoint: Checkpoint) -> dict[str, Any]:
    fields = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    fields["network"] = asdict(checkpoint.network)
    return fields
