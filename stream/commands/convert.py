"""`roadmask convert`: a mask archive into one of another kind, or into what a labelling tool imports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.console import Console

from ..archive.convert import convert_archive
from ..labelling.frames import PictureFormat
from ..labelling.labelling import LabellingSettings, Tool, give_to_tool
from ..system.talk import counted, number_of, printable, progress_bar, write_result
from . import options as of
from .idle_options import is_given, option_of

_talk = Console(stderr=True, highlight=False)

_PICTURES = ("video", "picture_format", "blur", "stride")
_LABELS = ("labels", "classes", "exclude")
_OPTIONS: dict[Tool, tuple[str, ...]] = {
    "cvat": (*_PICTURES, *_LABELS, "subset"),
    "camvid": (*_PICTURES, *_LABELS, "subset"),
    "coco": (*_PICTURES, *_LABELS, "subset"),
    "label-studio": (*_PICTURES, *_LABELS, "image_root"),
    "fiftyone": (*_PICTURES, *_LABELS),
    "colmap": (*_PICTURES, "movers"),
    "color": (*_LABELS, "stride", "palette"),
}

_WHAT_NEXT: dict[Tool, str] = {
    "cvat": "in a task of the video: Upload annotations, Segmentation mask 1.1, without converting masks to polygons",
    "camvid": "CVAT: Upload annotations, CamVid 1.0; datumaro: format camvid",
    "coco": "CVAT: Upload annotations, COCO 1.0; pycocotools: COCO('annotations/instances_{subset}.json')",
    "label-studio": "make a project with label_config.xml as its labelling interface, then import the tasks",
    "fiftyone": "Dataset.from_dir, ImageSegmentationDirectory; the default_mask_targets are in mask_targets.json",
    "colmap": "colmap feature_extractor --image_path images --ImageReader.mask_path masks; OpenSfM takes the folder",
    "color": "the legend tells which colour is which class",
}


def convert(
    context: typer.Context,
    masks: of.MaskArchiveFile,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="The new archive: a folder, .zip, .mkv, .npz or .zarr. With --to a folder or .zip, "
            "for color also a .mkv or .mp4.",
        ),
    ],
    tool: Annotated[Tool | None, typer.Option("--to", help="What this tool imports, in place of an archive.")] = None,
    video: Annotated[Path | None, typer.Option(help="The masks' video: its frames go with them as pictures.")] = None,
    picture_format: Annotated[PictureFormat | None, typer.Option(help="Of the pictures; default: jpg.")] = None,
    classes: Annotated[str, typer.Option(metavar=of.CLASSES, help="Only these: road,car")] = "",
    exclude: Annotated[str, typer.Option(metavar=of.CLASSES, help="Not these: sky; they are then not labelled.")] = "",
    ignore: of.Ignoring = None,
    stride: Annotated[int, typer.Option(min=1, help="Every n-th mask.")] = 1,
    subset: Annotated[str | None, typer.Option(help="Of cvat, camvid, coco: default, train, ...")] = None,
    image_root: Annotated[
        str | None, typer.Option(help="Where Label Studio finds the pictures: a URL or path.")
    ] = None,
    palette: of.Colors = "clear",  # type: ignore[assignment]
    mapped: of.Mapped = "",
    labels: Annotated[
        Path | None, typer.Option(help="A CVAT task's labels, as its Raw editor has them: names, colours.")
    ] = None,
    movers: Annotated[
        str, typer.Option(metavar=of.CLASSES, help="Of colmap: what is blacked out; default: all that drives or walks.")
    ] = "",
    blur: of.Blurred = "",
    overwrite: of.Overwrite = False,
    quiet: of.Quiet = False,
) -> None:
    """Turn a mask archive into one of another kind, or into what a labelling tool imports, without loss.

    What a killed run left can be converted, too: what is whole in it is then an archive of its own.

    \b
    roadmask convert masks.mkv -o masks.zarr
    roadmask convert masks.partial.zip -o rescued.npz
    roadmask convert masks.zip --to cvat -o cvat.zip --stride 10
    roadmask convert masks.zip --to coco -o coco/ --video drive.mp4 --subset train --classes car,pedestrian
    roadmask convert masks.zip --to color -o colours.mp4
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are
    cv2.setNumThreads(1)
    _refuse_idle_options(context, tool)
    if blur and video is None:
        raise typer.BadParameter("--blur hides in pictures, and needs --video")
    with progress_bar(quiet=quiet) as progress:
        on_mask = counted(progress, masks.name)
        if tool is None:
            count = convert_archive(
                masks,
                output,
                ignore=of.ignored_of(ignore),
                renamed=of.renamed_of(mapped),
                overwrite=overwrite,
                on_mask=on_mask,
            )
        else:
            settings = LabellingSettings(
                masks=masks,
                output=output,
                tool=tool,
                video=video,
                pictures=picture_format or "jpg",
                classes=of.names_of(classes),
                exclude=of.names_of(exclude),
                ignore=of.ignored_of(ignore),
                renamed=of.renamed_of(mapped),
                labels=labels,
                movers=of.names_of(movers),
                blur=of.names_of(blur),
                subset=_subset(subset),
                stride=stride,
                palette=palette,
                image_root=image_root,
                overwrite=overwrite,
            )
            count = give_to_tool(settings, on_mask=on_mask)
    if not quiet:
        _talk.print(f"{printable(masks)}: {number_of(count, 'mask')}", soft_wrap=True, markup=False)
        if tool is not None:
            _talk.print(f"{tool}: {_WHAT_NEXT[tool].format(subset=_subset(subset))}", soft_wrap=True, markup=False)
    write_result(output)


def _refuse_idle_options(context: typer.Context, tool: Tool | None) -> None:
    """An option that would do nothing is a mistake of somebody who thinks it does."""
    idle = {name for names in _OPTIONS.values() for name in names} - set(_OPTIONS[tool] if tool else ())
    for name in context.params:
        if name in idle and is_given(context, name):
            why = "needs --to" if tool is None else f"means nothing to {tool}"
            raise typer.BadParameter(f"{option_of(name)} {why}")


def _subset(name: str | None) -> str:
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII):
        raise typer.BadParameter(f"--subset {name}: it becomes a file's name; take letters, digits, _ and -")
    return name or "default"
