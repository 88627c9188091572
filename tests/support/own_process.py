"""Python in a process of its own, which finds the packages and the tests as we do."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0  # of any command: what takes longer hangs


def python(script: str) -> list[str]:
    """The command that runs a script, which may be indented."""
    found = f"import sys; sys.path.insert(0, {str(ROOT / '.package')!r})\n"
    return [sys.executable, "-c", found + textwrap.dedent(script)]


def started(command: Sequence[str | Path], ready: Callable[[], object]) -> subprocess.Popen[str]:
    """A command in a process of its own, once it is `ready`."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: process.poll() is not None or ready(), LIMIT_S, what="the command is ready")
    assert process.poll() is None, process.communicate()[1]
    return process


def no_network() -> list[str]:
    """The words that begin a command without any network, not even the machine's own."""
    unshare = ["unshare", "--net", "--map-root-user"]
    if shutil.which("unshare") and subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0:
        return unshare
    return []
