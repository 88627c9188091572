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
    from .errors import ArchiveError, DeviceError, ModelError, OutputError, RoadmaskError, SourceError
    from .frames import Frame, SegmentedFrame, VideoInfo
    from .masks.flicker import FlickerMeter
    from .masks.smooth import Smoother
    from .network.model import Model
    from .run.segment import process_video, segment_video
    from .run.settings import Report, SegmentSettings
    from .spec import ModelSpec, PixelClass

# The film of a street stays on the machine: ONNX Runtime writes a device id and sends telemetry unless this is set
# before its import, which every module of ours that imports it comes after.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "ArchiveError": "errors",
    "Camera": "camera.camera",
    "CameraSettings": "camera.camera",
    "DeviceError": "errors",
    "FlickerMeter": "masks.flicker",
    "Frame": "frames",
    "MaskArchive": "archive.archive",
    "Model": "network.model",
    "ModelError": "errors",
    "ModelSpec": "spec",
    "OutputError": "errors",
    "Overlay": "encode.overlay",
    "PixelClass": "spec",
    "Report": "run.settings",
    "RoadmaskError": "errors",
    "SegmentSettings": "run.settings",
    "SegmentedFrame": "frames",
    "Smoother": "masks.smooth",
    "SourceError": "errors",
    "VideoInfo": "frames",
    "color_mask": "encode.overlay",
    "open_masks": "archive.archive",
    "open_source": "decode.source",
    "parse_camera": "camera.camera",
    "process_video": "run.segment",
    "segment_video": "run.segment",
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
    "PixelClass",
    "Report",
    "RoadmaskError",
    "SegmentSettings",
    "SegmentedFrame",
    "Smoother",
    "SourceError",
    "VideoInfo",
    "color_mask",
    "open_masks",
    "open_source",
    "parse_camera",
    "process_video",
    "segment_video",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `roadmask --help` must not wait for OpenCV and ONNX Runtime."""
    if name not in _HOMES:
        raise AttributeError(f"module 'roadmask' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
