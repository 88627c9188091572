"""Give the masks of an archive to a labelling tool: open them, choose classes, write what the tool imports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from ..archive.archive import MaskArchive, open_masks
from ..archive.manifest import ArchiveHeader
from ..encode.palette import CLEAR, Palette
from ..errors import ArchiveError, OutputError
from ..masks.ignore import Ignored
from ..spec import Renamed, select_classes
from ..system.disk import PartialOutput, writing
from ..system.hold import held_to_make, refuse_inputs
from .coco import CocoWriter
from .colors import VIDEO_SUFFIXES, ColorPngWriter, color_video, legend_path
from .frames import LabelledFrame, LabelTable, PictureFormat, labelled_frames, pictured_frames
from .label_studio import LabelStudioWriter, local_files_root
from .png_trees import CamvidWriter, ColmapWriter, CvatWriter, FiftyOneWriter
from .shared_folder import MARKER, open_shared
from .tree import Tree, ZipTree, json_text

log = logging.getLogger(__name__)

Tool = Literal["cvat", "camvid", "coco", "label-studio", "fiftyone", "colmap", "color"]


@dataclass(frozen=True, slots=True)
class LabellingSettings:
    """What to give to which tool."""

    masks: Path  # an archive of any kind
    output: Path  # a folder or a .zip; for "color" also a .mkv or .mp4
    tool: Tool
    video: Path | None = None  # that the masks were made from; its frames go with them
    pictures: PictureFormat = "jpg"  # of those frames, or of those that the tool has already
    classes: tuple[str, ...] = ()  # to give; empty for all
    exclude: tuple[str, ...] = ()  # not to give; these pixels have no label then
    ignore: Ignored | None = None  # what is left out, besides what was when the masks were made: it has no label
    renamed: Renamed = ()  # classes
    labels: Path | None = None  # a CVAT task's, whose names and colours the classes get
    movers: tuple[str, ...] = ()  # colmap: blacked out; empty for all that drives and walks
    blur: tuple[str, ...] = ()  # classes that are hidden in the pictures
    subset: str = "default"  # cvat, camvid, coco
    stride: int = 1  # every n-th mask, beginning with the first
    palette: Palette = CLEAR  # of "color"
    image_root: str | None = None  # where Label Studio finds the pictures: URL or path
    overwrite: bool = False


class LabelWriter(Protocol):
    """Writes the frames as one tool wants them.

    What fails raises OSError, or `OutputError` where the format cannot say it.
    """

    def add(self, frame: LabelledFrame) -> None: ...

    def finish(self) -> None:
        """Write what tells of all frames."""


def give_to_tool(settings: LabellingSettings, *, on_mask: Callable[[int, int], None] | None = None) -> int:
    """Write what the tool imports.

    Args:
        settings: what to write.
        on_mask: told how many frames are done, of how many, after each.

    Returns:
        How many frames there are.

    Raises:
        ArchiveError: a mask is missing or damaged, has ids that the class table does not know, or is of another video.
        SourceError: the video cannot be read.
        OutputError: the output is taken or cannot be written, or the tool's format cannot say what it would have to.
        RoadmaskError: a class that was named is none of the archive's.
    """
    _refuse_bad_output(settings)
    with (
        held_to_make(_written(settings.output), settings.masks),
        open_masks(settings.masks, ignore=settings.ignore, renamed=settings.renamed) as masks,
    ):
        if not len(masks):
            raise ArchiveError(f"{settings.masks}: holds no masks; its run ended before the first, so begin it anew")
        if not masks.is_finished:
            log.warning("%s: was not finished; the %d masks that are whole are taken", settings.masks, len(masks))
        classes = settings.palette.colored(masks.classes) if settings.tool == "color" else masks.classes
        table = LabelTable.of(classes, only=settings.classes, exclude=settings.exclude)
        if settings.labels is not None:
            table = table.named_as(settings.labels)
        select_classes(masks.classes, only=settings.blur)
        total = len(range(0, len(masks), settings.stride))
        with _opened(settings, masks, table) as (writer, prefix):
            _warn_of_missing_pictures(settings)
            for done, frame in enumerate(_frames(settings, masks, table), start=1):
                writer.add(replace(frame, prefix=prefix))
                if on_mask:
                    on_mask(done, total)
        return total


def _written(output: Path) -> list[Path]:
    """The files; a folder is held by its own means."""
    legend = [legend_path(output)] if output.suffix.lower() in VIDEO_SUFFIXES else []
    return [output, *legend] if output.suffix else []


def _refuse_bad_output(settings: LabellingSettings) -> None:
    output, suffix = settings.output, settings.output.suffix.lower()
    videos = VIDEO_SUFFIXES if settings.tool == "color" else ()
    if suffix not in ("", ".zip", *videos):
        others = ", or a .mkv or .mp4" if videos else ""
        raise OutputError(f"{output}: name a folder (no suffix) or a .zip{others} for {settings.tool}", usage=True)
    refuse_inputs(output, settings.masks, settings.video)


def _warn_of_missing_pictures(settings: LabellingSettings) -> None:
    if settings.video is not None:
        return
    if settings.tool == "fiftyone":
        log.warning("FiftyOne needs the pictures: pass --video, or put them into data/ of %s", settings.output)
    if settings.tool == "colmap":
        log.warning("COLMAP finds a mask by its picture's name: yours must be frame_000012.%s, ...", settings.pictures)
    if settings.tool == "label-studio" and settings.image_root is None:
        log.warning("Label Studio needs the pictures: pass --video, or say with --image-root where they are")


def _frames(settings: LabellingSettings, masks: MaskArchive, table: LabelTable) -> Iterator[LabelledFrame]:
    if settings.video is None:
        return labelled_frames(masks, table, stride=settings.stride)
    return pictured_frames(masks, table, settings.video, settings.pictures, stride=settings.stride, blur=settings.blur)


@contextmanager
def _opened(settings: LabellingSettings, masks: MaskArchive, table: LabelTable) -> Iterator[tuple[LabelWriter, str]]:
    """What writes, and what the names of frames begin with.

    The output is there when it is whole, and nothing of it else: the masks are still there to begin anew.
    """
    output, suffix, overwrite = settings.output, settings.output.suffix.lower(), settings.overwrite
    if suffix in VIDEO_SUFFIXES:
        with color_video(output, table, time_base=masks.records[0].time_base, overwrite=overwrite) as video:
            yield video, ""
        return
    classes, facts = [item.name for item in table.classes], _facts(settings, masks.header)
    if suffix != ".zip":
        with open_shared(output, settings.tool, classes, facts, overwrite=overwrite) as folder:
            writer = _writer(settings, masks.header, table, folder)
            yield writer, folder.prefix
            writer.finish()
        return
    with PartialOutput(output, overwrite=overwrite) as file, writing(output), closing(ZipTree(file.path)) as tree:
        writer = _writer(settings, masks.header, table, tree)
        tree.add(MARKER, json_text({"tool": settings.tool, "classes": classes} | facts))
        yield writer, ""
        writer.finish()
        file.used = True


def _writer(settings: LabellingSettings, header: ArchiveHeader, table: LabelTable, tree: Tree) -> LabelWriter:
    form, subset = settings.pictures, settings.subset
    match settings.tool:
        case "cvat":
            return CvatWriter(tree, table, form, subset=subset)
        case "camvid":
            return CamvidWriter(tree, table, form, subset=subset)
        case "coco":
            return CocoWriter(tree, table, form, subset=subset, header=header)
        case "label-studio":
            root = settings.image_root or local_files_root(settings.output.stem)
            return LabelStudioWriter(tree, table, form, image_root=root, header=header)
        case "fiftyone":
            return FiftyOneWriter(tree, table, form)
        case "colmap":
            return ColmapWriter(tree, table, form, movers=settings.movers)
        case "color":
            return ColorPngWriter(tree, table)


def _facts(settings: LabellingSettings, header: ArchiveHeader) -> dict[str, object]:
    """Of what is given."""
    return {
        "subset": settings.subset,
        "source": header.source or settings.masks.name,
        "masks": settings.masks.name,
        "every": settings.stride,
        "model": header.model,
        "model_sha256": header.model_sha256,
    }
