"""Which runs were finished: one that is begun again, to be gone on with, has nothing to do.

Beside the outputs nothing is left that could tell, so it is noted in the user's cache: for some thousands of runs, a
small file each. One that is lost costs a question: whether the outputs, which are there, may be replaced.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..frames import Ending
from ..system.disk import replace_file
from ..system.machine import cache_folder

_DIGITS = 3  # of a checksum, which name a file: so there are 4096 at most, and a new one takes an old one's place

# What 1.0.0 did, which had no such options.
_OF_1_0_0: Mapping[str, Any] = {
    "--size": "default",
    "--deinterlace": "auto",
    "--every": None,
    "--ignore": None,
    "--palette": "camvid",
    "--style": "fill",
    "--blur": [],
    "--no-metadata": False,
    "--map": [],
    "--input-rate": None,
}
# In which a run that is done may differ from one that would be begun now.
_NO_MATTER = ("device", "outputs")


@dataclass(frozen=True, slots=True)
class Done:
    """A run that was finished, and whose outputs are as it left them."""

    ending: Ending
    identity: Mapping[str, Any]


def note_done(outputs: Sequence[Path], identity: Mapping[str, Any], ending: Ending) -> None:
    """To be told when they have their final names. Where it cannot be noted, it is not."""
    with suppress(OSError, RuntimeError):  # the latter of those who have no home
        content = {"outputs": _looks(outputs), "identity": dict(identity), "ending": asdict(ending)}
        path = _place(outputs)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(content).encode())


def find_done(outputs: Sequence[Path]) -> Done | None:
    """The run that has made these outputs, which nobody has touched since."""
    with suppress(OSError, RuntimeError, ValueError, KeyError, TypeError):
        content = json.loads(_place(outputs).read_bytes())
        if content["outputs"] == _looks(outputs):
            return Done(Ending(**content["ending"]), dict(content["identity"]))
    return None


def forget_done(outputs: Sequence[Path]) -> None:
    """Of outputs that nobody will ask for again."""
    with suppress(OSError, RuntimeError):
        _place(outputs).unlink(missing_ok=True)
        _place(outputs).parent.rmdir()  # if it is empty


def made_otherwise(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of what matters to outputs that are finished is not the same, in words."""
    before = {**_OF_1_0_0, **before}
    if str(before.get("--legend")) == "False":  # as 1.0.0 told it
        before["--legend"] = "off"
    told = {name: (in_words(before.get(name, "not known")), in_words(value)) for name, value in now.items()}
    words = {name: f"{name} was {was}, is now {value}" for name, (was, value) in told.items() if was != value}
    version = words.pop("roadmask", None)  # does not matter, but tells why what nobody has changed is not the same
    differing = [text for name, text in words.items() if name not in _NO_MATTER]
    return [version, *differing] if version and differing else differing


def in_words(value: object) -> str:
    """What an option was given; also as summaries of version 1.0.0 hold it."""
    if value in (None, "", "None", []):
        return "not given"
    if str(value) in ("True", "False"):
        return "on" if str(value) == "True" else "off"
    return ",".join(value) if isinstance(value, list) else str(value)


def _looks(outputs: Sequence[Path]) -> dict[str, list[int]]:
    """What changes with a file."""
    stats = {str(output.resolve()): output.stat() for output in outputs}
    return {path: [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()}


def _place(outputs: Sequence[Path]) -> Path:
    names = "\n".join(str(output.resolve()) for output in outputs)
    digest = hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()
    return cache_folder() / "done" / f"{digest[:_DIGITS]}.json"
