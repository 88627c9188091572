"""The shape of the project: who imports whom, what the wheel holds, and how fast the command answers."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import roadmask
from tests.support.clips import cfr, make_clip
from tests.support.color_model import write_color_model
from tests.support.own_process import ROOT

PACKAGES = ("stream", "export", "training")
# What a module may import from our other packages: a package whole, or single modules.
ALLOWED = {
    "stream": set(),
    "training": set(),
    "export": {
        "training.unet",
        "training.checkpoint",
        "training.dataset",
        "training.label_pictures",
        "training.layouts",
        "training.public_sets",
        "training.split",
        "training.class_lists",
        "training.classmap",
        "training.labels",
        "training.errors",
        "training.files",
        "training.metrics",
        "training.options",
        "training.sheet",
        "stream",  # its public names
        "stream.commands",
        "stream.decode.pixels",
        "stream.masks.deciding",
        "stream.masks.familiar",
        "stream.network.model",
        "stream.network.providers",
        "stream.pipeline",
        "stream.spec",
        "stream.system.talk",
    },
}
# A room is an idea that a user would name; at the top stands what all of them share.
ROOMS = {
    *("run", "decode", "network", "masks", "encode", "archive", "stats", "camera", "live", "batch", "cluster"),
    *("labelling", "preview", "report", "doctor", "bench", "system", "commands"),
}
TOP = {"__init__", "cli", "errors", "frames", "pipeline", "result", "segmenter", "spec"}
# Heavy or optional packages, and who may import them at all.
ALLOWED_THIRD_PARTY = {
    "torch": {"training", "export"},
    "onnx": {"export", "training"},
    "matplotlib": {"training", "export"},
}


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Level and absolute name of each import anywhere in a file; those of ours begin with `roadmask`."""
    folders = ("roadmask", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = folders[: len(folders) - node.level + 1] if node.level else ()
            yield node.level, ".".join([*above, *([node.module] if node.module else [])])


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_each_other_only_along_the_arrows(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        for level, name in imports_of(path):
            top, _, module = name.partition(".")
            assert level or top != "roadmask", f"{path}: imports of our own are relative"
            if top == "roadmask" and module and module.partition(".")[0] != package:
                assert module in ALLOWED[package], f"{path} imports {module}"
            if top in ALLOWED_THIRD_PARTY:
                assert package in ALLOWED_THIRD_PARTY[top], f"{path} imports {name}"


@pytest.mark.parametrize("folder", [*PACKAGES, "tests"])
def test_packages_are_imported_by_the_names_that_they_are_installed_under(folder: str) -> None:
    """At the top of a checkout `import stream` may work as well, and makes a second copy of every class."""
    for path in (ROOT / folder).rglob("*.py"):
        if path.parent.name == "golden":  # made by an earlier version, by its packages' names
            continue
        for _, name in imports_of(path):
            assert name.partition(".")[0] not in PACKAGES, f"{path} imports {name}"


def test_stream_has_these_rooms_and_no_crumbs_beside_them() -> None:
    stream = ROOT / "stream"
    assert {path.parent.name for path in stream.glob("*/__init__.py")} == ROOMS
    assert {path.stem for path in stream.glob("*.py")} == TOP
    assert not [*stream.glob("*/*/**/*.py")], "a room has no rooms in it"


def test_the_rooms_of_stream_import_each_other_one_way() -> None:
    stream = ROOT / "stream"
    imported: dict[str, set[str]] = {}
    for path in stream.rglob("*.py"):
        if path.parent == stream and path.stem in ("__init__", "cli"):
            continue  # the doors: they name everything
        room = path.relative_to(stream).parts[0].removesuffix(".py")
        names = imported.setdefault(room, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            # One dot more than it takes to leave the room.
            if isinstance(node, ast.ImportFrom) and node.level == len(path.relative_to(stream).parts):
                named = [alias.name for alias in node.names]
                assert node.module or named == ["__version__"], f"{path}: names the module that it imports from"
                names.add((node.module or "version").partition(".")[0])
    TopologicalSorter(imported).prepare()  # raises CycleError, which names the rooms of a circle


def test_tests_stand_in_rooms_that_the_code_has() -> None:
    tests = ROOT / "tests"
    rooms = {path.relative_to(tests).parent.as_posix() for path in tests.rglob("test_*.py")} - {"."}
    assert rooms <= {*ROOMS, "training", "export"}


def test_no_file_of_tests_is_longer_than_one_reads_in_one_go() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > 400} == {}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the wheel makes it: what packages are installed in."""
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("wheel")
    wheel = next(iter(WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_one_package_with_the_three_in_it_and_nothing_more(site: Path) -> None:
    paths = [path.relative_to(site) for path in files_of(site)]
    names = {path.as_posix() for path in paths if not path.parts[0].endswith(".dist-info")}
    # Below `roadmask`, nothing shadows what others call `stream`, `export` or `training`.
    assert {name.partition("/")[0] for name in names} == {"roadmask"}
    here = {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in files_of(package)}
    assert {name.removeprefix("roadmask/") for name in names} == {
        *("__init__.py", "__main__.py", "py.typed"),
        *(name for name in here if not name.endswith(".ipynb")),
    }
    assert {"stream/models/camvid-lite0.onnx", "stream/models/camvid-lite0-int8.md"} <= here
    assert {Path(name).suffix for name in names} <= {
        *(".py", ".typed", ".onnx", ".md"),
        *(".html", ".css", ".js", ".svg"),  # the page of the live view
    }
    folder = site / f"roadmask-{roadmask.__version__}.dist-info/licenses"
    notes = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert notes == {"LICENSE", "NOTICE", "LICENSES/Apache-2.0.txt"}


def files_of(folder: str | Path) -> Iterator[Path]:
    """All that is in a folder, one of the checkout by its name, but for what Python keeps for itself."""
    return (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="what a checkout holds")
def test_nothing_lies_at_the_top_of_a_checkout_that_is_not_known_here() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {name.partition("/")[0] for name in listed.splitlines()}
    assert top - {*PACKAGES, "tests"} == {
        *(".assets", ".ci", ".gitignore", ".package", "pyproject.toml"),
        *("CHANGELOG.md", "CITATION.cff", "LICENSE", "LICENSES", "NOTICE", "README.md"),
    }


def test_what_the_wheel_holds_can_be_imported(site: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "import roadmask, roadmask.__main__, roadmask.export.export_cli, roadmask.training.train_cli;"
        "assert all(getattr(roadmask, name) for name in dir(roadmask));"
        "files = {module.__file__ for name, module in sys.modules.items() if name.partition('.')[0] == 'roadmask'};"
        "assert len(files) > 50 and all(file.startswith(sys.argv[1]) for file in files), files"
    )
    subprocess.run([sys.executable, "-P", "-c", code, str(site)], check=True, cwd=site.parent)


def test_the_source_distribution_holds_the_packages_and_all_that_the_tests_need() -> None:
    from hatchling.builders.sdist import SdistBuilder

    held = {Path(file.distribution_path).as_posix() for file in SdistBuilder(str(ROOT)).recurse_included_files()}
    here = {path for folder in (*PACKAGES, "tests", ".assets", ".ci", "LICENSES") for path in files_of(folder)}
    alone = ("CHANGELOG.md", "CITATION.cff", "LICENSE", "NOTICE", "README.md")  # and pyproject.toml, unasked
    package = {f".package/roadmask/{name}" for name in ("__init__.py", "__main__.py", "py.typed")}
    assert held == {path.relative_to(ROOT).as_posix() for path in here} | {*alone, *package}
    assert [path for path in here if path.stat().st_size > 200_000 and path.suffix != ".onnx"] == []


def test_an_editable_install_puts_one_folder_on_the_path_with_one_package_in_it(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    with zipfile.ZipFile(
        next(iter(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["editable"])))
    ) as wheel:
        (name,) = (name for name in wheel.namelist() if ".dist-info/" not in name)
        (folder,) = wheel.read(name).decode().splitlines()
    assert name.endswith(".pth")
    assert [path.name for path in Path(folder).iterdir() if path.name != "__pycache__"] == ["roadmask"]


def test_a_source_distribution_has_all_that_the_wheel_is_made_of() -> None:
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    source, wheel = (
        {file.relative_path for file in builder(str(ROOT)).recurse_included_files()}
        for builder in (SdistBuilder, WheelBuilder)
    )
    assert wheel
    assert wheel <= source


def failure_of(code: str, *arguments: str) -> str:
    """What a process of its own that runs this says of its failure."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    return f"exit code {done.returncode}: {done.stderr}" if done.returncode else ""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_help_imports_neither_torch_nor_training(arguments: list[str]) -> None:
    code = (
        "import sys; from roadmask.stream.cli import main; main(sys.argv[1:]);"
        "heavy = {'torch', 'onnx', 'roadmask.training', 'roadmask.export', 'matplotlib'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    assert failure_of(code, *arguments) == ""


def test_the_list_of_commands_needs_neither_opencv_nor_onnxruntime() -> None:
    code = (
        "import sys; from roadmask.stream.cli import main; main(['--help']);"
        "heavy = {'cv2', 'onnxruntime', 'av', 'numpy', 'rich.console'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    assert failure_of(code) == ""


def test_telemetry_is_off_before_onnxruntime_is_imported() -> None:
    code = (
        "import os; os.environ.pop('ORT_DISABLE_TELEMETRY', None); import sys, roadmask;"
        "assert 'onnxruntime' not in sys.modules; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    )
    assert failure_of(code) == ""


def test_the_public_names_are_sorted_documented_by_a_home_and_importable() -> None:

    assert roadmask.__all__ == sorted(name for names in roadmask.stream._HOMES.values() for name in names)
    for name in roadmask.__all__:
        assert getattr(roadmask, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'segments'"):
        _ = roadmask.segments


# What holds the whole, or what every room shares: its tests stand at the top, all others in their room.
WHOLE = {
    *("docstrings", "frames", "guide_commands", "pipeline", "privacy", "properties", "readme", "segmenter", "spec"),
    *("structure", "earlier_version"),
}


def test_tests_stand_in_their_room_or_hold_the_whole() -> None:
    assert {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")} == WHOLE


def test_a_run_of_a_file_waits_for_nothing_that_cameras_pages_and_bars_are_made_with(tmp_path: Path) -> None:
    clip, model = make_clip(tmp_path / "drive.mp4", cfr(2)), write_color_model(tmp_path / "m.onnx")
    code = (
        "import sys; from roadmask.stream.cli import main; code = main(['run', *sys.argv[1:]]);"
        "idle = {'asyncio', 'ssl', 'http.client', 'rich', 'numpy.ma', 'roadmask.stream.live.feed'} & set(sys.modules);"
        "idle |= {'importlib.metadata', 'pydantic'} & set(sys.modules);"
        "sys.exit(f'imported {idle}' if idle else code)"
    )
    assert failure_of(code, str(clip), "-m", str(model), "-o", str(tmp_path / "seen.mp4")) == ""
