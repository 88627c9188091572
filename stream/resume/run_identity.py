"""What makes two runs the same run: with any of it changed, one cannot go on with what the other has begun."""

from __future__ import annotations

import zlib
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from ..network.model import Model
from ..segment_settings import SegmentSettings

_ENDS = 1 << 20  # bytes of a file's beginning and of its end that are compared


def run_identity(settings: SegmentSettings, model: Model) -> dict[str, str]:
    """Names and values, as users know them, of all that changes a byte of the outputs.

    The batch, threads, workers and devices of one kind do not.
    """
    assert settings.file is not None
    return {
        "roadmask": _version(),
        "model": f"{model.path.name} ({model.sha256()[:12]})",
        "device": model.device.partition(":")[0],
        "source": f"{settings.file.name} ({source_identity(settings.file)})",
        "outputs": ", ".join(output.name for output in settings.outputs),
        "--stream": str(settings.stream),
        "--start": str(settings.start),
        "--end": str(settings.end),
        "--stride": str(settings.stride),
        "--max-frames": str(settings.max_frames),
        "--smooth": str(settings.smooth),
        "--reuse": str(settings.reuse),
        "--alpha": str(settings.alpha),
        "--classes": ",".join(settings.classes),
        "--exclude": ",".join(settings.exclude),
        "--legend": str(settings.legend),
        "--encoder": settings.encoder,
        "--crf": str(settings.crf),
        "--preset": settings.preset,
    }


def source_identity(path: Path) -> str:
    """Its length and a checksum of its ends: the same for a copy elsewhere, and quick for any length."""
    size = path.stat().st_size
    with path.open("rb") as file:
        checksum = zlib.crc32(file.read(_ENDS))
        file.seek(max(size - _ENDS, 0))
        checksum = zlib.crc32(file.read(_ENDS), checksum)
    return f"{size} bytes, {checksum:08x}"


@lru_cache
def _version() -> str:
    return version("roadmask")
