"""From one kind of mask archive to any other, without loss."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ArchiveError
from ..spec import Renamed
from ..system.disk import PartialOutput, writing
from ..system.hold import held_to_make, refuse_inputs
from .archive import LeftOut, MaskArchive, open_masks
from .manifest import MaskRecord, checksum, mask_format
from .mask_sink import archive_sink, refuse_other_size
from .npz import write_npz
from .zarr import MARKER, NAMES, write_zarr

log = logging.getLogger(__name__)


def convert_archive(
    source: Path,
    target: Path,
    *,
    ignore: LeftOut | None = None,
    renamed: Renamed = (),
    overwrite: bool = False,
    on_mask: Callable[[int, int], None] | None = None,
) -> int:
    """Write the masks of an archive into another, of the kind that `target` means, with all that is told of them.

    What is to be ignored is left out of them from now on, and classes are called, and merged, as `renamed` says. An
    archive whose run was killed gives what is whole in it, and that is said in a warning. `on_mask` is told how many
    are done, of how many, after each. Returns how many there are.

    Raises:
        ArchiveError: a mask is missing or damaged, or has ids that the class table does not know. `target` is then as
            it was, and what was converted to a folder, .zip or .mkv is beside it under the partial name.
        OutputError: `target` is taken, or is the source, or cannot be written.
    """
    refuse_inputs(target, source)
    with held_to_make([target], source), open_masks(source, ignore=ignore, renamed=renamed) as masks:
        if not len(masks):
            raise ArchiveError(f"{source}: holds no masks; its run ended before the first, so begin it anew")
        if mask_format(target) in ("npz", "zarr"):
            _write_arrays(masks, target, overwrite, on_mask)
        else:
            with archive_sink(target, masks.header, overwrite=overwrite) as sink:
                for record, mask in _whole(masks, on_mask):
                    sink.add(record, mask)
                if masks.ending:
                    sink.tell(masks.ending)
        return len(masks)


def _write_arrays(
    masks: MaskArchive, target: Path, overwrite: bool, on_mask: Callable[[int, int], None] | None
) -> None:
    write, marker = (write_npz, None) if mask_format(target) == "npz" else (write_zarr, MARKER)
    records = [replace(record, file=None) for record in masks.records]
    if masks.is_changed:  # their checksums are others then, and stand before the masks
        records = [record for record, _ in _whole(masks)]
    for record in records:
        refuse_other_size(target, record, records[0])
    with PartialOutput(target, overwrite=overwrite, marker=marker, ours=NAMES) as output, writing(target):
        pixels = (mask for _, mask in _whole(masks, on_mask))
        write(output.path, masks.header, records, pixels, masks.ending)
        output.used = True


def _whole(
    masks: MaskArchive, on_mask: Callable[[int, int], None] | None = None
) -> Iterator[tuple[MaskRecord, NDArray[np.uint8]]]:
    if not masks.is_finished:
        log.warning("%s: was not finished; the %d masks that are whole are converted", masks.path, len(masks))
    for position, record in enumerate(masks.records):
        mask = masks[position]
        if fault := masks.unknown_class(mask):
            raise ArchiveError(f"{masks.path}: the mask of {masks.place(position)} {fault}")
        yield replace(record, file=None, crc32=checksum(mask) if masks.is_changed else record.crc32), mask
        if on_mask:
            on_mask(position + 1, len(masks))
