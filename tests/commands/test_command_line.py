"""The command as a whole: what it says first, what a shell completes, and that its commands speak one language."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer
from typer.models import OptionInfo

from roadmask.stream.cli import _COMMANDS, main
from tests.support.clips import cfr, make_clip
from tests.support.color_model import write_color_model
from tests.support.datasets import make_fastai

ROADMASK = Path(sys.executable).with_name("roadmask")

# Options whose meaning depends on the command, and what it always has in common.
OF_THE_COMMAND = {
    "--output": "where the results go",
    "--batch": "how many at a time: frames a network call, or pictures a training step",
    "--device": "what computes: by ONNX Runtime's names, or torch's",
    "--size": "of the network's input: what it is validated at, or what the model asks for",
    "--max-frames": "a limit; a benchmark has one by default",
    "--video": "the masks' video, for its pictures: of one archive, or of several runs",
    "--video-size": "of a video: one that is drawn, or those to come",
    "--encoder": "of a video, or of a network",
    "--stats": "statistics: written, or read",
    "--classes": "these alone: drawn, or labelled",
    "--exclude": "not these: drawn, or labelled",
    "--stride": "every n-th: frame, or mask",
    "--layout": "where things are: colours in a network's pictures, or files in a data set",
    "--scale": "of pictures: by how much they are varied, or what their numbers are multiplied by",
    "--pictures": "real ones to compare a model on; each command says where it takes others from",
    "--resume": "go on: inside videos, or in training",
    "--stream": "one video stream of a file; of a run all of them, too",
    "--map": "what classes are called: as the user does, or as a data set does",
}


def options() -> dict[str, dict[str, tuple[Any, ...]]]:
    """Of each option, by command: its default, how its value is written, and its help."""
    found: dict[str, dict[str, tuple[Any, ...]]] = defaultdict(dict)
    for command in _COMMANDS:
        app = typer.Typer()
        app.command()(getattr(import_module(f"roadmask.{command.module}"), command.function))
        for parameter in typer.main.get_command(app).params:
            if parameter.param_type_name == "option":
                name = max(parameter.opts, key=len)
                facts = (parameter.default, parameter.metavar, getattr(parameter, "help", None))
                found[name][command.name] = facts
    return found


def test_an_option_has_the_same_meaning_form_and_default_in_every_command() -> None:
    differing = {name: told for name, told in options().items() if len(set(map(str, told.values()))) > 1}
    assert set(differing) - set(OF_THE_COMMAND) == set(), differing


def test_every_exception_to_that_is_one() -> None:
    differing = {name for name, told in options().items() if len(set(map(str, told.values()))) > 1}
    assert set(OF_THE_COMMAND) <= differing


def test_every_option_says_what_it_is() -> None:
    silent = [(name, command) for name, told in options().items() for command in told if not told[command][2]]
    assert silent == []


def test_without_arguments_it_shows_the_five_lines_that_matter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    told = capsys.readouterr()
    assert [line.split()[0] for line in told.out.splitlines()] == ["roadmask"] * 5
    assert told.err == ""


@pytest.fixture(scope="module")
def completion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What bash reads to complete the command."""
    if not ROADMASK.exists():
        pytest.skip("needs roadmask installed")
    script = tmp_path_factory.mktemp("bash") / "completion"
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    with script.open("wb") as file:
        subprocess.run([ROADMASK, "--show-completion", "bash"], stdout=file, check=True, env=environment, timeout=60)
    return script


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("ru", ["run"]),
        ("run --mod", ["--model"]),
        ("run drive.mp4 --model camvid-lite0-i", ["camvid-lite0-int8"]),
        ("run drive.mp4 --device tens", ["tensorrt"]),
        ("convert masks.zip --to co", ["coco", "colmap", "color"]),
        ("preview masks.zip drive.mp4 --view side", ["side-by-side"]),
        ("train camvid --valid-", ["--valid-drive", "--valid-list"]),
    ],
)
def test_bash_completes_commands_options_and_values(typed: str, expected: list[str], completion: Path) -> None:
    script = f"""
        source {completion}
        COMP_WORDS=(roadmask {typed}); COMP_CWORD=$(({len(typed.split())}))
        _roadmask_completion {ROADMASK}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["/bin/bash", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert sorted(done.stdout.split()) == expected, done.stderr


def help_of(command: str, capsys: pytest.CaptureFixture[str], option: str = "--help-all") -> str:
    assert main([command, option]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", [command.name for command in _COMMANDS])
def test_help_fits_a_screen_and_help_all_tells_of_every_option_once(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    short, all_of_it = (help_of(command, capsys, option) for option in ("--help", "--help-all"))
    assert len(short.splitlines()) <= 55
    assert short == help_of(command, capsys, "-h")
    function, module = next(
        (item.function, import_module(f"roadmask.{item.module}")) for item in _COMMANDS if item.name == command
    )
    groups = getattr(module, "OPTION_GROUPS", {})
    if not groups:
        assert short == all_of_it
        return
    hints = get_type_hints(getattr(module, function), include_extras=True)
    options = [name for name, hint in hints.items() if is_option(hint)]
    assert sorted(" ".join(groups.values()).split()) == sorted([*options, "help"]), "each stands in one group"
    for heading in list(groups)[1:]:
        assert f"\n{heading}:\n" in all_of_it
        assert f"\n{heading}:\n" not in short
        assert heading.lower() in " ".join(short.split())


def is_option(hint: Any) -> bool:
    return any(isinstance(item, OptionInfo) for item in getattr(hint, "__metadata__", ()))


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--style", "foo"), "--style': 'foo' is not one of 'fill', 'outline', 'fill+outline'"),
        (("--crf", "99"), "--crf': 99 is not in the range 0<=x<=51"),
    ],
)
def test_a_wrong_value_is_told_in_words_of_people(
    option: tuple[str, str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "drive.mp4", *option]) == 2
    assert told in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("command", [command.name for command in _COMMANDS])
def test_the_examples_in_its_help_have_options_that_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = [line.strip() for line in help_of(command, capsys).splitlines() if line.strip().startswith("roadmask ")]
    assert shown, "no example"
    for line in shown:
        _, called, *words = line.split()
        text = help_of(called, capsys)
        for word in words:
            if word.startswith("-") and word != "-":
                assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text.partition("Options:")[2]), line


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("drive.mp4", "roadmask run drive.mp4"),
        ("my drive.mp4", "roadmask run 'my drive.mp4'"),
        ("dashcam/", "roadmask run dashcam/"),
        ("rtsp://joe:secret@camera/live", "roadmask run rtsp://camera/live"),
        ("exprot", "Did you mean 'export'?"),
    ],
)
def test_a_source_or_a_misspelled_word_in_place_of_a_command_is_answered_with_the_one_that_is_meant(
    word: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert meant in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        ("run drive.mp4 -m camvid-lite", "did you mean camvid-lite0?"),
        ("train data -o run --start-from camvid-lite0-in8", "did you mean camvid-lite0-int8?"),
        ("run drive.mp4 -m colors.onnx --classes rode", "did you mean Road?"),
        ("run drive.mp4 -m colors.onnx --exclude SKYE", "did you mean Sky?"),
        ("eval colors.onnx data --map Sky=Rood", "did you mean Road?"),
    ],
)
def test_a_misspelled_model_or_class_is_answered_with_the_one_that_is_meant(
    command: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "drive.mp4", cfr(1))
    make_fastai(tmp_path / "data")
    write_color_model(tmp_path / "colors.onnx")
    assert main(command.split()) in (1, 2)
    assert meant in capsys.readouterr().err
