"""The `roadmask` command as a process: `python -m stream`, and what pip installs."""

from __future__ import annotations

from typing import NoReturn

from .cli import main
from .system.stop import leave


def run() -> NoReturn:
    leave(main())


if __name__ == "__main__":
    run()
