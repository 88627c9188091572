"""Which of the files that were found are to be done: each recording once, and nothing that a run has made.

Pictures are done each by itself, but for those that are the frames of a video: numbered without a gap, of one size, and
without a word of the camera that would have taken them one by one.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Literal, TypeVar

import av
from av.container import InputContainer

from ..archive.video import ENDING_TAG
from ..decode.opening import SEQUENCE_SUFFIXES, open_container
from ..decode.picture import is_picture, read_head
from ..encode.carried import COMMENT
from ..encode.picture_sink import was_made_here
from ..encode.video_sink import SUFFIXES
from ..errors import SourceError

log = logging.getLogger(__name__)

Kind = Literal["auto", "pictures", "video"]  # what pictures are taken for

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
_NUMBERED = re.compile(r"([^%]*?)(\d+)([^\d%]*)")
_FEWEST = 10  # numbered pictures that are a video unasked
_LOOKED_AT = 20  # of them, whether they are of one size

P = TypeVar("P", bound=PurePath)


def footage_among(
    found: Iterable[P], passed: Counter[str], is_result: Callable[[P], bool], kind: Kind = "auto"
) -> list[P]:
    """The videos and pictures, without small copies of those that are there, and without results.

    Args:
        found: files.
        passed: what is passed over is counted here, by kind.
        is_result: whether a run has made it; asked of what may be.
        kind: with "pictures" no videos.
    """
    videos: list[P] = []
    for path in found:
        if path.name.startswith("."):
            continue
        if not (is_picture(path) or (kind != "pictures" and is_video(path))):
            passed[path.suffix.lower() or "without a suffix"] += 1
        elif path.stem.endswith(_UNFINISHED):
            passed["unfinished"] += 1
        else:
            videos.append(path)
    large = {(path.parent, _recording(path)) for path in videos if is_video(path) and not _is_small(path)}
    kept: list[P] = []
    for path in videos:
        if _is_small(path) and (path.parent, _recording(path)) in large:
            passed["in low resolution, too"] += 1
        elif is_picture(path) and (path.parent, _recording(path)) in large:
            passed["small pictures of videos"] += 1
        elif (is_picture(path) or path.suffix.lower() in SUFFIXES) and is_result(path):
            passed["made by roadmask"] += 1
        else:
            kept.append(path)
    return kept


def is_video(path: PurePath) -> bool:
    """Whether its name is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def in_sequences(paths: Sequence[Path], kind: Kind, passed: Counter[str]) -> list[tuple[Path, str]]:
    """The files; those that are the frames of a video are one, `frames/%05d.png`.

    Args:
        paths: of a folder, from `footage_among`.
        kind: with "video" all that are numbered are videos, and other pictures are passed over.
        passed: where these are counted.

    Returns:
        With each what tells it from other sequences of its folder; empty where nothing must.
    """
    groups: dict[tuple[Path, str, str, str], list[Path]] = defaultdict(list)
    for path in paths:
        numbered = _NUMBERED.fullmatch(path.stem)
        if kind != "pictures" and numbered and path.suffix.lower() in SEQUENCE_SUFFIXES:
            groups[path.parent, numbered[1], numbered[3], path.suffix].append(path)
    sequences = {key: group for key, group in groups.items() if kind == "video" or _are_frames(group)}
    counts = Counter(folder for folder, *_ in sequences)
    of_frame = {path: key for key, group in sequences.items() for path in group}
    found: dict[Path, str] = {}
    for path in paths:
        if key := of_frame.get(path):
            folder, before, after, suffix = key
            pattern = folder / f"{before}{_numbers_of(sequences[key])}{after}{suffix}"
            if pattern not in found and kind == "auto":
                count = len(sequences[key])
                log.info("%s: %d numbered pictures of one size are a video (--as pictures: each alone)", pattern, count)
            found[pattern] = f"{before}{after}".strip("_- .") if counts[folder] > 1 else ""
        elif kind == "video" and is_picture(path):
            passed["pictures without a number"] += 1
        else:
            found[path] = ""
    return list(found.items())


def _numbers_of(group: Sequence[Path]) -> str:
    """As FFmpeg writes them."""
    widths = {len(_digits(path)) for path in group}
    return f"%0{max(widths)}d" if len(widths) == 1 and widths != {1} else "%d"


def _digits(path: Path) -> str:
    numbered = _NUMBERED.fullmatch(path.stem)
    assert numbered is not None
    return numbered[2]


def _are_frames(group: Sequence[Path]) -> bool:
    numbers = sorted(int(_digits(path)) for path in group)
    if len(numbers) < _FEWEST or numbers[-1] - numbers[0] >= len(numbers):
        return False
    with suppress(SourceError):
        heads = [read_head(path) for path in group[:: max(len(group) // _LOOKED_AT, 1)]]
        return len({(head.width, head.height) for head in heads}) == 1 and not any(head.camera for head in heads)
    return False


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
    """Whether a file is an overlay, a mask or an archive of them: they say so.

    Only the header is read, in 0.3 to 0.7 ms of a clip of three minutes: less than to see whether it was done before.
    """
    if is_picture(path):
        return was_made_here(path)
    with suppress(av.FFmpegError, OSError, SourceError), open_container(path, decoders="none") as container:
        return says_so(container)
    return False


def says_so(container: InputContainer) -> bool:
    tags = {name.upper(): value for name, value in container.metadata.items()}
    return tags.get("COMMENT", "").startswith(COMMENT) or ENDING_TAG in tags
