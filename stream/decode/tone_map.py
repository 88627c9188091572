"""High dynamic range shown on an ordinary screen: PQ and HLG pictures become BT.709, in a way that is defined here.

1. Code values to light: PQ by SMPTE ST 2084; HLG by ITU-R BT.2100 for a screen of 1000 cd/m2 (system gamma 1.2).
2. Light to an ordinary screen's: its white is HDR's reference white, 203 cd/m2 (BT.2408). The curve is BT.2390's EETF
   from 1000 to 203 cd/m2, by the largest of red, green and blue, so that no hue turns: up to a tenth of the peak
   nothing changes, and 1000 cd/m2 is white. What a file says of its own peak changes nothing.
3. BT.2020's primaries to BT.709's; what these cannot show is clipped.
4. Light to code values by the inverse of BT.1886: a power of 1 / 2.4.

All of it is one table of 33 x 33 x 33 colours, between which FFmpeg's `lut3d` interpolates.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import av
import numpy as np
from av.filter import Graph
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from .pixels import converted, planar_rgb

PQ, HLG = 16, 18  # transfer characteristics, by ITU-T H.273
_BT709, _LIMITED = 1, 1

_EDGE = 33
_HDR_PEAK, _WHITE = 1000.0, 203.0  # cd/m2
_SYSTEM_GAMMA = 1.2
_LUMA = np.array([0.2627, 0.6780, 0.0593])  # of BT.2020's primaries
_TO_BT709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]]
)
# SMPTE ST 2084
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
# ITU-R BT.2100, HLG
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073

Floats = NDArray[np.float64]


class ToneMapper:
    """Maps the pictures of one video; its filter graph is made again only when their shape changes."""

    def __init__(self) -> None:
        self._shape: object = None
        self._graph: Graph | None = None
        self._to_rgb, self._to_yuv = VideoReformatter(), VideoReformatter()

    def __call__(self, picture: av.VideoFrame) -> av.VideoFrame:
        """A PQ or HLG picture as yuv420p, BT.709; itself, untouched, where it is neither."""
        if picture.color_trc not in (PQ, HLG):
            return picture
        colors = planar_rgb(picture, "gbrp10le", self._to_rgb)
        shape = (colors.width, colors.height, picture.color_trc)
        if self._graph is None or shape != self._shape:
            self._graph, self._shape = _graph(colors, picture.color_trc), shape
        self._graph.vpush(colors)
        mapped = converted(
            self._graph.vpull(),
            "yuv420p",
            self._to_yuv,
            of=(None, ColorRange.JPEG),
            to=(Colorspace.ITU709, ColorRange.MPEG),
            interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
        )
        mapped.colorspace = mapped.color_primaries = mapped.color_trc = _BT709
        mapped.color_range = _LIMITED
        mapped.pts, mapped.time_base = picture.pts, picture.time_base
        return mapped


def standard_range(code: Floats, transfer: int) -> Floats:
    """Colours (..., 3) of BT.2020 with this transfer, 0 to 1, as BT.709's: the definition that the table holds."""
    light = _toned(_pq_light(code) if transfer == PQ else _hlg_light(code))
    return np.asarray(np.clip(light / _WHITE @ _TO_BT709.T, 0, 1) ** (1 / 2.4))


def _toned(light: Floats) -> Floats:
    """BT.2390-11, 5.4.1: a curve without a black level, in PQ code values of which 1 is the peak."""
    largest = np.clip(light.max(axis=-1, keepdims=True), 1e-6, _HDR_PEAK)
    peak = _pq_code(np.float64(_HDR_PEAK))
    white = _pq_code(np.float64(_WHITE)) / peak
    knee = 1.5 * white - 0.5
    code = _pq_code(largest) / peak
    along = (code - knee) / (1 - knee)
    squared, cubed = along**2, along**3
    curve = (
        (2 * cubed - 3 * squared + 1) * knee
        + (cubed - 2 * squared + along) * (1 - knee)
        + (-2 * cubed + 3 * squared) * white
    )
    return np.asarray(light * _pq_light(np.where(code > knee, curve, code) * peak) / largest)


def _pq_light(code: Floats) -> Floats:
    """Code values, 0 to 1, as cd/m2."""
    root = code ** (1 / _M2)
    return np.asarray(10_000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1))


def _pq_code(light: Floats | np.float64) -> Floats:
    power = (light / 10_000) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def _hlg_light(code: Floats) -> Floats:
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - _C) / _A) + _B) / 12)
    luma = np.maximum(scene @ _LUMA, 1e-9)[..., None]
    return np.asarray(_HDR_PEAK * luma ** (_SYSTEM_GAMMA - 1) * scene)


@cache
def _table(transfer: int) -> bytes:
    """As a file of the format .cube, in which red changes first."""
    steps = np.linspace(0, 1, _EDGE)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    colors = standard_range(np.stack([red, green, blue], axis=-1).reshape(-1, 3), transfer)
    rows = "\n".join(f"{red:.6f} {green:.6f} {blue:.6f}" for red, green, blue in colors)
    return f"LUT_3D_SIZE {_EDGE}\n{rows}\n".encode()


def _graph(colors: av.VideoFrame, transfer: int) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=colors.width, height=colors.height, format=colors.format, time_base=colors.time_base
    )
    import tempfile  # which other videos need not wait for

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.cube"
        file.write_bytes(_table(transfer))
        mapping = graph.add("lut3d", file=str(file), interp="tetrahedral")  # reads it here
        graph.link_nodes(source, mapping, graph.add("buffersink")).configure()
    return graph
