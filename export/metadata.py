"""What a model file says of itself: the writer of the spec that `stream/spec.py` reads."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import onnx

from ..stream.spec import METADATA_KEY
from ..training.checkpoint import Checkpoint
from ..training.dataset import Color

INPUT_NAME = "image"
OUTPUT_NAME = "scores"

# What ONNX defines for tensors of type IMAGE (onnx/docs/MetadataProps.md); other tools read it.
_ONNX_IMAGE = {
    "Image.BitmapPixelFormat": "Rgb8",
    "Image.ColorSpaceGamma": "SRGB",
    "Image.NominalPixelRange": "NominalRange_0_255",
}
# Of everything in a checkpoint only these are handed on. Its settings also hold folders of the person who trained it.
_PROVENANCE = ("data", "license_note", "start_from", "teachers", "commit", "torch", "started")
_RECIPE = (
    "epochs",
    "budget_s",
    "batch",
    "size",
    "crop",
    "lr",
    "encoder_lr",
    "class_weight_offset",
    "weights",
    "convolution",
    "decoder",
    "encoder",
    "context",
    "seed",
)


def metadata(checkpoint: Checkpoint) -> dict[str, str]:
    """The metadata of the ONNX file; the same for the same checkpoint, so no date of export."""
    return {METADATA_KEY: json.dumps(spec(checkpoint), allow_nan=False), **_ONNX_IMAGE}


def quantized_metadata(model: onnx.ModelProto, note: str) -> dict[str, str]:
    """The metadata of `model` for a file of other numbers.

    It keeps the classes, the input and where the weights come from, and loses the scores and what is familiar: they
    are not its own.
    """
    known = {item.key: item.value for item in model.metadata_props}
    content = json.loads(known[METADATA_KEY])
    content.pop("familiar", None)
    provenance = {**content["provenance"], "quantization": note, "scores": {}}
    return {**known, METADATA_KEY: json.dumps({**content, "provenance": provenance}, allow_nan=False)}


def familiar_metadata(model: onnx.ModelProto, familiar: dict[str, float]) -> dict[str, str]:
    """The metadata of `model` with what is familiar to it."""
    known = {item.key: item.value for item in model.metadata_props}
    content = {**json.loads(known[METADATA_KEY]), "familiar": familiar}
    return {**known, METADATA_KEY: json.dumps(content, allow_nan=False)}


def spec(checkpoint: Checkpoint) -> dict[str, Any]:
    """Schema 1, as `stream/spec.py` documents it."""
    return spec_of(
        {"height": checkpoint.input_height, "width": checkpoint.input_width, "stride": checkpoint.stride},
        zip(checkpoint.class_names, checkpoint.class_colors, strict=True),
        {**_provenance(checkpoint), "scores": _finite(checkpoint.scores)},
    )


def spec_of(
    sides: Mapping[str, Any], classes: Iterable[tuple[str, Color]], provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """The same of any network whose input and output are as ours; `sides` is what holds of its pictures' size."""
    return {
        "schema": 1,
        "input": {"name": INPUT_NAME, "layout": "NHWC", "dtype": "uint8", "color": "RGB", **sides},
        "output": {"name": OUTPUT_NAME, "layout": "NCHW", "dtype": "float32", "kind": "scores"},
        "classes": [{"name": name, "color": list(color)} for name, color in classes],
        "provenance": dict(provenance),
    }


def _provenance(checkpoint: Checkpoint) -> dict[str, str]:
    known = {key: str(checkpoint.provenance.get(key, "")) for key in _PROVENANCE}
    known["recipe"] = _recipe(checkpoint)
    return {key: value for key, value in known.items() if value}


def _recipe(checkpoint: Checkpoint) -> str:
    """As in "epochs 40, batch 8, crop 288x384, weights imagenet"; a text that could be a path is left out."""
    settings, network = checkpoint.settings, checkpoint.network
    shape = {
        "convolution": network.convolution,
        "decoder": network.decoder_channels,
        "encoder": network.encoder,
        "context": network.context,
    }
    facts = []
    for key in _RECIPE:
        value = settings.get(key)
        if value is None and key in settings:  # what was not asked for is as another network had it
            value = shape.get(key)
        if key == "epochs" and settings.get("budget_s"):
            continue  # it ended by its time
        if isinstance(value, (list, tuple)):
            is_size = key in ("size", "crop")  # kept height first, said width first
            value = ("x" if is_size else "-").join(map(str, reversed(value) if is_size else value))
        elif value is None or (isinstance(value, str) and not value.isidentifier()):
            continue
        facts.append(f"{key} {value}")
    return ", ".join(facts)


def _finite(scores: dict[str, Any]) -> dict[str, float]:
    """Without the IoU of classes that do not occur, which is nan: JSON has no such number."""
    return {key: float(value) for key, value in scores.items() if math.isfinite(value)}
