"""Where a model file goes: checked before the work, and in its place only when whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from .errors import ExportError


def check_output(output: Path, source: Path, *, source_kind: str, overwrite: bool) -> None:
    """See that `output` may be written, made from `source`.

    Raises:
        ExportError: it may not.
    """
    if output.suffix.lower() != ".onnx":
        raise ExportError(f"{output}: a model file must end with .onnx", usage=True)
    if not output.parent.is_dir():
        raise ExportError(f"{output.parent}: no such folder; make it first")
    if output.is_dir():
        raise ExportError(f"{output}: is a folder; name a file in it")
    if output.exists() and source.exists() and output.samefile(source):
        raise ExportError(f"{output}: is the {source_kind} itself; name another output")
    if output.exists() and not overwrite:
        raise ExportError(f"{output}: exists; pass --overwrite to replace it, or name another with -o")


@contextmanager
def placed(output: Path) -> Iterator[Path]:
    """A name beside `output` that becomes `output` if the block ends well, and goes away if it does not."""
    temporary = output.with_name(f".{output.stem}.{os.getpid()}.onnx")
    try:
        yield temporary
        temporary.replace(output)
    except OSError as exc:
        raise ExportError(f"{output}: cannot be written ({exc.strerror or exc})") from exc
    finally:
        temporary.unlink(missing_ok=True)


def write(graph: onnx.ModelProto, path: Path) -> None:
    with path.open("wb") as file:
        file.write(graph.SerializeToString(deterministic=True))
        file.flush()
        os.fsync(file.fileno())
