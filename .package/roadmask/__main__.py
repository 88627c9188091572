"""The `roadmask` command as a process: `python -m roadmask`, and what pip installs."""

from __future__ import annotations

from .stream.__main__ import run

if __name__ == "__main__":
    run()
