"""What a model knows, noted in its file, so that runs can tell of drives that look unlike it.

It is measured on pictures that it has learnt from, or others like them: what is less than nearly all of them is unlike.
See `stream/masks/familiar.py`, which reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import av
import numpy as np
import onnx
from av.video.reformatter import VideoReformatter

from ..stream import Model
from ..stream.decode.pixels import network_input
from ..stream.masks.familiar import LOW, lead
from ..training.files import read_picture
from ..training.split import evenly
from .errors import ExportError
from .metadata import familiar_metadata
from .model_file import placed, write

PICTURES = 150  # of each data set: where there are several, none weighs more than another
FEWEST = 50  # in all: of fewer, the lowest fiftieth is no picture


def note_familiar(
    source: Path,
    output: Path,
    data: Sequence[Sequence[Path]],
    *,
    on_picture: Callable[[int, int], None] | None = None,
) -> tuple[float, int]:
    """Write `output`, which may be `source` itself: the same model, and what it knows.

    Args:
        source: a model file.
        output: ends with .onnx.
        data: pictures that it knows, by data set; of each, `PICTURES` are taken, spread evenly.
        on_picture: told the pictures measured, and how many there are.

    Returns:
        The lead that nearly all of the pictures have at least, and how many there were.

    Raises:
        ExportError: there are too few pictures, or `output` cannot be written.
        ModelError: `source` is no model file.
        DataError: a file is no picture.
    """
    chosen = [path for paths in data for path in evenly(paths, PICTURES)]
    if len(chosen) < FEWEST:
        raise ExportError(f"too few pictures to tell what is familiar: {len(chosen)}, and {FEWEST} are the least")
    leads = []
    for path, found in zip(chosen, _leads(Model.load(source, device="cpu", workers=1), chosen), strict=True):
        if not np.isfinite(found):
            raise ExportError(f"{path}: the model gives no scores of several classes; leave --familiar away")
        leads.append(found)
        if on_picture:
            on_picture(len(leads), len(chosen))
    least = round(float(np.quantile(leads, LOW)), 4)
    graph = onnx.load_model(source)
    onnx.helper.set_model_props(graph, familiar_metadata(graph, {"lead": least, "pictures": len(leads)}))
    with placed(output) as temporary:
        write(graph, temporary)
        Model.load(temporary, device="cpu", workers=1)  # what no run could open is not put in its place
    return least, len(leads)


def _leads(model: Model, pictures: Iterable[Path]) -> Iterable[float]:
    """Each as a run would see it."""
    reformatter = VideoReformatter()
    for path in pictures:
        picture = read_picture(path)
        shown = av.VideoFrame.from_ndarray(picture, format="rgb24")
        seen = network_input(shown, model.spec.input_size(*picture.shape[:2]), reformatter)
        yield lead(model.scores(seen[None])[0])
