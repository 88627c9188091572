"""`roadmask doctor`: each check finds what is there and what is broken, and nothing that breaks takes it along."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from roadmask.stream.cli import main
from roadmask.stream.doctor import devices as doctor_devices
from roadmask.stream.doctor import doctor
from roadmask.stream.doctor import video as doctor_video
from roadmask.stream.doctor.doctor import Finding
from roadmask.stream.network.model import Model
from tests.support.findings import broken
from tests.support.own_process import PYTHONPATH, no_network


def test_a_real_installation_is_checked_without_a_network_and_nothing_is_left(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    here = tmp_path / "here"
    for folder in (here, *folders.values()):
        folder.mkdir()
    silent = ("CI", "ORT_DISABLE_TELEMETRY")  # CI would keep ONNX Runtime's telemetry silent by itself
    env = {name: value for name, value in os.environ.items() if name not in silent}
    env |= {name: str(folder) for name, folder in folders.items()} | {"PYTHONPATH": PYTHONPATH}
    command = [*no_network(), sys.executable, "-m", "roadmask", "doctor", "--json"]
    done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["state"] in ("ok", "warning")
    assert list(dict.fromkeys(finding["check"] for finding in told["findings"])) == list(doctor.CHECKS)
    for finding in told["findings"]:
        assert list(finding) == ["check", "name", "state", "found", "advice"]
        assert finding["state"] in ("ok", "warning")
        assert finding["found"]
        assert "\n" not in finding["found"] + finding["advice"]
    names = {(finding["check"], finding["name"]) for finding in told["findings"]}
    assert {("devices", "cpu"), ("codecs", "H.264 encoder"), ("selftest", "run"), ("disk", "cache")} <= names
    ours = folders["XDG_CACHE_HOME"] / "roadmask"
    left = [path for folder in (here, *folders.values()) for path in folder.rglob("*")]
    kept = [path for path in left if path.is_relative_to(ours / "openvino")]  # what it has compiled, for later runs
    assert [path for path in left if path not in kept] == [ours]


def test_only_the_checks_that_are_named_are_made_in_the_order_of_asking(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "disk", "versions", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert list(dict.fromkeys(finding["check"] for finding in findings)) == ["versions", "disk"]


def test_a_check_that_is_not_known_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "disks"]) == 2
    assert "no check" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("states", "code", "worst"),
    [
        ([], 0, "ok"),
        (["ok", "ok"], 0, "ok"),
        (["warning", "ok"], 0, "warning"),
        (["ok", "problem", "warning"], 1, "problem"),
    ],
)
def test_only_a_problem_makes_the_command_fail(
    states: list[Any], code: int, worst: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [("disk", Finding("here", state, "found", "do")) for state in states]
    monkeypatch.setattr("roadmask.stream.commands.doctor.examine", lambda _: iter(found))
    assert main(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["state"] == worst


def test_in_a_pipe_lines_have_80_columns_no_colour_and_unbroken_paths(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/a-very-long-name/" * 6
    words = "so many words that they do not fit into the rest of this one line of eighty columns"
    found = [
        ("disk", Finding("a name of more than 15 letters", "warning", words, words)),
        ("disk", Finding("h\x1b[31mere", "problem", f"{path} is full", "make room")),
    ]
    monkeypatch.setattr("roadmask.stream.commands.doctor.examine", lambda _: iter(found))
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert path in text
    assert all(len(line) <= 80 for line in text.splitlines() if path not in line)
    assert re.sub(r"\s+", " ", text).count(words) == 2
    assert text.splitlines()[0] == "disk"
    assert text.splitlines()[-1] == "1 problem, 1 warning"


def test_a_check_that_crashes_hangs_or_raises_is_a_problem_and_the_next_ones_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the process runs in place of checks of ours, under their names.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys, tempfile, time, types\n"
        "def check(name, does):\n"
        "    sys.modules['roadmask.stream.doctor.' + name] = module = types.ModuleType(name)\n"
        "    setattr(module, name, does)\n"
        "def raises():\n"
        "    from roadmask.stream.doctor.doctor import Finding\n"
        "    yield Finding('first', 'ok', 'noise does not matter')\n"
        "    raise RuntimeError('two\\nlines')\n"
        "check('crashes', lambda: tempfile.mkdtemp() and os.kill(os.getpid(), signal.SIGILL))\n"
        "check('hangs', lambda: time.sleep(60))\n"
        "check('raises', raises)\n"
        "check('prints', lambda: [os.write(1, b'no JSON')] and ())\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), PYTHONPATH]))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(doctor, "SLOW_CHECKS", {"hangs": "hangs"})  # the others, and the process, have their time
    monkeypatch.setattr(doctor, "_SLOW_PATIENCE_S", 1.0)
    found = list(doctor.examine(["crashes", "prints", "raises", "hangs", "none", "disk"]))
    told = [(check, finding.state, finding.found) for check, finding in found]
    crash = "the check has ended its process (SIGILL: an instruction that this processor lacks)"
    assert told[:4] == [
        ("crashes", "problem", crash),
        ("raises", "ok", "noise does not matter"),
        ("raises", "problem", "the check has failed (RuntimeError: two)"),
        ("hangs", "problem", "the check found nothing for 1 s, and was ended"),
    ]
    assert told[4][:2] == ("none", "problem")
    assert "No module named" in told[4][2]
    assert {check for check, *_ in told[5:]} == {"disk"}
    assert all(finding.advice for _, finding in found if finding.state == "problem")
    assert list(temporary.iterdir()) == [], "what a killed process left"


def test_without_a_temporary_folder_the_checks_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryDirectory", broken)
    assert {check for check, _ in doctor.examine(["disk"])} == {"disk"}


def test_where_no_process_can_be_started_that_is_told_of_each_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "HelperProcess", broken)
    told = [(check, finding.state, finding.found) for check, finding in doctor.examine(["disk", "codecs"])]
    found = "no process can be started for the check: Permission denied"
    assert told == [("disk", "problem", found), ("codecs", "problem", found)]


def test_a_library_that_cannot_be_imported_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "roadmask.stream.doctor.video", None)
    (finding,) = doctor.findings("codecs")
    assert finding.state == "problem"
    assert finding.found.startswith("cannot be made: import of roadmask.stream.doctor.video halted")
    assert "doctor versions" in finding.advice


def test_a_check_that_runs_out_of_memory_says_so_though_something_else_was_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def codecs() -> Iterator[Finding]:
        try:
            raise RuntimeError("can't start new thread")
        finally:
            raise ValueError("while cleaning up")

    monkeypatch.setattr(doctor_video, "codecs", codecs)
    (finding,) = doctor.findings("codecs")
    assert (finding.state, finding.found) == ("problem", "memory ran out")


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("selftest")
    doctor_devices.draw_known(folder / "drive.mp4", frames=8)
    doctor_devices.run(folder, Model.load(device="cpu"))
    return folder


def test_a_run_that_is_right_has_nothing_to_tell(segmented: Path) -> None:
    assert doctor_devices.masks_problem(segmented) == ""
    assert doctor_devices.overlay_problem(segmented) == ""


def test_an_overlay_that_shows_nothing_or_is_short_is_found(tmp_path: Path) -> None:
    for name, frames in (("drive.mp4", 8), ("overlay.mp4", 8)):
        doctor_devices.draw_known(tmp_path / name, frames=frames)
    assert doctor_devices.overlay_problem(tmp_path) == "nothing is drawn over the video"
    doctor_devices.draw_known(tmp_path / "overlay.mp4", frames=7)
    assert doctor_devices.overlay_problem(tmp_path).startswith("the overlay has 7 frames")


def test_a_network_that_confuses_colours_or_sees_nothing_is_found(segmented: Path) -> None:
    model = Model.load(device="cpu")
    height, width = doctor_devices.HEIGHT, doctor_devices.WIDTH
    first, *_ = doctor_devices.read(segmented / "drive.mp4", model.spec.input_size(height, width))
    picture = first.input[None]

    def mask(pictures: Any) -> Any:
        return cv2.resize(model.scores(pictures)[0].argmax(axis=0).astype(np.uint8), (width, height), interpolation=0)

    assert doctor_devices.what_is_wrong(mask(picture), model.spec.classes) == ""
    assert "sky" in doctor_devices.what_is_wrong(mask(picture[:, ::-1].copy()), model.spec.classes)
    assert "sky" in doctor_devices.what_is_wrong(np.zeros((height, width), np.uint8) + 3, model.spec.classes)
