"""How long a run took, where a `summary.json` or `NAME_run.json` beside its masks tells it.

It is read leniently, as it may be of an older or newer roadmask, or somebody's own: an object for each source, anywhere
in the file, that names the archive or its source and has some of `frames`, `seconds`, `fps` and stages in seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SUMMARY_NAME = "summary.json"
_STAGES = ("processor_s", "stages", "stage_seconds", "seconds_by_stage")


@dataclass(frozen=True, slots=True)
class Timings:
    """`None` where it is not told."""

    seconds: float | None = None
    fps: float | None = None
    stages: Mapping[str, float] = field(default_factory=dict)  # seconds of a core


def find_timings(masks: Path, source: str | None) -> Timings | None:
    """What the summary beside the archive tells of its run; `None` where there is none, or it tells nothing."""
    entries: list[dict[str, Any]] = []
    for name in (SUMMARY_NAME, f"{masks.stem.removesuffix('_masks')}_run.json"):
        with suppress(OSError, ValueError):
            entries += _objects(json.loads((masks.parent / name).read_text(encoding="utf-8")))
    by_masks = [entry for entry in entries if masks.name in _names(entry)]
    by_source = [entry for entry in entries if source is not None and source in _names(entry)]
    for entry in (*by_masks, *by_source):
        if (timings := _timings(entry)) is not None:
            return timings
    return None


def _timings(entry: Mapping[str, Any]) -> Timings | None:
    seconds, fps = _number(entry, "seconds", "seconds_s", "wall_s"), _number(entry, "fps", "frames_per_second")
    frames = _number(entry, "frames")
    if fps is None and seconds and frames:
        fps = frames / seconds
    found: dict[str, Any] = next((entry[key] for key in _STAGES if isinstance(entry.get(key), dict)), {})
    stages = {str(name): float(value) for name, value in found.items() if _is_number(value)}
    return Timings(seconds, fps, stages) if seconds is not None or fps is not None or stages else None


def _objects(content: Any) -> Iterator[dict[str, Any]]:
    """All objects in it, the outer before the inner."""
    if isinstance(content, dict):
        yield content
    if isinstance(content, dict | list):
        for inner in content.values() if isinstance(content, dict) else content:
            yield from _objects(inner)


def _names(entry: Mapping[str, Any]) -> set[str]:
    """The last parts of all paths that it names itself."""
    values = [value for field in entry.values() for value in (field if isinstance(field, list) else [field])]
    nested = [value for field in entry.values() if isinstance(field, dict) for value in field.values()]
    return {Path(value).name for value in (*values, *nested) if isinstance(value, str)}


def _number(entry: Mapping[str, Any], *keys: str) -> float | None:
    return next((float(entry[key]) for key in keys if _is_number(entry.get(key))), None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
