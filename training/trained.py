"""Networks trained before, to start from or to be taught by: checkpoints, and models as they are exported."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from . import checkpoint as checkpoints
from .checkpoint import Checkpoint
from .errors import CheckpointError
from .unfold import read_model

_BOX = Path(__file__).parents[1] / "stream" / "models"  # as installed too: the packages lie side by side


def load_trained(name: str) -> Checkpoint:
    """A checkpoint; or an exported model as one, by its path or by the name of a model in the box.

    Raises:
        CheckpointError: there is neither, or it cannot be trained on.
    """
    if is_model(name):
        return read_model(_in_box().get(name, Path(name)))
    if Path(name).is_file() or Path(name).name != name:
        return checkpoints.load(Path(name))
    close = get_close_matches(name.lower(), _in_box(), n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    raise CheckpointError(f"{name}: no such checkpoint, and no such model in the box ({', '.join(_in_box())}){meant}")


def is_model(name: str) -> bool:
    """Whether it means an exported model: a bare name that is in the box does, whatever lies in the working folder."""
    return name in _in_box() or Path(name).suffix.lower() == ".onnx"


def _in_box() -> dict[str, Path]:
    return {path.stem: path for path in sorted(_BOX.glob("*.onnx"))}
