"""Write the masks themselves: which sink a path means."""

from __future__ import annotations

from pathlib import Path

from ..frames import VideoInfo
from ..spec import ModelSpec
from .manifest import CLASSES_NAME, ArchiveHeader, mask_format
from .mask_sink import MaskSink
from .npz_sink import NpzWriter
from .png_archive_sink import FolderWriter, ZipWriter
from .video_archive_sink import VideoWriter
from .zarr_layout import MARKER
from .zarr_sink import ZarrWriter


def open_archive_sink(
    path: Path,
    info: VideoInfo,
    spec: ModelSpec,
    *,
    source: str | None = None,
    model: str | None = None,
    model_sha256: str | None = None,
    smoothed: bool | None = None,
    stream: int | None = None,
    overwrite: bool = False,
) -> MaskSink:
    """The sink for the kind of archive that the path's suffix means.

    Args:
        path: a folder, .zip, .mkv, .npz or .zarr.
        info: of the source.
        spec: of the model; the archive takes its classes.
        source: the video's name, without its folder.
        model: the model file's name.
        model_sha256: its digest.
        smoothed: whether the masks are blended over time.
        stream: which of the video's streams, where it was named.
        overwrite: replace what is there.

    Raises:
        OutputError: the suffix means no archive, or the path is taken.
    """
    header = ArchiveHeader(spec.classes, info.width, info.height, source, model, model_sha256, smoothed, stream)
    return archive_sink(path, header, overwrite=overwrite)


def archive_sink(path: Path, header: ArchiveHeader, *, overwrite: bool = False) -> MaskSink:
    """As `open_archive_sink`, with a header that is made already."""
    match mask_format(path):
        case "folder":
            return MaskSink(path, header, FolderWriter, marker=CLASSES_NAME, overwrite=overwrite)
        case "zip":
            return MaskSink(path, header, ZipWriter, overwrite=overwrite)
        case "ffv1":
            return MaskSink(path, header, VideoWriter, one_size=True, overwrite=overwrite)
        case "npz":
            return MaskSink(path, header, NpzWriter, one_size=True, overwrite=overwrite)
        case "zarr":
            return MaskSink(path, header, ZarrWriter, marker=MARKER, one_size=True, overwrite=overwrite)
