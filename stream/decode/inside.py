"""Read a file of a folder that may come from anywhere: nothing outside the folder, and no more than is expected."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from .opening import open_regular


def read_inside(folder: Path, name: str, most: int) -> bytes:
    """The content of a file of a folder.

    Args:
        folder: may be a link itself.
        name: of the file; folders in it are parted by `/`.
        most: bytes that it may have.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is a link that leads out of the folder, or is larger.
    """
    with open_inside(folder, name) as file:
        size = os.fstat(file.fileno()).st_size
        refuse_larger(name, size, most)
        return file.read(size)


def open_inside(folder: Path, name: str) -> BinaryIO:
    """As `read_inside`, of a file of any size."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name} leads out of the folder")
    return os.fdopen(open_regular(path), "rb")


def refuse_larger(name: str, size: int, most: int) -> None:
    """Raises `ValueError`."""
    if not 0 <= size <= most:
        raise ValueError(f"{name} has {size} bytes, more than the {most} that it may")
