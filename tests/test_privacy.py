"""Nothing leaves the machine, and nothing is left on it but what was asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.clips import cfr, make_clip
from tests.support.own_process import no_network


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces of Linux")
def test_a_file_job_needs_no_network_and_leaves_nothing_in_a_fresh_home(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "drive.mp4", cfr(3), size=(48, 64))
    home, out = tmp_path / "home", tmp_path / "out"
    home.mkdir()
    # CI would keep ONNX Runtime's telemetry silent by itself.
    silent = ("CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    env = {name: value for name, value in os.environ.items() if name not in silent} | {"HOME": str(home)}
    command = [sys.executable, "-m", "roadmask", "run", clip, "-o", f"{out}/"]
    done = subprocess.run([*no_network(), *command], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert (out / "drive_overlay.mp4").exists()
    left = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
    assert [path for path in left if "roadmask" not in path] == []
