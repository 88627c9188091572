"""Which of the files that were found are videos to be done: each recording once, and nothing that a run has made."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path, PurePath
from typing import TypeVar

import av
from av.container import InputContainer

from ..archive.video import ENDING_TAG
from ..decode.opening import open_container
from ..encode.video_sink import COMMENT, SUFFIXES
from ..errors import SourceError

# The suffixes of FFmpeg's own list of formats that hold video, of those that it knows by their content alone (asf, mxf,
# rm, vob, ...), and those that cameras give them (dav, insv, 360, lrv, trp, mod, ...). Not pictures, sound, subtitles,
# playlists, text, nor bare pixels, whose size must be told; nor .dat, .ps, .avs and .str, which in folders of people
# are something else.
_NAMES = """
    mp4 m4v mov qt f4v ismv psp mj2 3gp 3g2 insv 360 lrv lrf glv mkv mk3d webm avi divx xvid amv nut ivf ogv ogm
    ts m2t m2ts mts trp tp tod mod mpg mpeg mpe m2p m1v m2v mpv vob vro evo pva nsv nuv ty wtv dvr-ms y4m
    asf wmv rm rmvb ivr flv kux swf mxf gxf lxf dv dif imx dav mxg ifv lvf xmv roq viv fli flc flm cdxl smk bik
    vqa thp mve bmv mvi yop mods moflex usm ipu pdv h261 h263 h264 264 h26l avc h265 265 hevc h266 266 vvc obu
    av1 evc apv avs2 avs3 cavs drc vc1 vc2 rcv dnxhd dnxhr mjpeg mjpg
"""
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _NAMES.split())
_UNFINISHED = (".partial", ".earlier")  # before the suffix of what a killed run left
_SMALL = (".lrv", ".lrf", ".glv")  # what GoPro, DJI and Garmin record beside the large picture; Insta360: LRV_...
_KINDS_TOLD = 6

P = TypeVar("P", bound=PurePath)


def videos_among(found: Iterable[P], passed: Counter[str], is_result: Callable[[P], bool]) -> list[P]:
    """The videos, without small copies of those that are there, and without results.

    Args:
        found: files.
        passed: what is passed over is counted here, by kind.
        is_result: whether a run has made it; asked of what may be.
    """
    videos: list[P] = []
    for path in found:
        if path.name.startswith("."):
            continue
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            passed[path.suffix.lower() or "without a suffix"] += 1
        elif path.stem.endswith(_UNFINISHED):
            passed["unfinished"] += 1
        else:
            videos.append(path)
    large = {(path.parent, _recording(path)) for path in videos if not _is_small(path)}
    kept: list[P] = []
    for path in videos:
        if _is_small(path) and (path.parent, _recording(path)) in large:
            passed["in low resolution, too"] += 1
        elif path.suffix.lower() in SUFFIXES and is_result(path):
            passed["made by roadmask"] += 1
        else:
            kept.append(path)
    return kept


def _is_small(path: PurePath) -> bool:
    return path.suffix.lower() in _SMALL or path.name.lower().startswith("lrv_")


def _recording(path: PurePath) -> str:
    """What the names of a camera's files of one recording have in common.

    GoPro: GX010001.MP4, GL010001.LRV. Insta360: VID_20260101_120000_00_001.insv, LRV_20260101_120000_11_001.insv.
    """
    stem = re.sub(r"^g[a-z](?=\d{6}$)", "g", path.stem.lower())
    return re.sub(r"^(?:pro_)?(?:vid|lrv)_(\d{8}_\d{6})_\d\d_", r"\1_", stem)


def told(passed: Counter[str]) -> str:
    """In a line: 7 passed over (5 .txt, 2 made by roadmask)."""
    kinds = [f"{count} {kind}" for kind, count in passed.most_common(_KINDS_TOLD)]
    others = passed.total() - sum(count for _, count in passed.most_common(_KINDS_TOLD))
    return f"{passed.total()} passed over ({', '.join([*kinds, *([f'{others} others'] if others else [])])})"


def is_result(path: Path) -> bool:
    """Whether a file is an overlay or an archive of masks: they say so.

    Only the header is read, in 0.3 to 0.7 ms of a clip of three minutes: less than to see whether it was done before.
    """
    with suppress(av.FFmpegError, OSError, SourceError), open_container(path, decoders="none") as container:
        return says_so(container)
    return False


def says_so(container: InputContainer) -> bool:
    tags = {name.upper(): value for name, value in container.metadata.items()}
    return tags.get("COMMENT") == COMMENT or ENDING_TAG in tags
