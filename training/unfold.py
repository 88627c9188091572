"""A network to train on, out of an exported model file: weights as they stand there, and batch norms made anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .batches import to_input
from .encoder import STRIDE
from .errors import CheckpointError
from .unet import UNet


def load_unfolded(network: UNet, path: Path, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Fill `network` with the weights of an exported model of the same shape.

    An export folds each batch norm into its convolution. Here the convolution keeps the folded weights, and the norm
    gets the mean and variance that its input has on `pictures`, (height, width, 3) of one size, with the scale and
    shift that undo them: the network computes what the file computes, and can be trained on.

    Raises:
        CheckpointError: the file is of a network of another shape, or not one of roadmask's float models.
    """
    folded = _convolutions(path)
    layers = _in_order(network)
    if [layer.weight.shape for layer in layers] != [weight.shape for weight, _ in folded]:
        raise CheckpointError(f"{path}: is of a network of another shape")
    norms = dict(_norms(network))
    with torch.no_grad():
        for layer, (weight, bias) in zip(layers, folded, strict=True):
            layer.weight.copy_(weight)
            (norms[layer] if layer.bias is None else layer).bias.copy_(bias)  # type: ignore[union-attr]
        _measure(network, norms.values(), to_input(pictures, next(network.parameters()).device))


def _convolutions(path: Path) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of each, in the order in which they are computed."""
    try:
        import onnx
        from onnx import numpy_helper
    except ModuleNotFoundError as exc:
        raise CheckpointError(
            f"{path}: to start from a model file, install onnx: pip install 'roadmask[export]'"
        ) from exc
    try:
        graph = onnx.load(path).graph
    except OSError as exc:
        raise CheckpointError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    except Exception as exc:  # protobuf's errors have no base that onnx names
        raise CheckpointError(f"{path}: not an ONNX file, or damaged") from exc
    values = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1] in values:
            weight = values[node.input[1]]
            found.append((weight, values[node.input[2]] if len(node.input) > 2 else torch.zeros(len(weight))))
    if not found:
        raise CheckpointError(f"{path}: holds no network in float to train on")
    return found


def _in_order(network: UNet) -> list[nn.Conv2d]:
    """The convolutions as they are computed, which is how an export writes them."""
    layers: list[nn.Conv2d] = []
    handles = [
        module.register_forward_pre_hook(lambda layer, _: layers.append(layer))
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    device = next(network.parameters()).device
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, STRIDE, STRIDE, device=device))
    for handle in handles:
        handle.remove()
    return layers


def _norms(network: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution with the batch norm behind it, which is defined right after it."""
    layers = [module for module in network.modules() if not list(module.children())]
    for layer, after in pairwise(layers):
        if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
            yield layer, after


def _measure(network: UNet, norms: Iterable[nn.BatchNorm2d], pictures: Tensor) -> None:
    """Give each norm the statistics of its input; from first to last in one pass, as each is right when it is met."""

    def adopt(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        (features,) = inputs
        mean, variance = features.mean((0, 2, 3)), features.var((0, 2, 3), unbiased=False)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean)

    handles = [norm.register_forward_pre_hook(adopt) for norm in norms]
    network.eval()
    network(pictures)
    for handle in handles:
        handle.remove()
