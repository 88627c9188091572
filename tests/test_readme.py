"""What the README and the guides show must be true of the code."""

from __future__ import annotations

import json
import re
import tomllib
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pytest

import roadmask
from roadmask import Model, SegmentSettings, process_video
from roadmask.stream.batch.batch import STATES
from roadmask.stream.camera.status import CameraState
from roadmask.stream.cli import _COMMANDS, main
from tests.bench import peers
from tests.support.clips import cfr, make_clip
from tests.support.own_process import ROOT

GUIDES = ("stream/README.md", "training/README.md", "export/README.md")
DOCUMENTS = ("README.md", *GUIDES)
COMMANDS = tuple(command.name for command in _COMMANDS)
# The same command stands in .ci/run, which takes it from the README.
TEST_COMMAND = re.compile(r"bin/python -m pytest -n auto$", re.MULTILINE)


@cache
def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(document: str, *languages: str) -> list[str]:
    """The fenced blocks of these languages."""
    return re.findall(rf"```(?:{'|'.join(languages)})\n(.*?)```", read(document), re.DOTALL)


def test_the_citation_is_of_this_version_and_licence() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    cited = dict(re.findall(r"^([a-z-]+): (\S.*)$", read("CITATION.cff"), re.MULTILINE))
    assert (cited["version"], cited["license"], cited["type"]) == (roadmask.__version__, project["license"], "software")
    assert cited["cff-version"] == "1.2.0"
    assert all(f"name: {author['name']}" in read("CITATION.cff") for author in project["authors"])
    assert "doi" not in cited, "none has been given"
    latest = next(heading for heading in headings("CHANGELOG.md", "##") if heading != "Unreleased")
    assert latest == f"{cited['version']} - {cited['date-released']}"


def prose(document: str) -> str:
    """Without the fenced blocks, whose comments look like headings."""
    return re.sub(r"```.*?```", "", read(document), flags=re.DOTALL)


def spans(document: str) -> list[str]:
    """What is set as code within the text, each in one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(document))]


def test_the_states_that_people_and_programs_are_told_are_those_of_the_guide() -> None:
    table = read("stream/README.md").partition("| a video is |")[2].partition("\n\n")[0]
    states = [row.split("|")[1].strip().replace(" ", "_") for row in table.splitlines()[2:]]
    assert sorted(states) == sorted(["waiting", "running", *STATES])
    told = re.search(r"Each change \(([^)]+)\)", " ".join(read("stream/README.md").split()))
    assert told
    assert told[1].split(", ") == list(CameraState)


def headings(document: str, level: str = "#+") -> list[str]:
    return re.findall(rf"^{level} (.+)$", prose(document), re.MULTILINE)


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def links(text: str, document: str) -> list[tuple[str, str]]:
    """File, from the root, and anchor, or none, of each link that stays in the repository."""
    folder = (ROOT / document).parent
    targets = [target.partition("#") for target in re.findall(r"\]\((?!http)([^)]+)\)", text)]
    return [
        (str((folder / file).resolve().relative_to(ROOT)) if file else document, place) for file, _, place in targets
    ]


def section(document: str, place: str) -> str:
    """From the heading with this anchor to the next one, whatever its level; all, without an anchor."""
    if not place:
        return prose(document)
    parts = re.split(r"^#+ (.+)$", prose(document), flags=re.MULTILINE)
    texts = dict(zip(map(anchor, parts[1::2]), parts[2::2], strict=True))
    return texts[place]


@pytest.fixture(scope="module")
def help_of() -> dict[str, str]:
    """What each command answers to --help-all."""
    texts = {}
    for command in COMMANDS:
        with redirect_stdout(StringIO()) as out:
            assert main([command, "--help-all"]) == 0
        texts[command] = out.getvalue()
    return texts


def has_option(text: str, option: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text) is not None


def shown_options(text: str, command: str) -> list[str]:
    """The options after each `roadmask COMMAND` of a text, up to a pipe or a comment."""
    calls = re.findall(rf"roadmask {command} ([^\n]*)", text)
    return [word for call in calls for word in re.split(r" #| \| ", call)[0].split() if re.match(r"--?[a-z]", word)]


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(read("README.md").splitlines()) <= 250


def test_the_command_that_runs_the_tests_stands_in_the_readme_once() -> None:
    assert len(TEST_COMMAND.findall(read("README.md"))) == 1


def test_the_quick_start_on_windows_is_that_of_other_systems() -> None:
    (windows,) = blocks("README.md", "powershell")
    others = [line for block in blocks("README.md", "bash")[:2] for line in block.splitlines()]
    assert windows.splitlines() == [
        line.replace("python3", "py", 1).replace(" && ", "; ").replace(".venv/bin/", ".venv\\Scripts\\")
        for line in others
    ]


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples name: a video of 13 frames, and its masks."""
    folder = tmp_path_factory.mktemp("examples")
    make_clip(folder / "drive.mp4", cfr(13), size=(96, 128))
    cv2.imwrite(str(folder / "photo.jpg"), np.full((96, 128, 3), 90, np.uint8))
    settings = SegmentSettings(folder / "drive.mp4", masks=folder / "masks.mkv")
    process_video(settings, Model.load("camvid-lite0-int8"))
    for name in ("masks.npz", "masks.zarr"):
        assert main(["convert", str(folder / "masks.mkv"), "-o", str(folder / name), "--quiet"]) == 0
    return folder


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_block_is_of_a_kind_that_is_tried(document: str) -> None:
    """Python here, commands in `test_guide_commands.py`; the others are drawings."""
    kinds = re.findall(r"^```(.*)\n(?:.*\n)*?```$", read(document), re.MULTILINE)
    assert set(kinds) <= {"", "python", "py", "bash", "powershell", "ini", "yaml", "dockerfile", "json"}
    for block in blocks(document, "json"):
        json.loads(block)


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if blocks(document, "python", "py")])
def test_the_python_examples_run_as_they_stand(
    document: str, drive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(drive)
    for example in blocks(document, "python", "py"):
        exec(compile(example, document, "exec"), {})  # the text is ours
        if document == "README.md":
            assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["0.0", "0.2", "0.4"]


def test_the_notebook_runs_from_its_first_cell_to_its_last(drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    monkeypatch.chdir(drive)
    monkeypatch.setitem(matplotlib.rcParams, "backend", "agg")
    cells = json.loads(read("training/roadmask.ipynb"))["cells"]
    assert len(cells) == 10
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "kept in the repository without them"
            exec(compile("".join(cell["source"]), "roadmask.ipynb", "exec"), names)  # the text is ours
    assert {"seen.mp4", "masks.zip", "shares.csv", "seen.png", "mask.png"} <= {path.name for path in drive.iterdir()}
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_shown_with_options_that_it_has(command: str, help_of: dict[str, str]) -> None:
    shown = [block for document in DOCUMENTS for block in blocks(document, "bash", "powershell", "ini")]
    assert any(f"roadmask {command} " in block for block in shown), f"no document shows roadmask {command}"
    inline = [span for document in DOCUMENTS for span in spans(document)]
    for option in shown_options("\n".join([*shown, *inline]), command):
        assert has_option(help_of[command], option), f"roadmask {command}: {option} is no option"


def test_every_option_in_the_text_is_one_of_a_command_or_of_a_script_of_ours(help_of: dict[str, str]) -> None:
    paths = [*(ROOT / "tests" / "bench").glob("*.py"), *(ROOT / "tests").rglob("rtsp_server.py")]
    scripts = [path.read_text(encoding="utf-8") for path in paths]
    known = "\n".join([*help_of.values(), *scripts, "--help --install-completion"])
    for document in DOCUMENTS:
        for span in spans(document):
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span):
                assert has_option(known, option), f"{document}: `{span}`: {option} is no option"
        for block in blocks(document, "yaml"):
            for option in re.findall(r'"(--[\w-]+)"', block):
                assert has_option(help_of["run"], option), f"{document}: {option} is no option of run"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_told(command: str, help_of: dict[str, str]) -> None:
    told = "\n".join(map(read, DOCUMENTS))
    options = re.findall(r"^ +(?:-\w, )?(--[\w-]+)", help_of[command].partition("Options:")[2], re.MULTILINE)
    assert options
    assert [option for option in options if not has_option(told, option)] == []


def test_every_picture_that_is_shown_is_there_and_light_and_none_is_left_over() -> None:
    shown = {
        ((ROOT / document).parent / path).resolve()
        for document in (*DOCUMENTS, "stream/models/camvid-lite0.md")
        for path in re.findall(r"!\[[^]]+\]\(([^)]+)\)", read(document))
    }
    assert shown == {path for path in (ROOT / ".assets").iterdir() if path.suffix in {".jpg", ".png"}}
    assert all(path.stat().st_size < 150_000 for path in shown)


def test_what_the_comparison_with_peers_has_printed_can_be_plotted_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = [peers.Bar("bare model", 34.5, 21.7, 36.3, 57.3), peers.Bar(f"{peers.OURS} --fast", 69.2, 66.4, 78.7, 26.5)]
    peers.tell([*bars, peers.Bar(peers.OURS, 44.8, 43.5, 49.9, 41.6)], "clip.mp4, 60 frames, lite0; EPYC, 2 cores")
    (tmp_path / "told.txt").write_text(f"begun\n{capsys.readouterr().out}done\n", encoding="utf-8")
    told, title = peers.read_told(tmp_path / "told.txt")
    assert (told[:2], title) == (bars, "clip.mp4, 60 frames, lite0; EPYC, 2 cores")
    peers.plot(told, title, tmp_path / "speed.png")
    assert cv2.imread(str(tmp_path / "speed.png")) is not None


def test_every_extra_that_is_named_can_be_installed() -> None:
    extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    for document in DOCUMENTS:
        for names in re.findall(r"(?<=\.|\))\[([a-z,]+)\]['\"]", read(document)):
            assert set(names.split(",")) <= set(extras), f"{document}: {names}"


def test_the_image_is_of_a_python_that_is_supported_and_its_user_is_not_root() -> None:
    (block,) = blocks("stream/README.md", "dockerfile")
    steps = [line.split(maxsplit=1) for line in block.replace("\\\n", "").splitlines()]
    assert [step for step, _ in steps] == ["FROM", "RUN", "USER", "WORKDIR", "ENTRYPOINT"]
    does = dict(steps)
    (version,) = re.findall(r"python:([\d.]+)-slim", does["FROM"])
    assert f"Programming Language :: Python :: {version}" in read("pyproject.toml")
    assert f"--uid {does['USER']} " in does["RUN"]
    assert json.loads(does["ENTRYPOINT"]) == ["roadmask"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(document: str) -> None:
    for file, place in links(prose(document), document):
        assert (ROOT / file).is_file(), f"{document}: {file}"
        if place:
            assert place in map(anchor, headings(file)), f"{document}: {file}#{place}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_two_headings_share_an_anchor(document: str) -> None:
    anchors = [anchor(heading) for heading in headings(document)]
    assert len(set(anchors)) == len(anchors)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_is_named_exists(document: str) -> None:
    for path in re.findall(r"(?<![\w./])(?:stream|training|export|tests)/[\w./-]+\.\w+", read(document)):
        assert (ROOT / path).is_file(), f"{document}: {path}"
    for module in re.findall(r"python -m (tests[\w.]+)", read(document)):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), f"{document}: {module}"
    for name in re.findall(r"(?<![\w/])(?:test_\w+|corpus)\.py", read(document)):
        assert len(list((ROOT / "tests").rglob(name))) == 1, f"{document}: {name}"


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_is_found_from_the_readme_and_lists_what_is_in_it(guide: str) -> None:
    assert guide in {file for file, _ in links(prose("README.md"), "README.md")}
    contents = prose(guide).partition("\n## ")[0]
    listed = [place for file, place in links(contents, guide) if file == guide]
    assert listed == [anchor(heading) for heading in headings(guide, "##")]


def test_the_classes_are_those_of_the_model_in_the_box() -> None:
    rows = re.findall(r"^\| (\d+) \| (\w+) \| (\d+), (\d+), (\d+) \|", read("README.md"), re.MULTILINE)
    told = [(int(index), name, (int(red), int(green), int(blue))) for index, name, red, green, blue in rows]
    classes = Model.load("camvid-lite0", device="cpu").spec.classes
    assert told == [(index, item.name, item.color) for index, item in enumerate(classes)]


def test_what_the_readme_measured_stands_where_it_links_to() -> None:
    rows = re.findall(r"^\| (.+) \| (.+) \| (.*\]\(.+) \|$", section("README.md", "measured"), re.MULTILINE)
    assert len(rows) >= 10
    for what, value, by in rows:
        there = " ".join(section(*link) for link in links(by, "README.md"))
        for number in re.findall(r"(?<![\w.])\d+(?:[.,]\d+)*", f"{what} {value}"):
            assert re.search(rf"(?<![\d.,]){re.escape(number)}(?!\d|[.,]\d)", there), f"{what}: {number}"


def test_every_room_is_on_the_map_with_the_module_to_begin_with() -> None:
    stream = ROOT / "stream"
    rows = re.findall(r"^\| `stream/(\w+)/` \|[^|]+\| `(\w+\.py)` \|$", read("stream/README.md"), re.MULTILINE)
    for room, module in rows:
        assert (stream / room / module).is_file(), f"{room}: {module}"
    assert sorted(room for room, _ in rows) == sorted(path.parent.name for path in stream.glob("*/__init__.py"))
