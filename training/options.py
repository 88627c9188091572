"""Options that more than one command of training has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from .settings import Precision, check_size
from .shape import Weights

_UNITS_S = (86400, 3600, 60, 1)
_DURATION = re.compile("".join(rf"(?:(\d{{1,9}}(?:\.\d+)?){unit})?" for unit in "dhms"), re.ASCII)

DataFolders = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="Folders of labelled pictures ('roadmask data' says what it takes them for). The first has the classes to "
        "learn; DATA:MAP says what the classes of one are in those of the first.",
    ),
]
Batch = Annotated[int, typer.Option(help="Pictures a step.")]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="WxH", help="What the network sees at validation; default: the pictures' size, of large ones less."
    ),
]
Crop = Annotated[
    str | None, typer.Option(metavar="WxH", help="Training crops; default: as --size, of large ones less.")
]
StartWeights = Annotated[Weights, typer.Option(help="What the encoder starts from.")]
StartFrom = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Begin with these weights: a run's best.pt, an exported model or one in the box; classes may differ.",
    ),
]
ValidList = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="File that names the validation pictures; default: valid.txt or val/."),
]
ValidDrive = Annotated[
    list[str] | None,
    typer.Option(metavar="DRIVE", help="Hold out this drive for validation; * stands for any characters; repeatable."),
]
SplitShare = Annotated[
    float | None,
    typer.Option(
        "--split",
        metavar="SHARE",
        min=0.01,
        max=0.5,
        help="Score on this share, in stretches of pictures that follow each other by name: 0.2",
    ),
]
Seed = Annotated[int, typer.Option(help="Same seed, same machine: same result.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
Precise = Annotated[Precision, typer.Option(help="auto: bf16 where the hardware has it.")]


def parse_numbers(text: str, option: str) -> tuple[float, ...]:
    """Of "1,1,0.5"; none of ""."""
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not numbers with commas between, such as 2,1", param_hint=option
        ) from None


def parse_duration(text: str | None, option: str) -> float | None:
    """Seconds of "90s", "8m" or "1h30m", as `roadmask run` writes lengths of time; 0 alone needs no unit."""
    if text is None:
        return None
    found = _DURATION.fullmatch(text.strip().lower())
    numbers = found.groups() if found else ()
    if not any(numbers) and text != "0":
        unit = f"; say which unit: {text}m or {text}s" if text.isdecimal() else "; write 90s, 8m, 1.5h or 1h30m"
        raise typer.BadParameter(f"{text!r:.40} is no length of time{unit}", param_hint=option)
    return sum(float(number or 0) * unit_s for number, unit_s in zip(numbers, _UNITS_S, strict=False))


def parse_size(text: str | None, option: str) -> tuple[int, int] | None:
    """(height, width) of "480x352", as sizes are written on a command line.

    Raises:
        typer.BadParameter, TrainingError: it is none that the network can have.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.lower(), re.ASCII)
    if match is None:
        raise typer.BadParameter(f"{text!r:.40} is not WIDTHxHEIGHT, such as 480x352", param_hint=option)
    size = int(match[2]), int(match[1])
    check_size(size)
    return size
