"""Names of recorded parts, `front_overlay_2026-11-23_05-28-04Z.mp4`, and what is done with those that lie there.

The time is that of the part's first frame, in UTC: so names sort as the parts came, and no hour comes twice when the
clocks go back.
"""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ..archive.manifest import CLASSES_NAME
from ..archive.zarr import MARKER
from ..errors import OutputError
from ..system.disk import partial_path

log = logging.getLogger(__name__)

_TIME = "%Y-%m-%d_%H-%M-%SZ"
_UNFINISHED = "unfinished"


class PartNames:
    """The parts of one output: files or folders beside `path` that have its name and a time.

    Args:
        path: the name without a time: `results/front_overlay.mp4`.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self._stem, self._suffix = path.stem, path.suffix
        self._ours = re.compile(
            rf"{re.escape(path.stem)}_(?P<time>\d{{4}}-\d\d-\d\d_\d\d-\d\d-\d\dZ)(?P<number>_\d+)?"
            rf"(?P<state>_{_UNFINISHED}(?:_\d+)?|\.partial)?{re.escape(path.suffix)}"
        )

    def new(self, began: float) -> Path:
        """A name that nothing has, for a part whose first frame came `began` seconds after the epoch."""
        return self._free(datetime.fromtimestamp(began, UTC).strftime(_TIME))

    def rescue(self) -> None:
        """Give what a killed run left in progress a name of its own: it stays playable, and nothing writes over it.

        Raises:
            OutputError: it cannot be renamed.
        """
        for path, found in list(self._parts()):
            if found["state"] != ".partial":
                continue
            if _is_empty(path):
                path.unlink()
                continue
            rescued = self._free(f"{found['time']}{found['number'] or ''}_{_UNFINISHED}")
            try:
                path.rename(rescued)
            except OSError as exc:
                raise OutputError(f"{path}: left by an earlier run, cannot be renamed ({exc.strerror})") from exc
            log.warning("%s: left by a run that did not end well; it is called %s now", path, rescued.name)

    def delete_old(self, keep_s: float) -> None:
        """Delete the parts that ended longer ago. One that cannot be deleted is a warning: the recording goes on."""
        for path, found in list(self._parts()):
            try:
                if found["state"] != ".partial" and _ended(path, found["time"]) < time.time() - keep_s:
                    _delete(path)
            except OSError as exc:
                log.warning("%s: is older than --keep, but cannot be deleted (%s)", path, exc.strerror or exc)

    def _parts(self) -> Iterator[tuple[Path, re.Match[str]]]:
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if (found := self._ours.fullmatch(path.name)) and not path.is_symlink() and self._is_kind(path):
                yield path, found

    def _is_kind(self, path: Path) -> bool:
        """A folder of masks, or a file: whichever this output makes."""
        if path.is_dir():
            return (path / (MARKER if self._suffix == ".zarr" else CLASSES_NAME)).is_file()
        return path.is_file() and self._suffix not in ("", ".zarr")

    def _free(self, name: str) -> Path:
        number, path = 1, self._named(name)
        while path.exists() or partial_path(path).exists():
            number += 1
            path = self._named(f"{name}_{number}")
        return path

    def _named(self, name: str) -> Path:
        return self.folder / f"{self._stem}_{name}{self._suffix}"


def _ended(path: Path, began: str) -> float:
    """When its last frame was written; a file's own time alone may be that of a copy, or of a clock set wrong."""
    return max(datetime.strptime(began, _TIME).replace(tzinfo=UTC).timestamp(), path.stat().st_mtime)


def _is_empty(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == 0


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
