"""A folder that a tool imports from: calls add their parts to it, and what is not of their making stays.

`roadmask.json` in it tells what the parts are of, and which files are whose. A part is one drive in one subset; with
`overwrite` it takes the place of that part, and of nothing else. It is written aside and moved in when it is whole.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..system.disk import partial_path, replace_file, writing
from ..system.hold import Taken, hold
from .tree import FolderTree, json_text

MARKER = "roadmask.json"
_PART = {"subset", "source", "prefix", "files", "lines"}  # what is told of each, among other things


class SharedFolder(FolderTree):
    """A `Tree` of one part; from `open_shared`."""

    def __init__(self, folder: Path, tool: str, classes: Sequence[str], facts: Mapping[str, Any]) -> None:
        super().__init__(partial_path(folder))
        self._folder = folder
        self._head = {"tool": tool, "classes": list(classes)}
        self._facts = dict(facts)
        self._before = _read(folder)
        key = facts["subset"], facts["source"]
        self._others = [part for part in self._before["parts"] if (part["subset"], part["source"]) != key]
        self._own: dict[str, Any] = next(
            (part for part in self._before["parts"] if part not in self._others), {"files": [], "lines": {}}
        )
        self._shared = frozenset(self._before.get("shared", ()))
        self._own_files = frozenset(self._own["files"])
        self._files: list[str] = []
        self._tables: list[str] = []  # and lists, which all parts share
        self._lines: dict[str, list[str]] = {}
        self.prefix = self._prefix()  # of the frames' names

    def _prefix(self) -> str:
        """None for the first drive: tools know the frames of a video by their numbers."""
        by_source = {part["source"]: str(part["prefix"]) for part in self._before["parts"]}
        source = self._facts["source"]
        if source in by_source or not by_source:
            return by_source.get(source, "")
        stem = re.sub(r"[^\w.-]+", "_", Path(source).stem)[:60]
        names = chain([f"{stem}_"], (f"{stem}_{number}_" for number in count(2)))
        return next(name for name in names if name not in by_source.values())

    def refuse_bad(self, *, overwrite: bool) -> None:
        """Raises `OutputError` where the part may not be written."""
        if len(self._others) < len(self._before["parts"]) and not overwrite:
            raise OutputError(
                f"{self._folder}: exists; pass --overwrite to replace it, "
                f"which is subset {self._facts['subset']} of {self._facts['source']}"
            )
        for name, value in self._head.items():
            if self._others and self._before[name] != value:
                raise OutputError(
                    f"{self._folder}: its {name} is {_told(self._before[name])}, not {_told(value)}; "
                    "name another folder"
                )

    def _refuse_taken(self, name: str) -> None:
        """What is there may be replaced only where a call has written it, for this part or for all."""
        if name not in self._own_files and name not in self._shared and (self._folder / name).exists():
            raise OutputError(
                f"{self._folder / name}: is there, and not of subset {self._facts['subset']} of "
                f"{self._facts['source']}; name another folder or --subset"
            )

    def add_parts(self, name: str, parts: Iterable[bytes]) -> None:
        self._refuse_taken(name)
        self._files.append(name)
        super().add_parts(name, parts)

    def add_table(self, name: str, content: bytes) -> None:
        if self._others and name in self._shared and (self._folder / name).exists():
            self._tables.append(name)  # it is the same
        else:
            self.add_merged(name, (content,))

    def existing(self, name: str) -> Path | None:
        path = self._folder / name
        return path if self._others and name in self._shared and path.exists() else None

    def add_merged(self, name: str, parts: Iterable[bytes]) -> None:
        self._refuse_taken(name)
        super().add_parts(name, parts)
        self._tables.append(name)

    def add_lines(self, name: str, lines: Sequence[str]) -> None:
        path = self._folder / name
        there = path.read_bytes().splitlines() if path.exists() else []
        own = {line.encode() for line in self._own["lines"].get(name, ())}
        kept = (line for line in there if line not in own)
        super().add_parts(name, (line + b"\n" for line in chain(kept, map(str.encode, lines))))
        self._tables.append(name)
        self._lines[name] = list(lines)

    def publish(self) -> None:
        """Move it in: from now on it is the part."""
        part = self._facts | {"prefix": self.prefix, "files": self._files, "lines": self._lines}
        if not self._folder.exists():
            (self._path / MARKER).write_bytes(self._marker(part))
            self._path.replace(self._folder)
            return
        new = {*self._files, *self._tables}
        shared = () if self._others else self._shared
        old = [name for name in (*self._own["files"], *shared) if name not in new]
        # Whatever ends it in the middle: what it wrote is known to be its own, and the next call may take its place.
        replace_file(self._folder / MARKER, self._marker(part | {"files": self._files + old}))
        for name in old:
            (self._folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # others have files there
                (self._folder / name).parent.rmdir()
        for path in sorted(self._path.rglob("*")):
            target = self._folder / path.relative_to(self._path)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            elif target != self._folder / MARKER:
                path.replace(target)
        replace_file(self._folder / MARKER, self._marker(part))

    def _marker(self, part: Mapping[str, Any]) -> bytes:
        shared = sorted({*(self._shared if self._others else ()), *self._tables})
        return json_text({**self._head, "shared": shared, "parts": [*self._others, part]})


@contextmanager
def open_shared(
    folder: Path, tool: str, classes: Sequence[str], facts: Mapping[str, Any], *, overwrite: bool
) -> Iterator[SharedFolder]:
    """A part of the folder, which is there when all went well.

    Args:
        folder: to add it to, or to make.
        tool: that all parts are for.
        classes: that they have.
        facts: of the part: `subset`, `source` and more.
        overwrite: replace the part that has the same two.

    Raises:
        OutputError: the folder is something else, or the part may not be written there.
    """
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with hold(folder.with_name(f".{folder.name}.lock")), writing(folder):
            tree = SharedFolder(folder, tool, classes, facts)
            tree.refuse_bad(overwrite=overwrite)
            with _aside(partial_path(folder)), closing(tree):
                yield tree
                tree.publish()
    except Taken as exc:
        raise OutputError(f"{folder}: another roadmask is adding to it; wait for its end") from exc


@contextmanager
def _aside(folder: Path) -> Iterator[None]:
    """A folder that is not there afterwards."""
    if folder.exists() and not (folder / MARKER).exists():
        raise OutputError(f"{folder}: is in the way, and holds no {MARKER}; move it away")
    shutil.rmtree(folder, ignore_errors=True)  # left by a call that was killed
    folder.mkdir()
    try:
        (folder / MARKER).touch()
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read(folder: Path) -> dict[str, Any]:
    """What the folder holds."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; name a folder")
    if not folder.exists() or not any(folder.iterdir()):
        return {"parts": []}
    if not (folder / MARKER).exists():
        raise OutputError(f"{folder}: holds no {MARKER}, so it is not replaced; name another folder")
    try:
        content: dict[str, Any] = json.loads((folder / MARKER).read_bytes())
        names = [*content["shared"], *(name for part in content["parts"] for name in part["files"])]
        is_known = {"tool", "classes"} <= content.keys() and all(part.keys() >= _PART for part in content["parts"])
        is_known &= all(not Path(name).is_absolute() and ".." not in Path(name).parts for name in names)
    except (ValueError, KeyError, TypeError, AttributeError):
        is_known = False
    if not is_known:
        raise OutputError(
            f"{folder}: its {MARKER} does not tell which files were written, as that of roadmask 1.0.0; "
            "name another folder"
        )
    return content


def _told(value: object) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)
