"""What a network can be: the names of its parts, its sizes and their limits. The options name them, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EncoderName = Literal["lite0", "lite1", "lite2"]  # EfficientNet-Lite
Weights = Literal["imagenet", "none"]  # that an encoder starts from
Convolution = Literal["separable", "plain"]
Context = Literal["none", "wide"]

SCALES = 5  # of an encoder's features, at strides 2, 4, 8, 16, 32
STRIDE = 32
MAX_PIXELS = 4096 * 2304  # of a picture, 4K; stream/spec.py allows no more
MAX_CHANNELS = 4096  # of a stage of the decoder; 256 is a lot


@dataclass(frozen=True, slots=True)
class UNetSettings:
    """What rebuilds a network of the same shape; stored in every checkpoint."""

    class_count: int
    decoder_channels: tuple[int, int, int, int] = (128, 64, 48, 32)  # at strides 16, 8, 4, 2
    convolution: Convolution = "separable"
    dropout: float = 0.1  # share of channels dropped before the classifier, in training
    encoder: EncoderName = "lite0"
    context: Context = "none"  # what the deepest features see beside their neighbours


def nearest_multiple(side: float) -> int:
    """Of `STRIDE`, as the sides of the network's input must be; one at least."""
    return max(round(side / STRIDE), 1) * STRIDE
