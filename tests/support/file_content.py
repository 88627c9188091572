"""What is in a file or folder, and copies of either."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import av


def content(path: Path) -> dict[str, bytes]:
    """The bytes of a file, or of all files in a folder, by name."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def pictures_of(path: Path) -> list[tuple[int | None, str]]:
    """Of a video, in order: time and a digest of each picture."""
    with av.open(path) as container:
        return [
            (frame.pts, hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest()) for frame in container.decode(video=0)
        ]


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
