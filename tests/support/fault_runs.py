"""Runs that something happens to in their middle, and what they say of it."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np

from roadmask.stream.cli import main
from tests.support.clips import cfr, make_clip, times_of
from tests.support.own_process import LIMIT_S, python, started

FRAMES = 200
SETTINGS = ("--device", "cpu", "--preset", "ultrafast", "--progress", "none")


def make_noise(path: Path) -> Path:
    """Of noise, so that its outputs are some kilobytes a frame; with sound, which is read apart from the pictures."""
    picture = np.random.default_rng(1).integers(0, 255, (96, 128, 3), np.uint8)
    return make_clip(path, cfr(FRAMES), size=(96, 128), picture=picture, sound_s=[FRAMES / 25])


def command(*arguments: object, model: Path) -> list[str]:
    return [sys.executable, "-m", "roadmask", "run", *map(str, arguments), "--model", str(model), *SETTINGS]


def told(errors: str) -> list[str]:
    """The lines that are for the user; nothing else is there of a program in distress."""
    assert "Traceback" not in errors, errors
    return [line for line in errors.splitlines() if line.startswith("roadmask: ")]


def faults_in(errors: str) -> list[str]:
    """The lines that say what was wrong, without those that say where what was written is."""
    return [line for line in told(errors) if ": not finished; what was written is in " not in line]


def the_fault(errors: str) -> str:
    faults = faults_in(errors)
    assert len(faults) == 1, errors
    return faults[0]


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def masks_in(folder: Path) -> int:
    manifest = folder / "manifest.jsonl"
    return manifest.read_text().count("\n") if manifest.exists() else 0


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=LIMIT_S)
    return process.returncode, errors


# A run that waits at frame 20, so that what is done to it meanwhile is done in its middle.
WAITING = """
import os, sys, time
from pathlib import Path

import numpy as np
from roadmask.stream.cli import main
from roadmask.stream.commands import run_files
from roadmask.stream.run import stages

process_video, go = run_files.process_video, Path(sys.argv[1])

def waiting(*arguments, on_frame, **named):
    def wait(frames):
        on_frame(frames)
        while frames == 20 and not go.exists():
            time.sleep(0.01)
    return process_video(*arguments, on_frame=wait, **named)

run_files.process_video = waiting
stages.EVERY_S = 0
sys.exit(main(sys.argv[2:]))
"""


class InTheMiddle:
    """A real run in a process of its own, that waits after 20 masks until `go` is called."""

    def __init__(self, clip: Path, model: Path, out: Path, *more: object) -> None:
        self._go = out.parent / "go"
        masks = out / f"{clip.stem}_masks.partial"
        arguments = command(clip, "-o", f"{out}/", *more, model=model)[3:]
        self.process = started([*python(WAITING), str(self._go), *arguments], lambda: masks_in(masks) >= 20)

    def go(self) -> tuple[int, str]:
        """Its exit code and what it told."""
        self._go.touch()
        return ended(self.process)


def gone_on_with(clip: Path, model: Path, out: Path) -> str:
    """What a run says, in this process, that goes on to the end with what an earlier one has left."""
    with redirect_stderr(io.StringIO()) as told, redirect_stdout(io.StringIO()):
        code = main(command(clip, "-o", f"{out}/", "--resume", model=model)[3:])
    assert code == 0, told.getvalue()
    assert len(times_of(out / "drive_overlay.mp4")) == FRAMES
    return told.getvalue()
