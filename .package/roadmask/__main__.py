"""The `roadmask` command as a process: `python -m roadmask`, and what pip installs."""

from __future__ import annotations

import gc
import sys
from typing import NoReturn


def run() -> NoReturn:
    gc.disable()  # what imports make is no garbage, and to look for some in it takes a tenth of the start
    try:
        from .stream.cli import main
    except Exception:  # what reads the command cannot be imported
        from .stream.doctor.doctor import broken_library

        if told := broken_library():
            sys.exit(f"roadmask: {told}")
        raise
    from .stream.system.stop import leave

    leave(main(on_import=_look_for_garbage))


def _look_for_garbage() -> None:
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    run()
