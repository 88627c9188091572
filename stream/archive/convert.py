"""From one kind of mask archive to any other, without loss."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ArchiveError, OutputError
from .archive import MaskArchive, open_masks
from .mask_sink import archive_sink

log = logging.getLogger(__name__)


def convert_archive(
    source: Path, target: Path, *, overwrite: bool = False, on_mask: Callable[[int, int], None] | None = None
) -> int:
    """Write the masks of an archive into another, of the kind that `target` means, with all that is told of them.

    An archive whose run was killed gives what is whole in it, and that is said in a warning.

    Args:
        source: a folder, .zip, .mkv, .npz or .zarr of masks.
        target: the same; it may be of the same kind.
        overwrite: replace what is there, once the new one is whole.
        on_mask: told how many are done, of how many, after each.

    Returns:
        How many masks there are.

    Raises:
        ArchiveError: a mask is missing or damaged, or has ids that the class table does not know. `target` is then as
            it was, and what was converted is beside it under the partial name.
        OutputError: `target` is taken, or is the source, or cannot be written.
    """
    if target.exists() and target.samefile(source):
        raise OutputError(f"{target}: is the archive itself; choose another name")
    with open_masks(source) as masks, archive_sink(target, masks.header, overwrite=overwrite) as sink:
        if not len(masks):
            raise ArchiveError(f"{source}: holds no masks")
        if not masks.is_finished:
            log.warning("%s: was not finished; the %d masks that are whole are converted", source, len(masks))
        for position, record in enumerate(masks.records):
            mask = masks[position]
            _refuse_unknown_class(masks, position, mask)
            sink.add(replace(record, file=None), mask)
            if on_mask:
                on_mask(position + 1, len(masks))
        if masks.ending:
            sink.tell(masks.ending)
        return len(masks)


def _refuse_unknown_class(masks: MaskArchive, position: int, mask: NDArray[np.uint8]) -> None:
    if fault := masks.unknown_class(mask):
        raise ArchiveError(f"{masks.path}: the mask of {masks.place(position)} {fault}")
