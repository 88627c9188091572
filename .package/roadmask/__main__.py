"""The `roadmask` command as a process: `python -m roadmask`, and what pip installs."""

from __future__ import annotations

from typing import NoReturn

from .stream.cli import main
from .stream.system.stop import leave


def run() -> NoReturn:
    leave(main())


if __name__ == "__main__":
    run()
