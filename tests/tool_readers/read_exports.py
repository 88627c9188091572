"""Read what `roadmask convert` wrote with the tools' own libraries, in an environment that holds them.

`python read_exports.py TARGET.npz NAME=FORMAT:FOLDER ...`, FORMAT being one of datumaro's, or `label-studio`. The
target gets `NAME/classes`, the names that the tool knows, and for each frame `NAME/FRAME`, a mask of indices into them,
-1 where the tool sees no class.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

Pixels = np.ndarray
Labelled = Iterable[tuple[str, Pixels]]  # a class, and where it is


def with_datumaro(folder: Path, form: str) -> tuple[list[str], dict[str, Labelled]]:
    from datumaro.components.annotation import AnnotationType
    from datumaro.components.dataset import Dataset

    dataset = Dataset.import_from(str(folder), form)
    names = [item.name for item in dataset.categories()[AnnotationType.label]]
    frames = {}
    for item in dataset:
        masks = [mask for mask in item.annotations if mask.type == AnnotationType.mask]
        frames[item.id.rpartition("/")[2]] = [(names[mask.label], mask.image.astype(bool)) for mask in masks]
    return names, frames


def with_label_studio(folder: Path) -> tuple[list[str], dict[str, Labelled]]:
    from label_studio_sdk.converter.brush import decode_rle
    from label_studio_sdk.label_interface import LabelInterface

    interface = LabelInterface((folder / "label_config.xml").read_text())
    interface.validate()
    frames: dict[str, Labelled] = {}
    for path in sorted(folder.glob("tasks*.json")):
        for task in json.loads(path.read_text()):
            (prediction,) = task["predictions"]
            faults = interface.validate_prediction(prediction, return_errors=True)
            assert not faults, faults
            frames[Path(task["data"]["image"]).stem] = [painted(brush, decode_rle) for brush in prediction["result"]]
    (names,) = (list(control.labels) for control in interface.controls)
    return names, frames


def painted(brush: dict, decode_rle) -> tuple[str, Pixels]:
    shape = brush["original_height"], brush["original_width"], 4
    pixels = np.reshape(decode_rle(brush["value"]["rle"]), shape)
    assert set(np.unique(pixels)) <= {0, 255}
    (name,) = brush["value"]["brushlabels"]
    return name, pixels[..., 3] > 0


def one_mask(labelled: Labelled, names: list[str]) -> Pixels:
    labelled = list(labelled)
    if not labelled:
        return np.empty((0, 0), np.int16)
    mask = np.full(labelled[0][1].shape, -1, np.int16)
    for name, pixels in labelled:
        assert (mask[pixels] == -1).all(), f"{name} lies over another class"
        mask[pixels] = names.index(name)
    return mask


def main(target: str, exports: list[str]) -> None:
    found = {}
    for export in exports:
        name, _, rest = export.partition("=")
        form, _, folder = rest.partition(":")
        names, frames = with_label_studio(Path(folder)) if form == "label-studio" else with_datumaro(Path(folder), form)
        found[f"{name}/classes"] = np.array(names)
        found |= {f"{name}/{frame}": one_mask(labelled, names) for frame, labelled in frames.items()}
    np.savez(target, **found)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
