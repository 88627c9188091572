"""Files in folders, on disk or in a zip, written one after the other: what labelling tools take."""

from __future__ import annotations

import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from ..archive.zip_journal import DATE

_PICTURES = (".png", ".jpg")  # are compressed already
CHUNK_BYTES = 1 << 20


class Tree(ABC):
    """What fails raises OSError."""

    prefix = ""  # of the names of frames, where others of the same numbers are there

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()

    def add(self, name: str, content: bytes) -> None:
        """A file; folders in its name are parted by `/`."""
        self.add_parts(name, (content,))

    @abstractmethod
    def add_parts(self, name: str, parts: Iterable[bytes]) -> None:
        """As `add`, of content that need not fit into memory."""

    @abstractmethod
    def add_folder(self, name: str) -> None:
        """One that may stay empty; those of files need not be added."""

    def add_table(self, name: str, content: bytes) -> None:
        """A file that tells of the classes, whatever the frames."""
        self.add(name, content)

    def add_lines(self, name: str, lines: Sequence[str]) -> None:
        """A file of lines, to which those of other drives may belong."""
        self.add(name, text_lines(lines))

    def existing(self, name: str) -> Path | None:  # noqa: ARG002 - in most trees there is none
        """A file of all drives, where others have theirs in it."""
        return None

    def add_merged(self, name: str, parts: Iterable[bytes]) -> None:
        """In place of `existing`."""
        self.add_parts(name, parts)

    def scratch(self) -> BinaryIO:
        """A file without a name, on the same disk, for what is added later."""
        return self._stack.enter_context(tempfile.TemporaryFile(dir=self._path.parent))

    def close(self) -> None:
        self._stack.close()


class FolderTree(Tree):
    """A folder that is there already."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._folders: set[str] = set()

    def add_parts(self, name: str, parts: Iterable[bytes]) -> None:
        self.add_folder(name.rpartition("/")[0])
        with (self._path / name).open("wb") as file:
            file.writelines(parts)

    def add_folder(self, name: str) -> None:
        if name not in self._folders:
            (self._path / name).mkdir(parents=True, exist_ok=True)
            self._folders.add(name)


class ZipTree(Tree):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._zip = self._stack.enter_context(ZipFile(path, "w"))

    def add_parts(self, name: str, parts: Iterable[bytes]) -> None:
        info = ZipInfo(name, DATE)
        info.external_attr = 0o644 << 16
        info.compress_type = ZIP_STORED if name.endswith(_PICTURES) else ZIP_DEFLATED
        with self._zip.open(info, "w", force_zip64=not name.endswith(_PICTURES)) as file:
            for part in parts:
                file.write(part)

    def add_folder(self, name: str) -> None:
        info = ZipInfo(f"{name}/", DATE)
        info.external_attr = 0o40755 << 16 | 0x10  # a folder, to Unix and to MS-DOS
        self._zip.writestr(info, b"")


class JsonItems:
    """The items of a JSON array that grows on disk, one a line."""

    def __init__(self, tree: Tree) -> None:
        self._file = tree.scratch()
        self.size = 0  # bytes

    def add(self, item: object) -> None:
        text = json.dumps(item, separators=(",", ":"), ensure_ascii=False).encode()
        self.size += self._file.write(b",\n" + text if self.size else text)

    def parts(self) -> Iterator[bytes]:
        """Of the array, without its brackets."""
        self._file.seek(0)
        while chunk := self._file.read(CHUNK_BYTES):
            yield chunk

    def clear(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self.size = 0


def text_lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def json_text(content: object) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
