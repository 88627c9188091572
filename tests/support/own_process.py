"""Python in a process of its own, which finds the packages and the tests as we do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, AnyStr

from tests.support.waiting import until

ROOT = Path(__file__).parents[2]  # of the repository
# By which a process of its own finds the package and the tests.
PYTHONPATH = os.pathsep.join([str(ROOT / ".package"), str(ROOT)])
LIMIT_S = 60.0  # of any command: what takes longer hangs


def python(script: str) -> list[str]:
    """The command that runs a script, which may be indented; it waits for no disk, as our own process."""
    found = f"import os, sys; os.fsync = lambda _: None; sys.path[:0] = {PYTHONPATH.split(os.pathsep)}\n"
    return [sys.executable, "-c", found + textwrap.dedent(script)]


_EAGER = """
    import sys
    from roadmask.stream.cli import main
    from roadmask.stream.run import stages

    stages.EVERY_S = 0
    sys.exit(main(sys.argv[1:]))
"""


def eager(*arguments: object) -> list[str]:
    """The command, with all that it has on disk after each frame: so it can be killed as soon as it is at work."""
    return [*python(_EAGER), *map(str, arguments)]


_begun: list[subprocess.Popen[Any]] = []


def ends_with_test(process: subprocess.Popen[AnyStr]) -> subprocess.Popen[AnyStr]:
    """It is ended with the test that began it, if that fails too: what is left would be a later test's fault."""
    _begun.append(process)
    return process


def end_processes() -> None:
    """After each test."""
    while _begun:
        with _begun.pop() as process:  # which waits for it, and closes its pipes
            process.kill()


def started(command: Sequence[str | Path], ready: Callable[[], object]) -> subprocess.Popen[str]:
    """A command in a process of its own, once it is `ready`."""
    process = ends_with_test(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    until(lambda: process.poll() is not None or ready(), LIMIT_S, what="the command is ready")
    assert process.poll() is None, process.communicate()[1]
    return process


def no_network() -> list[str]:
    """The words that begin a command without any network, not even the machine's own."""
    unshare = ["unshare", "--net", "--map-root-user"]
    if shutil.which("unshare") and subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0:
        return unshare
    return []
