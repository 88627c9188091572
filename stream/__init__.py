"""What segments video: the rooms behind `roadmask run`, and the names that `roadmask` offers."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .archive.archive import MaskArchive, open_masks
    from .camera.camera import Camera, CameraSettings, parse_camera
    from .decode.source import open_source
    from .encode.overlay import Overlay, color_mask
    from .encode.palette import Palette, load_palette
    from .errors import ArchiveError, DeviceError, ModelError, OutputError, RoadmaskError, SourceError
    from .frames import Frame, SegmentedFrame, VideoInfo
    from .masks.flicker import FlickerMeter
    from .masks.ignore import parse_ignored
    from .masks.smooth import Smoother
    from .network.model import Model
    from .result import Result
    from .run.segment import process_video, segment_video
    from .run.settings import Report, SegmentSettings
    from .segmenter import Segmenter, Session, load
    from .spec import ModelSpec, PixelClass

__version__ = "2.0.0"  # what pyproject.toml takes; to ask pip's notes of it takes a twentieth of a start

# The film of a street stays on the machine: ONNX Runtime writes a device id and sends telemetry unless this is set
# before its import, which every module of ours that imports it comes after.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "archive.archive": ("MaskArchive", "open_masks"),
    "camera.camera": ("Camera", "CameraSettings", "parse_camera"),
    "decode.source": ("open_source",),
    "encode.overlay": ("Overlay", "color_mask"),
    "encode.palette": ("Palette", "load_palette"),
    "errors": ("ArchiveError", "DeviceError", "ModelError", "OutputError", "RoadmaskError", "SourceError"),
    "frames": ("Frame", "SegmentedFrame", "VideoInfo"),
    "masks.flicker": ("FlickerMeter",),
    "masks.ignore": ("parse_ignored",),
    "masks.smooth": ("Smoother",),
    "network.model": ("Model",),
    "result": ("Result",),
    "run.segment": ("process_video", "segment_video"),
    "run.settings": ("Report", "SegmentSettings"),
    "segmenter": ("Segmenter", "Session", "load"),
    "spec": ("ModelSpec", "PixelClass"),
}
__all__ = [
    "ArchiveError",
    "Camera",
    "CameraSettings",
    "DeviceError",
    "FlickerMeter",
    "Frame",
    "MaskArchive",
    "Model",
    "ModelError",
    "ModelSpec",
    "OutputError",
    "Overlay",
    "Palette",
    "PixelClass",
    "Report",
    "Result",
    "RoadmaskError",
    "SegmentSettings",
    "SegmentedFrame",
    "Segmenter",
    "Session",
    "Smoother",
    "SourceError",
    "VideoInfo",
    "color_mask",
    "load",
    "load_palette",
    "open_masks",
    "open_source",
    "parse_camera",
    "parse_ignored",
    "process_video",
    "segment_video",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `roadmask --help` must not wait for OpenCV and ONNX Runtime."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f".{home}", __name__), name)
    raise AttributeError(f"module 'roadmask' has no attribute {name!r}")
