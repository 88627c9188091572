"""A network to train on, out of an exported model file: weights as they stand there, and batch norms made anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import torch
from torch import Tensor, nn

from .checkpoint import Checkpoint, checked
from .encoder import INPUT_MEAN, INPUT_STD
from .errors import CheckpointError
from .shape import STRIDE, Context, Convolution, EncoderName, UNetSettings
from .unet import UNet

if TYPE_CHECKING:
    from onnx import ModelProto

_SPEC = "roadmask.spec"  # what the file says of itself, as JSON; `export/metadata.py` writes it
_CONVOLUTIONS_IN_A_BLOCK: dict[Convolution, int] = {"separable": 5, "plain": 3}
_Folded = list[tuple[Tensor, Tensor]]  # weight and bias of each convolution


def read_model(path: Path) -> Checkpoint:
    """The network that an exported model holds.

    An export folds each batch norm into its convolution. Here the convolution keeps the folded weights, and the norm
    adds the bias: the network computes what the file computes. Before it is trained on, `renew_norms`.

    Raises:
        CheckpointError: it cannot be read, is not a model of roadmask's, or is one whose weights are rounded.
    """
    model = _load(path)
    spec = _spec(model, path)
    if rounded := str(spec["provenance"].get("quantization", "")).partition(":")[0]:
        raise CheckpointError(f"{path}: its weights are rounded ({rounded}); give {_float_twin(path)}")
    folded = _convolutions(model, path)
    network = UNet(_shape(folded, path))
    _fill(network, folded)
    fields = {
        "network": asdict(network.settings),
        "weights": network.state_dict(),
        "input_mean": INPUT_MEAN,
        "input_std": INPUT_STD,
        "stride": STRIDE,
        "settings": {},  # a model file does not keep them
        "progress": None,
    }
    return checked({**spec, **fields}, f"{path}: a model of roadmask, but")


@torch.no_grad()
def renew_norms(network: UNet, pictures: Tensor) -> None:
    """Give each norm the mean and variance of its input on `pictures`, and the scale and shift that undo the change.

    `pictures` are normalised, (batch, 3, height, width). The network computes what it did; what changes is that its
    norms hold in training, where they go by the statistics of a batch.
    """

    def renew(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        """Right when it is met: all before it have been, so that one pass does."""
        (features,) = inputs
        before, mean = _statistics(norm)
        scale, shift = norm.weight / before, norm.bias - norm.weight / before * mean  # x to scale x + shift
        norm.running_mean = features.mean((0, 2, 3))
        norm.running_var = features.var((0, 2, 3), unbiased=False)
        deviation, mean = _statistics(norm)
        norm.weight.copy_(scale * deviation)
        norm.bias.copy_(shift + scale * mean)

    handles = [norm.register_forward_pre_hook(renew) for _, norm in _norms(network)]
    network.eval()(pictures)
    for handle in handles:
        handle.remove()


def _load(path: Path) -> ModelProto:
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise CheckpointError(f"{path}: not a file")
    try:
        import onnx
    except ModuleNotFoundError as exc:
        raise CheckpointError(f"{path}: to read a model file, install onnx: pip install onnx") from exc
    try:
        return onnx.load(path, load_external_data=False)
    except OSError as exc:
        raise CheckpointError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    except Exception as exc:  # protobuf's errors have no base that onnx names
        raise CheckpointError(f"{path}: not an ONNX file, or damaged; copy it again, or export it again") from exc


def _spec(model: ModelProto, path: Path) -> dict[str, Any]:
    """What a model file says of itself, as fields of a checkpoint; `stream/spec.py` has all of it."""
    text = next((item.value for item in model.metadata_props if item.key == _SPEC), "")
    try:
        content = json.loads(text)
        provenance = dict(content["provenance"])
        return {
            "class_names": [item["name"] for item in content["classes"]],
            "class_colors": [item["color"] for item in content["classes"]],
            "input_height": content["input"]["height"],
            "input_width": content["input"]["width"],
            "scores": provenance.pop("scores", {}),
            "provenance": provenance,
        }
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as exc:
        raise CheckpointError(f"{path}: does not describe itself ({_SPEC}), as a model of roadmask does") from exc


def _float_twin(path: Path) -> str:
    twin = path.with_name(path.name.replace("-int8", "").replace("-fp16", ""))
    return str(twin) if twin != path and twin.is_file() else "the float32 model that it was made of"


def _convolutions(model: ModelProto, path: Path) -> _Folded:
    """In the order in which they are computed."""
    from onnx import TensorProto, numpy_helper

    # Another file that a stranger's model names is not even opened.
    tensors = {item.name: item for item in model.graph.initializer if item.data_location != TensorProto.EXTERNAL}
    found = []
    try:
        for node in model.graph.node:
            if node.op_type == "Conv":
                values = (numpy_helper.to_array(tensors[name]).copy() for name in node.input[1:])
                weight, *others = map(torch.from_numpy, values)
                bias = others[0] if others else torch.zeros(len(weight))
                found.append((weight, bias))
    except (KeyError, ValueError, TypeError, MemoryError) as exc:
        raise CheckpointError(
            f"{path}: its weights are not all in the file, as numbers; begin with one that roadmask has made"
        ) from exc
    if not all(weight.dim() == 4 and weight.numel() and bias.shape == weight.shape[:1] for weight, bias in found):
        raise CheckpointError(
            f"{path}: its weights are not those of convolutions; begin with one that roadmask has made"
        )
    return found


def _shape(folded: _Folded, path: Path) -> UNetSettings:
    """The one shape of a network that has these convolutions."""
    sizes = [weight.shape for weight, _ in folded]
    choices = product(get_args(EncoderName), get_args(Convolution), get_args(Context))
    for encoder, convolution, context in choices if len(sizes) > 4 * 5 else ():
        each = _CONVOLUTIONS_IN_A_BLOCK[convolution]
        decoder = [sizes[-1 - each * blocks][0] for blocks in (4, 3, 2, 1)]  # the first of a block narrows to its width
        settings = UNetSettings(
            class_count=sizes[-1][0],
            decoder_channels=cast("tuple[int, int, int, int]", tuple(decoder)),
            convolution=convolution,
            encoder=encoder,
            context=context,
        )
        with torch.device("meta"):  # nothing is computed
            layers = _in_order(UNet(settings))
        if [layer.weight.shape for layer in layers] == sizes:
            return settings
    raise CheckpointError(
        f"{path}: holds no network of a shape that can be trained on here; begin with one that roadmask has made"
    )


def _fill(network: UNet, folded: _Folded) -> None:
    norms = dict(_norms(network))
    with torch.no_grad():
        for layer, (weight, bias) in zip(_in_order(network), folded, strict=True):
            layer.weight.copy_(weight)
            if norm := norms.get(layer):
                norm.weight.copy_(_statistics(norm)[0])  # scales by 1
                norm.bias.copy_(bias)
            else:
                assert layer.bias is not None, "a layer without a norm has a bias of its own"
                layer.bias.copy_(bias)


def _in_order(network: UNet) -> list[nn.Conv2d]:
    """Layers are defined in the order in which they compute, which is how an export writes them."""
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def _norms(network: UNet) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution with the norm behind it, which is defined right after it."""
    layers = [module for module in network.modules() if not list(module.children())]
    for layer, after in pairwise(layers):
        if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
            yield layer, after


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Deviation and mean that it goes by in evaluation."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    return torch.sqrt(norm.running_var + norm.eps), norm.running_mean
