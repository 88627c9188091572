"""Each command that README and guides show is one that its command line takes; one that needs only files is run."""

from __future__ import annotations

import argparse
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import pytest

from roadmask.stream import cli
from tests.support.guide_files import MADE, write_guide_files
from tests.test_readme import DOCUMENTS, blocks, read, spans

Words = tuple[str, ...]
OTHERS = {"python3", "py", "pip", "uv", "ray", "mpv", "curl", "vlc", "ffmpeg", "sleep", "docker"}  # other people's
# What takes more than files and a moment: the network, cameras, devices, somebody who ends it; what has been trained.
ELSEWHERE = re.compile(
    r".*://.*|-|/dev/.*|/mnt/.*|.*\$\{.*|cuda|tensorrt|--(ray|watch|serve|show)|.*\.pt|--(fp16|familiar)|nchw"
)
LONG = {"train", "lr-find", "bench", "doctor", "warmup", "suggest-ignore"}


def shown() -> Iterator[Words]:
    """The words of each command in a block of README, guides and notebook, without variables before it."""
    for document in DOCUMENTS:
        for line in "".join(blocks(document, "bash")).splitlines():
            yield from commands_of(line)
        for line in "".join(blocks(document, "powershell")).splitlines():
            yield from commands_of(line.replace("\\", "/"))
        for block in blocks(document, "ini"):
            yield from (tuple(line.split()) for line in re.findall(r"^ExecStart=(.+)$", block, re.MULTILINE))
        for block in blocks(document, "yaml"):
            yield from (("roadmask", *json.loads(words)) for words in re.findall(r"command: (\[.+\])", block))
    cells = json.loads(read("training/roadmask.ipynb"))["cells"]
    for cell in cells:
        for line in "".join(re.findall(r"```bash\n(.*?)```", "".join(cell["source"]), re.DOTALL)).splitlines():
            yield from commands_of(line)


def commands_of(line: str) -> Iterator[Words]:
    """Those that a shell would start."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word in ("&&", "|", ";"):
            if words:
                yield tuple(words)
            if words[:2] == ["docker", "run"]:
                yield tuple(words[words.index("roadmask") :])  # an image of that name, whose command it is
            words = []
        elif words or not re.match(r"[A-Z_]+=", word):
            words.append(word)


def without_redirection(words: Words) -> Words:
    return words[: words.index(">")] if ">" in words else words


COMMANDS = [*dict.fromkeys(map(without_redirection, shown()))]
INLINE = [tuple(span.split()) for document in DOCUMENTS for span in spans(document)]
OURS = [words[1:] for words in COMMANDS if Path(words[0]).name == "roadmask"]
RUN = [words for words in OURS if words[0] not in LONG and not any(map(ELSEWHERE.fullmatch, words))]
SCRIPTS = [
    words[1:]
    for words in dict.fromkeys([*COMMANDS, *INLINE])
    if words[0] == "python" and len(words) > 2 and words[1] != "-c"
]


def test_no_block_shows_a_program_that_nobody_knows() -> None:
    assert {Path(words[0]).name for words in COMMANDS} <= {"roadmask", "python", *OTHERS}
    assert len(OURS) > 150
    assert len(RUN) > 100


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_guide_files(tmp_path_factory.mktemp("named"))


@pytest.fixture
def here(named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, where all is that commands name; the models in the box are quick ones."""
    shutil.copytree(named, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    box = dict.fromkeys(("camvid-lite0", "camvid-lite0-int8"), tmp_path / "mine.onnx")
    for module in ("network.model", "commands.info"):
        monkeypatch.setattr(f"roadmask.stream.{module}.bundled_models", lambda: box)
    return tmp_path


@pytest.mark.parametrize("words", RUN, ids=" ".join)
def test_what_is_shown_runs(words: Words, here: Path) -> None:
    if words[0] != "run":
        shutil.copytree(here / MADE, here, dirs_exist_ok=True)
    if "-o" in words and "--overwrite" not in words:
        remove(Path(words[words.index("-o") + 1]))
    assert cli.main(words) == 0


def remove(path: Path) -> None:
    """What another command of the same document takes as it is."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("words", [words for words in OURS if words not in RUN], ids=" ".join)
def test_what_is_shown_is_taken(words: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    command = next(command for command in cli._COMMANDS if command.name == words[0])
    module = import_module(f"roadmask.{command.module}")
    taken: list[dict[str, Any]] = []

    @wraps(getattr(module, command.function))
    def take(**options: Any) -> None:
        taken.append(options)

    monkeypatch.setattr(module, command.function, take)
    monkeypatch.setattr(cli, "_parser", cli._parser.__wrapped__)  # made anew, as it is kept from call to call
    assert cli.main(words) == 0
    assert taken


class ParsedError(Exception):
    """All that is wanted."""


@pytest.mark.parametrize("words", SCRIPTS, ids=" ".join)
def test_a_script_takes_what_is_shown(words: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    module, *arguments = words[1:] if words[0] == "-m" else (words[0].replace("/", ".").removesuffix(".py"), *words[1:])
    parse = argparse.ArgumentParser.parse_known_args

    def only_parse(self: argparse.ArgumentParser, given: Any = None, namespace: Any = None) -> NoReturn:
        _, unknown = parse(self, given, namespace)
        assert not unknown, f"{module}: {unknown}"
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", only_parse)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ParsedError):
        runpy.run_module(module, run_name="__main__")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_the_unit_of_the_guide_is_one_that_systemd_takes(tmp_path: Path) -> None:
    [unit] = blocks("stream/README.md", "ini")
    (tmp_path / "roadmask.service").write_text(unit.replace("/opt/roadmask/bin/roadmask", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "roadmask.service"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
