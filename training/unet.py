"""The network: an EfficientNet-Lite0 encoder and a U-Net decoder that ends at half the input's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from .encoder import CHANNELS, STRIDE, EfficientNetLite0

Convolution = Literal["separable", "plain"]


@dataclass(frozen=True, slots=True)
class UNetSettings:
    """What rebuilds a network of the same shape; stored in every checkpoint."""

    class_count: int
    decoder_channels: tuple[int, int, int, int] = (128, 64, 48, 32)  # at strides 16, 8, 4, 2
    convolution: Convolution = "separable"
    dropout: float = 0.1  # share of channels dropped before the classifier, in training


class UNet(nn.Module):
    """Normalised pictures (batch, 3, height, width) to class scores (batch, classes, height / 2, width / 2).

    The head stays at half size: whoever decides the labels enlarges the scores to the picture's own size, which
    may differ from the network's anyway.
    """

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = EfficientNetLite0()
        self.decoder = nn.ModuleList()
        channels = CHANNELS[-1]
        for skip, out_channels in zip(reversed(CHANNELS[:-1]), settings.decoder_channels, strict=True):
            self.decoder.append(_DecoderBlock(channels, skip, out_channels, settings.convolution))
            channels = out_channels
        self.dropout = nn.Dropout2d(settings.dropout)
        self.classifier = nn.Conv2d(channels, settings.class_count, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        height, width = pictures.shape[-2:]
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        if not tracing and (height % STRIDE or width % STRIDE):
            raise ValueError(f"height and width must be multiples of {STRIDE}, got {height} x {width}")
        *skips, x = self.encoder(pictures)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(x, skip)
        scores: Tensor = self.classifier(self.dropout(x))
        return scores


class _DecoderBlock(nn.Module):
    """Enlarge twofold, join the encoder's features of that size, filter twice."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, convolution: Convolution) -> None:
        super().__init__()
        layer = _separable if convolution == "separable" else _plain
        # Narrowing before enlarging costs a quarter of narrowing after it, and is the same linear map.
        self.narrow = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))
        self.filter = nn.Sequential(
            layer(out_channels + skip_channels, out_channels), layer(out_channels, out_channels)
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = functional.interpolate(self.narrow(x), scale_factor=2.0, mode="bilinear")
        filtered: Tensor = self.filter(torch.cat([x, skip], dim=1))
        return filtered


def _plain(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def _separable(in_channels: int, out_channels: int) -> nn.Sequential:
    """A 3x3 filter on each channel, then a 1x1 across them (Chollet, "Xception", 2017)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False),
        nn.BatchNorm2d(in_channels),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
