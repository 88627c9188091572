"""The network: an EfficientNet-Lite encoder and a U-Net decoder that ends at half the input's size."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .encoder import EfficientNetLite
from .shape import STRIDE, Convolution, UNetSettings


class UNet(nn.Module):
    """Normalised pictures (batch, 3, height, width) to class scores (batch, classes, height / 2, width / 2).

    The head stays at half size: whoever decides the labels enlarges the scores to the picture's own size, which
    may differ from the network's anyway.
    """

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = EfficientNetLite(settings.encoder)
        *skips, channels = self.encoder.channels
        self.context = WideContext(channels) if settings.context == "wide" else nn.Identity()
        self.decoder = nn.ModuleList()
        for skip, out_channels in zip(reversed(skips), settings.decoder_channels, strict=True):
            self.decoder.append(_DecoderBlock(channels, skip, out_channels, settings.convolution))
            channels = out_channels
        self.dropout = nn.Dropout2d(settings.dropout)
        self.classifier = nn.Conv2d(channels, settings.class_count, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.dropout(self.features(pictures)))
        return scores

    def features(self, pictures: Tensor) -> Tensor:
        """What the classifier goes by: (batch, channels, height / 2, width / 2)."""
        height, width = pictures.shape[-2:]
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        if not tracing and (height % STRIDE or width % STRIDE):
            raise ValueError(f"height and width must be multiples of {STRIDE}, got {height} x {width}")
        *skips, x = self.encoder(pictures)
        x = self.context(x)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(x, skip)
        features: Tensor = x
        return features


class WideContext(nn.Module):
    """Adds to the deepest features what lies far from each: a wide filter, the mean of its row, and of the picture.

    Rows and the whole say where the sky can be (Choi, Kim, Choo: "Cars can't fly up in the sky", 2020; Hou et al.:
    "Strip pooling", 2020). It begins as nothing, so that a network trained without it can go on with it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = 128
        self.narrow = nn.Sequential(nn.Conv2d(channels, middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU())
        self.filters = nn.ModuleList(_wide_filter(middle) for _ in range(2))
        self.row = nn.Conv2d(middle, middle, (5, 1), padding=(2, 0))
        self.whole = nn.Conv2d(middle, middle, 1)
        self.widen = nn.Sequential(nn.Conv2d(middle, channels, 1, bias=False), nn.BatchNorm2d(channels))
        nn.init.zeros_(self.widen[1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.narrow(x)
        for layer in self.filters:
            y = y + layer(y)
        rows = y.mean(dim=3, keepdim=True)
        y = functional.relu(y + self.row(rows) + self.whole(rows.mean(dim=2, keepdim=True)))
        widened: Tensor = self.widen(y)
        return x + widened


def _wide_filter(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 7, padding=3, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


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
