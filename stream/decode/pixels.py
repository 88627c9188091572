"""The pixels of decoded pictures: planes as arrays, the network's small RGB, and what their numbers mean as colours.

The small RGB is made in one swscale call, and planar: swscale writes that with vector instructions, packed RGB without.
Joined here, it is the same picture for less than half of the time; of pictures that are not shrunk a few values differ
by 1.
"""

from __future__ import annotations

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

_HD_HEIGHT = 720  # video that does not say its matrix: BT.709 from here up, BT.601 below, as players assume

# AVCOL_SPC_* (ITU-T H.273) to swscale's matrices; 2 is "unspecified", 0 is RGB.
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
# Luma weights of red and blue (ITU-T H.273, table 4).
_LUMA_WEIGHTS = {
    Colorspace.ITU709: (0.2126, 0.0722),
    Colorspace.FCC: (0.30, 0.11),
    Colorspace.ITU601: (0.299, 0.114),
    Colorspace.SMPTE240M: (0.212, 0.087),
    Colorspace.BT2020: (0.2627, 0.0593),
}

Plane = NDArray[np.uint8]


def network_input(picture: av.VideoFrame, size: tuple[int, int], reformatter: VideoReformatter) -> NDArray[np.uint8]:
    """The picture as RGB of `size` (height, width): uint8 (height, width, 3), C-contiguous, the caller's own.

    One `reformatter` for all frames of a video: it keeps its tables while size and format stay the same.
    """
    green, blue, red = planes_of(planar_rgb(picture, "gbrp", reformatter, size))
    return np.asarray(cv2.merge([red, green, blue]), np.uint8)


def planar_rgb(
    picture: av.VideoFrame, form: str, reformatter: VideoReformatter, size: tuple[int, int] | None = None
) -> av.VideoFrame:
    """The picture in a format of planar RGB, full range, as its matrix and range say; of `size` (height, width)."""
    # Downwards, swscale's bilinear widens its triangle by the ratio, as an antialiased resize does, so nothing aliases;
    # area averaging is a tenth faster and blocky at ratios near 1. Full chroma and accurate rounding keep flat colours
    # within 1 level (3 without).
    how = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
    colors = (matrix(picture), color_range(picture))
    return converted(picture, form, reformatter, size=size, of=colors, to=(None, ColorRange.JPEG), interpolation=how)


def converted(
    picture: av.VideoFrame,
    form: str,
    reformatter: VideoReformatter | None = None,
    *,
    size: tuple[int, int] | None = None,
    of: tuple[Colorspace | None, ColorRange | None] = (None, None),
    to: tuple[Colorspace | None, ColorRange | None] = (None, None),
    interpolation: Interpolation | None = None,
) -> av.VideoFrame:
    """The picture in another format, by swscale: all that is converted is converted here.

    Args:
        picture: to convert.
        form: FFmpeg's name of the format.
        reformatter: keeps its tables from one picture of a kind to the next.
        size: (height, width); `None` for the picture's own.
        of: matrix and range of the picture; `None` for what it says itself.
        to: those of the result.
        interpolation: swscale's flags.
    """
    height, width = size or (picture.height, picture.width)
    return (reformatter or VideoReformatter()).reformat(
        picture,
        width=width,
        height=height,
        format=form,
        src_colorspace=of[0],
        src_color_range=of[1],
        dst_colorspace=to[0],
        dst_color_range=to[1],
        interpolation=interpolation,
        # With several, swscale writes over the ends of other threads' rows at some widths; and the decoder and the
        # network have the cores already.
        threads=1,
    )


def matrix(picture: av.VideoFrame) -> Colorspace:
    """The matrix that turns the picture's YUV into RGB; guessed from its height where it does not say."""
    return _MATRICES.get(picture.colorspace, Colorspace.ITU709 if picture.height >= _HD_HEIGHT else Colorspace.ITU601)


def color_range(picture: av.VideoFrame) -> ColorRange:
    """Full (JPEG) or limited (MPEG), which video is unless it says otherwise."""
    if picture.color_range == ColorRange.JPEG or picture.format.name.startswith("yuvj") or picture.format.is_rgb:
        return ColorRange.JPEG
    return ColorRange.MPEG


def rgb_to_yuv(colors: NDArray[np.uint8], colorspace: Colorspace, *, full_range: bool) -> NDArray[np.uint8]:
    """(..., 3) RGB to (..., 3) Y, Cb, Cr in 8 bit (non-constant luminance)."""
    red_weight, blue_weight = _LUMA_WEIGHTS[colorspace]
    red, green, blue = np.moveaxis(colors.astype(np.float64) / 255, -1, 0)
    luma = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    cb = (blue - luma) / (2 * (1 - blue_weight))
    cr = (red - luma) / (2 * (1 - red_weight))
    if full_range:
        yuv = np.stack([luma * 255, cb * 255 + 128, cr * 255 + 128], axis=-1)
    else:
        yuv = np.stack([luma * 219 + 16, cb * 224 + 128, cr * 224 + 128], axis=-1)
    return np.asarray(np.clip(np.rint(yuv), 0, 255), np.uint8)


def planes_of(picture: av.VideoFrame) -> list[Plane]:
    """Views of the planes of 8-bit samples, without the padding at the end of the rows."""
    views = []
    for plane in picture.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)  # type: ignore[call-overload]
        views.append(rows[:, : plane.width])
    return views
