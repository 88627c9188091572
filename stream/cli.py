"""The `roadmask` command: which module a subcommand lives in, and how failures are told."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from . import __version__
from .errors import RoadmaskError, Stopped, first_line
from .system.talk import harmless_streams, install_command, lines_for_people, printable, unwritten_results
from .system.url import redacted, without_secrets


@dataclass(frozen=True, slots=True)
class _Command:
    """A subcommand, imported only when it is called: torch alone takes seconds."""

    name: str
    module: str  # below `roadmask`
    function: str
    help: str  # in the list of commands
    extra: str = ""  # what pip must install for it


_COMMANDS = (
    _Command("run", "stream.commands.run", "run", "Segment videos: overlay video, masks, statistics."),
    _Command("info", "stream.commands.info", "info", "Say what a video, a model or a mask archive is."),
    _Command("verify", "stream.commands.verify", "verify", "Check that masks are whole, and fit their video."),
    _Command("convert", "stream.commands.convert", "convert", "Turn a mask archive into one of another kind."),
    _Command("preview", "stream.commands.preview", "preview", "Draw overlays from saved masks, without the model."),
    _Command("report", "stream.commands.report", "report", "Make a page of a run: shares, pictures, problems."),
    _Command("suggest-ignore", "stream.commands.suggest_ignore", "suggest_ignore", "Find bonnet and time stamp."),
    _Command("bench", "stream.commands.bench", "bench", "Measure how fast a run is, beside the bare model."),
    _Command("warmup", "stream.commands.warmup", "warmup", "Make a device ready: TensorRT builds for minutes."),
    _Command("doctor", "stream.commands.doctor", "doctor", "Check this installation, and say what to do."),
    _Command("train", "training.train_cli", "train", "Train a network on labelled pictures.", "train"),
    _Command("lr-find", "training.lr_find_cli", "lr_find", "Find the learning rate to train with.", "train"),
    _Command("data", "training.data_cli", "data", "Look through a data set and list its problems.", "train"),
    _Command("export", "export.export_cli", "export", "Turn a checkpoint into a model file.", "export"),
    _Command("adopt", "export.adopt_cli", "adopt", "Make a model file of a network from elsewhere.", "export"),
    _Command("eval", "export.eval_cli", "evaluate", "Score a model file on labelled pictures.", "export"),
)

# How a value is written, in help, by Click's name of its type: where an option does not say it itself.
_VALUES = {
    **dict.fromkeys(("int", "int range", "integer", "integer range"), "N"),
    **dict.fromkeys(("float", "float range"), "X"),
    "path": "PATH",
    "str": "TEXT",
    "text": "TEXT",
}
_STOPPED = 130  # exit code
_ALL = "--help-all"
_WIDTH = 110  # of help, at most

_FIRST_STEPS = """\
roadmask run drive.mp4                             an overlay video: drive_overlay.mp4
roadmask run dashcam/ -o results/                  overlay, masks and statistics of each video of a folder
roadmask run rtsp://CAMERA --serve 127.0.0.1:8080  a camera, seen in a browser
roadmask doctor                                    whether all works here, and what to do where it does not
roadmask --help                                    all commands; COMMAND --help has its options, with examples
"""


def main(arguments: Sequence[str] | None = None, *, on_import: Callable[[], None] = lambda: None) -> int:
    """Run the command line; returns the exit code. `on_import` is called when the command's modules are there.

    0 done, 1 failed, 2 bad usage, 3 not all of it (a file is damaged or cut off, or some of several failed), 130
    interrupted.
    """
    with harmless_streams():
        code = _run(arguments, on_import)
        if failure := unwritten_results():
            return _fail(f"standard output cannot be written ({failure.strerror or failure})", code or 1)
        return code


def _run(arguments: Sequence[str] | None, on_import: Callable[[], None]) -> int:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    typed = _words_to_complete()
    if not arguments and typed is None:
        sys.stdout.write(_FIRST_STEPS)
        return 0
    logging.basicConfig(handlers=[lines_for_people()], level=logging.WARNING)
    first = (arguments if typed is None else typed)[:1]
    if first and typed is None and _is_source(first[0]):
        word = redacted(first[0])
        return _fail(f"{word} is no command; did you mean: roadmask run {shlex.quote(word)}", 2)
    called = next((command for command in _COMMANDS if command.name in first), None)
    try:
        return _call(called, arguments, on_import, completes=typed is not None)
    except Exception as exc:
        if told := _told(called, exc):
            return _fail(told, 1)
        raise
    except Stopped:  # by a second Ctrl-C
        return _STOPPED
    except SystemExit as exc:  # how Typer ends, well or not
        return exc.code if isinstance(exc.code, int) else 0


def _call(called: _Command | None, arguments: list[str], on_import: Callable[[], None], *, completes: bool) -> int:
    module = import_module(f"roadmask.{called.module}") if called else None
    on_import()
    if module and hasattr(module, "as_typer_takes_them") and not completes:
        arguments = module.as_typer_takes_them(arguments)
    shows_all = called is not None and _ALL in arguments
    if shows_all:
        arguments = [*arguments[: arguments.index(_ALL)], "--help"]
    expected: tuple[type[Exception], ...] = (RoadmaskError, *getattr(module, "ERRORS", ()))
    try:
        _parser(called, module, shows_all=shows_all)(arguments, prog_name="roadmask")
    except expected as exc:
        return _fail(str(exc), 2 if getattr(exc, "usage", False) else 1)
    return 0


def _is_source(word: str) -> bool:
    """Whether it is something to run, and no command, well or badly spelled."""
    if word.startswith("-") or any(word == command.name for command in _COMMANDS):
        return False
    return bool(re.search(r"[./\\*]", word)) or Path(word).exists()


def _words_to_complete() -> list[str] | None:
    """What stands on a shell's command line after `roadmask`, where the shell asks how it may go on."""
    if not os.environ.get("_ROADMASK_COMPLETE", "").startswith("complete_"):
        return None
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")  # bash; the other shells
    return line.split()[1:]


@cache  # who calls commands in a process one after the other waits for its fifty options once
def _parser(called: _Command | None, module: ModuleType | None, *, shows_all: bool) -> Callable[..., object]:
    """All commands by name and help; only the one that is called with its options."""
    settings = {"max_content_width": _WIDTH, "help_option_names": ["--help", "-h"]}
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None, context_settings=settings)
    app.callback()(_options)
    for command in _COMMANDS:
        if command is called:
            groups = getattr(module, "OPTION_GROUPS", {})
            function, helpful = getattr(module, command.function), _helpful(groups, shows_all=shows_all)
            app.command(command.name, cls=helpful, context_settings=settings)(function)
        else:
            app.command(command.name, help=command.help)(_not_called)
    commands: Any = typer.main.get_command(app)
    for param in commands.commands[called.name].params if called else ():
        param.metavar = param.metavar or _VALUES.get(param.type.name)
    return commands  # type: ignore[no-any-return]


def _helpful(groups: Mapping[str, str], *, shows_all: bool) -> type[TyperCommand]:
    """A command whose help fits a screen.

    Args:
        groups: headings of its options, and their names between blanks; the first are those that are used most.
        shows_all: or else the first alone.
    """

    class Helpful(TyperCommand):
        def collect_usage_pieces(self, ctx: Any) -> list[str]:
            return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]  # Typer's, of what must be there

        def format_options(self, ctx: Any, formatter: Any) -> None:  # Typer's Click is another one in each release
            if not groups:
                super().format_options(ctx, formatter)
                return
            told = {param.name: record for param in self.get_params(ctx) if (record := param.get_help_record(ctx))}
            grouped = {heading: names.split() for heading, names in groups.items()}
            others = [name for name in told if not any(name in names for names in grouped.values())]
            first, *rest = grouped.items()
            for heading, names in [("Arguments", others), first, *(rest if shows_all else ())]:
                with formatter.section(heading):
                    formatter.write_dl([told[name] for name in names])
            if rest and not shows_all:
                more = ", ".join(heading.lower() for heading, _ in rest)
                formatter.write_paragraph()
                formatter.write_text(f"{ctx.command_path} {_ALL} tells of more: {more}.")

    return Helpful


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"roadmask {__version__}\n")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Segment driving video with a trained network.

    \b
    roadmask run drive.mp4                    an overlay video
    roadmask run dashcam/ -o results/         overlay, masks and statistics of each
    roadmask COMMAND --help                   all options, with examples
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are


def _not_called() -> None:
    """Stands for a command in the list of commands."""


def _told(command: _Command | None, exc: Exception) -> str:
    """What has gone wrong where nobody expected it, if that can be told in a line."""
    if isinstance(exc, OSError) and isinstance(exc.filename, str):  # no file can have the name, for one
        return f"{exc.filename}: {exc.strerror}"
    from .doctor.doctor import broken_library
    from .doctor.machine import MODULES

    package = (getattr(exc, "name", None) or "roadmask").partition(".")[0]
    if not isinstance(exc, ImportError) or command is None or package in ("roadmask", *MODULES):
        return broken_library()
    # Of an extra, which the help of a command is told without.
    if not isinstance(exc, ModuleNotFoundError):
        again = f"pip install --force-reinstall {package}"
        return f"'{command.name}' needs {package}, which cannot be imported ({first_line(exc)}): {again}"
    return f"'{command.name}' needs {exc.name}, which is not installed: {install_command(command.extra)}"


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"roadmask: {printable(without_secrets(message))}\n")
    return code
