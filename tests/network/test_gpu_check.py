"""`tests/gpu/check.py` goes through all its steps wherever it is tried, and none of them ends the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.color_model import write_color_model
from tests.support.own_process import ROOT

CHECK = ROOT / "tests" / "gpu" / "check.py"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / ".package"), "PATH": "/nowhere"}  # no nvidia-smi


def test_a_rehearsal_on_the_cpu_goes_through_every_step_and_keeps_what_each_found(tmp_path: Path) -> None:
    model = write_color_model(tmp_path / "m.onnx")
    command = [sys.executable, CHECK, "--rehearse", "--model", model, "--output", tmp_path / "out"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "check.json").read_text())
    assert {each["step"]: each["why"] for each in found if each["state"] != "ok"} == {}
    rows = {row["what"]: row for each in found for row in each["rows"]}
    assert rows["masks of m, drive96, as the CPU's"]["equal"] == 1
    assert rows["masks of m, drive96, as the CPU's"]["frames"] == 3
    assert rows["masks of fp16, drive96, as the CPU's"]["equal"] > 0.99
    assert all(rows[f"run m, drive96: {kind}"]["frames/s"] > 0 for kind in ("stats", "masks", "overlay"))
    assert rows["bare m, batch 2"]["frames/s, bound"] > 0
    assert "cannot be decoded with cuda" in rows["decode drive96: cuda"]["failed"], "a part that fails is kept as told"
    assert done.stdout == (tmp_path / "out" / "check.md").read_text()
    assert "| run m, drive96: overlay | " in done.stdout


def test_without_a_gpu_it_says_so_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, CHECK, "--output", tmp_path / "out"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("check.py: no NVIDIA GPU here")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("device", "body", "why"),
    [
        ("cpu", "os.kill(os.getpid(), signal.SIGKILL)", "its process ended with -9"),
        ("cuda", "os.kill(os.getpid(), signal.SIGKILL)", "its process ended with -9"),
        ("cpu", "time.sleep(600)", "took more than 1 s"),
        ("cpu", "raise ValueError('no such thing')", "ValueError: no such thing"),
    ],
)
def test_a_step_that_crashes_hangs_or_fails_is_told_and_ends_no_other(
    tmp_path: Path, device: str, body: str, why: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import os, signal, sys, time\nfrom pathlib import Path\nsys.path.insert(0, {str(CHECK.parent)!r})\n"
        f"import check\n\ndef step(job):\n    {body}\n\nif __name__ == '__main__':\n"
        f"    job = check.Job({device!r}, Path(), 'm', 1, 1, (1,), 0, 1)\n"
        "    found = check._done(check.Step('s', step, (), job), 1 if 'sleep' in sys.argv[1] else 60)\n"
        "    print(found.state, found.why, sep=': ')\n"
    )
    done = subprocess.run(
        [sys.executable, script, body], env=ENVIRONMENT, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == f"failed: {why}\n"
