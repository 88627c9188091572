"""Which options of `roadmask run` mean something for which sources: one table, for all that can be a source.

An option that would do nothing is a mistake of somebody who thinks it does.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import typer

from ..batch.footage import Kind as PicturesAs
from ..camera.camera import Camera
from ..decode.opening import is_sequence
from ..decode.picture import is_picture
from ..system.url import parse_url

Kind = Literal["file", "picture", "several", "pictures", "pipe", "raw", "stream", "rtsp", "http", "webcam"]

_WORDS: dict[Kind, str] = {  # a picture is a file
    "file": "files",
    "pictures": "numbered pictures",
    "pipe": "pipes",
    "raw": "what --input-format names",
    "stream": "streams",
    "rtsp": "rtsp://",
    "http": "http://",
    "webcam": "webcams",
}
_VIDEOS: Final[tuple[Kind, ...]] = ("file", "pictures")
_FILES: Final[tuple[Kind, ...]] = (*_VIDEOS, "picture")
_CAMERAS: Final[tuple[Kind, ...]] = ("stream", "webcam")
_LIVE: Final[tuple[Kind, ...]] = (*_CAMERAS, "pipe")
_MOVING: Final[tuple[Kind, ...]] = (*_VIDEOS, *_LIVE, "raw")
_OPTIONS: dict[str, tuple[Kind, ...]] = {
    **dict.fromkeys(("start", "end", "smooth", "reuse", "deinterlace", "decode"), _MOVING),
    **dict.fromkeys(("stride", "max_frames"), (*_MOVING, "several")),
    **dict.fromkeys(("every", "fast"), _MOVING),
    **dict.fromkeys(("encoder", "crf", "preset"), _MOVING),
    "stream": ("file",),
    "pictures_as": _FILES,
    "resume": ("file", "picture"),
    "jobs": _FILES,
    "summary": _FILES,
    "progress": _FILES,
    "ray": _FILES,
    "ray_workers": _FILES,
    "ray_cpus": _FILES,
    **dict.fromkeys(("keep_times", "no_metadata"), ("file", "picture")),
    "overwrite": (*_FILES, "pipe"),  # a camera's parts have names of their own
    "batch": (*_VIDEOS, "pipe"),  # of a camera each frame goes by itself
    "policy": _LIVE,
    "timeout": _LIVE,
    "max_retries": _CAMERAS,
    "rtsp_transport": ("rtsp",),
    "allow_redirects": ("rtsp", "http"),
    "input_format": _LIVE,
    "input_size": ("webcam", "raw"),
    "input_rate": ("webcam", "raw", "pictures", "http"),
    "input_pixels": ("webcam", "raw"),
    "segment_time": _CAMERAS,
    "keep": _CAMERAS,
    "watch": ("file",),
    "save_ignore": _LIVE,
}
_RECORDED = ("output", "overlay", "masks", "stats")
_BESIDE: dict[str, tuple[str, ...]] = {  # one of these must be given, too
    "ray_workers": ("ray",),
    "ray_cpus": ("ray",),
    "token": ("serve",),
    "settle": ("watch",),
    "segment_time": _RECORDED,
    "keep": _RECORDED,
    "save_ignore": ("ignore",),
}
_CALLED = {name: "videos and cameras" for name, kinds in _OPTIONS.items() if kinds == _MOVING}
_CALLED |= dict.fromkeys(("stride", "max_frames"), "videos, cameras and folders of pictures")
_NOT_BESIDE = {  # with the reason
    "watch": {
        "ray": "a cluster runs the files that are there",
        "pictures_as": "videos alone have their turn",
        **dict.fromkeys(("overlay", "masks", "stats"), "many files do not go into one: -o DIR/"),
    }
}


def refuse_idle_options(
    context: typer.Context, words: Sequence[str], cameras: Sequence[Camera], kind: PicturesAs = "auto"
) -> None:
    """Say of the first option that was given, and means nothing for any of the sources, what it is for.

    Args:
        context: of the command, which knows what was given.
        words: that name the sources.
        cameras: that they mean, where they do.
        kind: what pictures are taken for.

    Raises:
        typer.BadParameter: there is one.
    """
    of_words = (_kinds_of_word(word, kind) for word in words)
    kinds = set[Kind]().union(*map(_kinds_of_camera, cameras) if cameras else of_words)
    given = [name for name in context.params if is_given(context, name)]
    for name in given:
        wanted = _OPTIONS.get(name)
        if name == "timeout" and "://" in str(context.params["output"]):
            continue  # of a stream that is sent, too
        if wanted and not kinds.intersection(wanted):
            what = _CALLED.get(name) or _list([_WORDS[kind] for kind in wanted if kind in _WORDS])
            raise typer.BadParameter(f"{option_of(name)} is for {what}")
        beside = _BESIDE.get(name)
        if beside and not set(beside).intersection(given):
            raise typer.BadParameter(f"{option_of(name)} needs {option_of(beside[0])}")
        for other, reason in _NOT_BESIDE.get(name, {}).items():
            if other in given:
                raise typer.BadParameter(f"{option_of(name)} does not go with {option_of(other)}: {reason}")


def option_of(name: str) -> str:
    """As it is written, of the name of its parameter."""
    return {"output": "-o", "pictures_as": "--as"}.get(name, f"--{name.replace('_', '-')}")


def is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _kinds_of_camera(camera: Camera) -> set[Kind]:
    kinds: set[Kind] = {"raw"} if camera.format else set()
    if "://" in camera.url:
        kinds |= {"stream"}
        scheme = parse_url(camera.url).scheme.rstrip("s")
        return kinds | ({"rtsp"} if scheme == "rtsp" else {"http"} if scheme == "http" else set())
    return kinds | ({"webcam"} if camera.endless else {"pipe"})


def _kinds_of_word(word: str, kind: PicturesAs) -> set[Kind]:
    if word.startswith("@"):
        return {"picture", "several"} if kind == "pictures" else set(_FILES)
    sequence = "://" not in word and is_sequence(Path(word))
    if sequence and kind != "pictures":
        return {"pictures"}
    if kind == "video" or not (kind == "pictures" or is_picture(Path(word))):
        return {"file"}
    return {"picture"} if is_picture(Path(word)) and not (sequence or glob.has_magic(word)) else {"picture", "several"}


def _list(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
