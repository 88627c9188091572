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

ROOT = Path(__file__).parent.parent
PACKAGES = ("stream", "export", "training")
# What a module may import from our other packages: a package whole, or single modules.
ALLOWED = {
    "stream": set(),
    "training": set(),
    "export": {
        "training.unet",
        "training.checkpoint",
        "training.camvid",
        "training.errors",
        "training.metrics",
        "training.options",
        "training.sheet",
        "stream",  # its public names
        "stream.commands",
        "stream.decode.pixels",
        "stream.masks.deciding",
        "stream.network.model",
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
TOP = {"__init__", "__main__", "cli", "deciding_state", "errors", "frames", "pipeline", "spec"}
# Heavy or optional packages, and who may import them at all.
ALLOWED_THIRD_PARTY = {"torch": {"training", "export"}, "onnx": {"export"}, "matplotlib": {"training", "export"}}


def imports_of(path: Path) -> Iterator[str]:
    """Absolute module names that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_each_other_only_along_the_arrows(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        for module in imports_of(path):
            top = module.partition(".")[0]
            if top in PACKAGES:
                assert top != package, f"{path}: imports inside a package are relative"
                assert module in ALLOWED[package], f"{path} imports {module}"
            if top in ALLOWED_THIRD_PARTY:
                assert package in ALLOWED_THIRD_PARTY[top], f"{path} imports {module}"


def test_stream_has_these_rooms_and_no_crumbs_beside_them() -> None:
    stream = ROOT / "stream"
    assert {path.parent.name for path in stream.glob("*/__init__.py")} == ROOMS
    assert {path.stem for path in stream.glob("*.py")} == TOP
    assert not [*stream.glob("*/*/**/*.py")], "a room has no rooms in it"


def test_the_rooms_of_stream_import_each_other_one_way() -> None:
    stream = ROOT / "stream"
    imported: dict[str, set[str]] = {}
    for path in stream.rglob("*.py"):
        if path.parent == stream and path.stem in ("__init__", "__main__", "cli"):
            continue  # the doors: they name everything
        room = path.relative_to(stream).parts[0].removesuffix(".py")
        names = imported.setdefault(room, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            # One dot more than it takes to leave the room.
            if isinstance(node, ast.ImportFrom) and node.level == len(path.relative_to(stream).parts):
                assert node.module, f"{path}: names the module that it imports from"
                names.add(node.module.partition(".")[0])
    TopologicalSorter(imported).prepare()  # raises CycleError, which names the rooms of a circle


def test_the_wheel_holds_the_three_packages_and_nothing_more(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    wheel = next(iter(WheelBuilder(str(ROOT)).build(directory=str(tmp_path))))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(PACKAGES)
    assert {"stream/models/camvid-lite0.onnx", "stream/models/camvid-lite0-int8.onnx"} <= set(names)
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert {Path(name).suffix for name in names if ".dist-info/" not in name} <= {
        *(".py", ".typed", ".onnx", ".md"),
        *(".html", ".css", ".js", ".svg"),  # the page of the live view
    }


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_help_imports_neither_torch_nor_training(arguments: list[str]) -> None:
    code = (
        "import sys; from stream.cli import main; main(sys.argv[1:]);"
        "heavy = {'torch', 'onnx', 'training', 'export', 'matplotlib'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def test_the_list_of_commands_needs_neither_opencv_nor_onnxruntime() -> None:
    code = (
        "import sys; from stream.cli import main; main(['--help']);"
        "heavy = {'cv2', 'onnxruntime', 'av', 'numpy', 'rich.console'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_telemetry_is_off_before_onnxruntime_is_imported() -> None:
    code = (
        "import os; os.environ.pop('ORT_DISABLE_TELEMETRY', None); import sys, stream;"
        "assert 'onnxruntime' not in sys.modules; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_public_names_are_sorted_documented_by_a_home_and_importable() -> None:
    import stream

    assert stream.__all__ == sorted(stream._HOMES)
    for name in stream.__all__:
        assert getattr(stream, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'segments'"):
        _ = stream.segments
