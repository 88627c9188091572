"""The command line that repeats a run: the inverse of what `train_cli.py` parses."""

from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path

from .settings import AugmentSettings, TrainSettings

_REPEATABLE = {"valid_drives": "--valid-drive", "unlabelled": "--unlabelled", "teachers": "--teacher"}
_AUGMENT_OPTIONS = ("flip", "brightness", "contrast", "saturation", "harsh")


def train_command(settings: TrainSettings, run: Path) -> str:
    """`roadmask train DATA -o RUN` and the options that are not left at their defaults, quoted for a shell."""
    words = ["roadmask", "train", *settings.data, "-o", str(run)]
    defaults = TrainSettings(settings.data)
    for field in fields(TrainSettings):
        value = getattr(settings, field.name)
        if field.name in ("data", "augment") or value == getattr(defaults, field.name):
            continue
        if field.name in _REPEATABLE:
            for item in value:
                words += [_REPEATABLE[field.name], item]
        elif field.name == "budget_s":
            words += ["--budget", f"{int(value) if value == int(value) else value}s"]
        elif field.name == "learn_all":
            words.append("--learn-all")
        else:
            words += [f"--{field.name.replace('_', '-')}", option_text(field.name, value)]
    return shlex.join([*words, *_augment_words(settings.augment)])


def _augment_words(settings: AugmentSettings) -> list[str]:
    words = []
    defaults = AugmentSettings()
    if (settings.scale_min, settings.scale_max) != (defaults.scale_min, defaults.scale_max):
        words += ["--scale", f"{settings.scale_min},{settings.scale_max}"]
    for name in _AUGMENT_OPTIONS:
        if getattr(settings, name) != getattr(defaults, name):
            words += [f"--{name.replace('_', '-')}", str(getattr(settings, name))]
    if settings.hue_degrees != defaults.hue_degrees:
        words += ["--hue", str(settings.hue_degrees)]
    return words


def option_text(name: str, value: object) -> str:
    """The value of a setting as its option is written."""
    if isinstance(value, tuple | list):
        return "x".join(map(str, reversed(value))) if name in ("size", "crop") else ",".join(map(str, value))
    return str(value)
