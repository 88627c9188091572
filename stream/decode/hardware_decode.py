"""Decoding on a GPU or another decoder in hardware, where there is one and it knows the video.

Pictures come back to memory as ordinary ones, and the same to the byte: H.264 and HEVC leave a decoder no choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel, HWDeviceType, hwdevices_available
from av.container import InputContainer
from av.video.reformatter import VideoReformatter

from ..errors import SourceError
from .opening import MAX_PIXELS, open_container
from .pixels import converted

# What decoders in hardware leave in memory, and the format in which software leaves the same samples: chroma in planes
# of its own, and samples of more than 8 bits at the lower end of their 16.
_AS_SOFTWARE = {
    "nv12": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "p010le": "yuv420p10le",
    "p012le": "yuv420p12le",
    "p210le": "yuv422p10le",
    "p410le": "yuv444p10le",
}

_KINDS = tuple(kind.name for kind in HWDeviceType if kind.name != "none")  # that FFmpeg knows; this one may have fewer


# What hardware raises: for a codec that it does not know, and without a driver.
_FAILURES = (RuntimeError, NotImplementedError, PermissionError)


@dataclass(frozen=True, slots=True)
class HardwareDecoder:
    """A decoder in hardware that is wanted."""

    kind: str  # as FFmpeg calls it: cuda, videotoolbox, vaapi, qsv, d3d11va, ...
    unit: str = ""  # which of the kind: "1" for the second GPU; empty for the first
    required: bool = False  # named by the user: an error if it does not start, and not a reason to use software

    def open(self, path: Path, *, max_pixels: int = MAX_PIXELS) -> InputContainer | None:
        """The file, which software can open, to be decoded in hardware; `None` if that does not start and need not.

        Raises:
            SourceError: it is required, and does not start.
        """
        failures = (av.FFmpegError, OSError, *_FAILURES)
        return self.start(path, lambda it: open_container(path, max_pixels=max_pixels, hwaccel=it), failures=failures)

    def start(
        self,
        name: Path | str,
        opened: Callable[[HWAccel], InputContainer],
        *,
        failures: tuple[type[Exception], ...] = _FAILURES,
    ) -> InputContainer | None:
        """As `open`, of what `opened` opens; of what it raises, the `failures` are those of the hardware."""
        if self.kind not in hwdevices_available():
            return self._refused(name, f"this FFmpeg has {', '.join(hwdevices_available()) or 'none'} and software")
        wanted = HWAccel(self.kind, device=self.unit or None, allow_software_fallback=not self.required)
        try:
            container = opened(wanted)
        except failures as exc:
            return self._refused(name, f"it did not start ({exc}); is its driver installed?")
        contexts = [stream.codec_context for stream in container.streams.video]
        if any(context is not None and context.is_hwaccel for context in contexts):
            return container
        container.close()
        return self._refused(name, "it does not know this codec")

    def _refused(self, name: Path | str, reason: str) -> InputContainer | None:
        if self.required:
            raise SourceError(f"{name}: cannot be decoded with {self.kind}: {reason}; take --decode software")
        return None


def decoder_for(option: str, device: str) -> HardwareDecoder | None:
    """What `--decode` means beside a network on `device` ("cpu", "cuda:1", ...); `None` for software.

    "auto" decodes in hardware only on the GPU that the network runs on: its decoder is idle there, and the CPU busy.

    Raises:
        SourceError: it means nothing.
    """
    kind, _, unit = option.partition(":")
    if kind not in ("auto", "software", *_KINDS):
        raise SourceError(f"--decode {option}: no decoder; choose auto, software, {', '.join(_KINDS)}", usage=True)
    if kind == "auto":
        name, _, gpu = device.partition(":")
        return HardwareDecoder("cuda", gpu) if name in ("cuda", "tensorrt") else None
    return None if kind == "software" else HardwareDecoder(kind, unit, required=True)


def as_software(picture: av.VideoFrame, reformatter: VideoReformatter) -> av.VideoFrame:
    """The picture in the format that a decoder in software would have left it in."""
    wanted = _AS_SOFTWARE.get(picture.format.name)
    return converted(picture, wanted, reformatter) if wanted else picture
