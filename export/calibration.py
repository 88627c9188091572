"""The pictures that an int8 model is calibrated on, and others that it is then compared on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..stream import ModelSpec, VideoInfo, open_source
from ..training.dataset import is_labelled, open_dataset, read_picture
from ..training.split import evenly, split
from .errors import ExportError
from .pictures import SAMPLE_COUNT, Picture, Samples, find_pictures, fit

PICTURE_COUNT = 100  # on CamVid 30 keep as many labels equal; other data may vary more

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    pictures: Iterable[Picture]  # at the network's size; to be gone through once
    count: int  # of them
    origin: str  # for people
    compared: Samples


def find_calibration(data: Path, spec: ModelSpec, count: int = PICTURE_COUNT) -> Calibration:
    """At most `count` pictures, evenly spread over `data`.

    Args:
        data: a labelled data set, of which only training pictures are calibrated on, and validation pictures compared
            on; a folder of pictures; or a video.
        spec: of the model, which sees pictures at a size of its choice.
        count: of the pictures to calibrate on.

    Raises:
        ExportError: there are no pictures.
        DataError: the data set is unusable, or a file is no picture.
        SourceError: a file is neither a picture nor a video.
    """
    if is_labelled(data):
        return _of_dataset(data, spec, count)
    if data.is_file():
        return _of_video(data, spec, count)
    calibrated, compared = _held_out(find_pictures(data), count)
    name = data.resolve().name
    return _of_files(calibrated, compared, spec, name, f"other pictures of {name}")


def given_samples(paths: Sequence[Path]) -> Samples:
    """Pictures of the user's choice to compare on."""
    return Samples(tuple(read_picture(path) for path in evenly(paths, SAMPLE_COUNT)), "the given pictures")


def _of_dataset(data: Path, spec: ModelSpec, count: int) -> Calibration:
    dataset = open_dataset(data)
    if not dataset.has_folders and not (data / "valid.txt").is_file():
        raise ExportError(
            f"{data}: has no valid.txt, so which of its pictures are for training is not known; "
            f"calibrate on a folder of pictures ({dataset.examples[0].picture.parent}) or a video"
        )
    parts = split(dataset)
    calibrated = evenly([example.picture for example in parts.train], count)
    compared = evenly([example.picture for example in parts.valid], SAMPLE_COUNT)
    name = data.resolve().name
    return _of_files(calibrated, compared, spec, f"{name}'s training pictures", f"validation pictures of {name}")


def _of_files(
    calibrated: Sequence[Path], compared: Sequence[Path], spec: ModelSpec, origin: str, compared_origin: str
) -> Calibration:
    pictures = (_fit(read_picture(path), spec) for path in calibrated)
    samples = Samples(tuple(read_picture(path) for path in compared), compared_origin)
    return Calibration(pictures, len(calibrated), origin, samples)


def _of_video(path: Path, spec: ModelSpec, count: int) -> Calibration:
    """Its frames scaled as `run` scales them, so that some 700 kB each are kept."""
    wanted = count + SAMPLE_COUNT
    with open_source(path) as source:
        size = spec.input_size(source.info.height, source.info.shown_width)
        total = _frame_count(source.info) or sum(1 for _ in source.frames(lambda _: size))
    with open_source(path, stride=max(total // wanted, 1), max_frames=wanted) as source:
        frames = [frame.input for frame in source.frames(lambda _: size)]
    calibrated, compared = _held_out(frames, count)
    return Calibration(calibrated, len(calibrated), path.name, Samples(tuple(compared), f"other frames of {path.name}"))


def _frame_count(info: VideoInfo) -> int | None:
    """As declared, or by duration and rate."""
    if info.frame_count is None and info.duration is not None and info.rate is not None:
        return int(info.duration * info.rate)
    return info.frame_count


def _held_out(items: Sequence[_Item], count: int) -> tuple[list[_Item], list[_Item]]:
    """`count` to calibrate on, and `SAMPLE_COUNT` others to compare on; where there are few, one in four is kept."""
    if len(items) < 4:
        return evenly(items, count), list(items)
    compared = set(evenly(range(1, len(items)), min(SAMPLE_COUNT, len(items) // 4)))
    rest = [item for index, item in enumerate(items) if index not in compared]
    return evenly(rest, count), [items[index] for index in sorted(compared)]


def _fit(picture: Picture, spec: ModelSpec) -> Picture:
    return fit(picture, *spec.input_size(*picture.shape[:2]))
