"""What the README shows must be true of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stream.cli import _COMMANDS, main
from tests.support.clips import cfr, make_clip

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_example_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_clip(tmp_path / "drive.mp4", cfr(3), size=(96, 128))
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), {})  # the text is ours
    assert capsys.readouterr().out.splitlines() == ["0.0 (96, 128)", "0.04 (96, 128)", "0.08 (96, 128)"]


@pytest.mark.parametrize("command", [command.name for command in _COMMANDS])
def test_every_command_is_shown_with_options_that_it_has(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    known = capsys.readouterr().out
    lines = [line for block in blocks("bash") for line in block.splitlines() if f"roadmask {command} " in line]
    assert lines, f"the README does not show roadmask {command}"
    for line in lines:
        words = line.partition(f"roadmask {command} ")[2].partition(" #")[0].split()
        for word in words:
            if word.startswith("-"):
                assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", known), f"{line}: {word} is no option"


def test_every_file_that_is_named_exists() -> None:
    root = Path(__file__).parent.parent
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (root / link).is_file(), link
    for path in re.findall(r"`((?:stream|training|export|tests)/[\w./-]+\.\w+)`", README):
        assert (root / path).is_file(), path


def test_every_link_within_it_leads_to_a_heading() -> None:
    headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= anchors


def test_every_room_is_on_the_map_with_the_module_to_begin_with() -> None:
    stream = Path(__file__).parent.parent / "stream"
    told: set[str] = set()
    for rooms, module in re.findall(r"^\| (`stream/[^|]+`) \|[^|]+\| (?:`(\w+\.py)`)? ?\|$", README, re.MULTILINE):
        names = re.findall(r"(\w+)/`", rooms)
        told |= set(names)
        assert not module or any((stream / name / module).is_file() for name in names), f"{names}: {module}"
    assert told == {path.parent.name for path in stream.glob("*/__init__.py")}
