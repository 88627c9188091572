"""From the files of a call to one `SegmentSettings` each; a second call does only what is missing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..camera.camera import Camera
from ..decode.opening import is_sequence, sequence_name
from ..decode.picture import MAX_PICTURE_PIXELS
from ..encode.picture_sink import refuse_bad_picture
from ..errors import OutputError, SourceError
from ..masks.ignore import ignored_by_source
from ..network.model import Model
from ..run.claim import Claim, claimed
from ..run.done import find_done, made_otherwise
from ..run.outputs import refuse_bad_outputs
from ..run.settings import Report, SegmentSettings, run_identity
from ..system.disk import fitting
from .batch import DoneBefore, RunJob
from .footage import Kind
from .remote import is_done
from .summary import Entry, Summary, noted_model, recorded
from .video_files import VideoFile

_LOOKED_AT = 100  # jobs, for what an earlier call was: it began with the first
OVERLAY_SUFFIXES = (".mp4", ".mov", ".mkv")
_STAR = "*"  # in the name of an output: that of the video
_ARCHIVES = (".zip", ".mkv")  # of masks of a video, as which no picture's is written
# What means nothing to a picture: that it was asked for makes its run no other one.
_OF_VIDEOS = (
    *("stream", "picture_rate", "start", "end", "stride", "max_frames", "reuse", "every", "deinterlace", "decode"),
    *("encoder", "crf", "preset"),
)


def plan(
    sources: Sequence[VideoFile | Camera],
    output: str | None,
    template: SegmentSettings,
    *,
    default_overlay: bool = True,
) -> list[SegmentSettings]:
    """One job a source.

    Args:
        sources: from `find_sources`, or cameras.
        output: a folder (ending in a slash, existing, or without a suffix) takes overlay, masks and statistics under
            each source's name; a file takes the overlay of the one source, or of each where * is its name; `None`
            without other outputs puts a file's overlay into the working directory, and records no camera unasked.
        template: everything else, for all of them.
        default_overlay: write a file's overlay where no output is named.

    Raises:
        OutputError: several sources for one file, sources that cannot be told apart by their results' names, a source
            that is another's result, or a suffix that is no video.
        SourceError: cameras of one name.
    """
    _refuse_equal_cameras(sources)
    folder = results_folder(output)
    if folder is None and output is not None:
        template = replace(template, overlay=Path(output))
    are_pictures = all(isinstance(source, VideoFile) and source.picture for source in sources)
    starred = [path for path in template.outputs if _STAR in str(path)]
    if folder is not None or not template.outputs or are_pictures or starred:
        jobs = []
        for source, place in zip(sources, _places(sources), strict=True):
            job = job_of(template, source)
            if job.picture and starred:
                raise OutputError(f"{starred[0]}: {_STAR} is a video's name; for pictures name folders", usage=True)
            if job.picture:
                default = default_overlay and not template.outputs
                jobs.append(_picture_outputs(job, folder, place, default_overlay=default, alone=len(sources) == 1))
            elif folder is not None:
                jobs.append(into_folder(job, folder, place))
            elif starred:
                jobs.append(_named_by(job, place))
            else:
                has_overlay = default_overlay and not isinstance(source, Camera)
                jobs.append(replace(job, overlay=_overlay_at(place) if has_overlay else None))
        _refuse_equal_names(jobs)
        return _without_results(jobs, sources)
    if len(sources) > 1:
        raise OutputError(
            f"{len(sources)} sources cannot go into one file; name a folder: -o DIR/, or let * be the name of each, in "
            "quotes: --masks 'DIR/*.mkv'"
        )
    if template.overlay is not None and template.overlay.suffix.lower() not in OVERLAY_SUFFIXES:
        known = ", ".join(OVERLAY_SUFFIXES)
        raise OutputError(
            f"{template.overlay}: overlay videos are {known}; for a folder write -o {template.overlay}/", usage=True
        )
    return [job_of(template, source) for source in sources]


def taken_for(kind: Kind, output: str | None, template: SegmentSettings, *, is_shown: bool) -> Kind:
    """What pictures are to be taken for: for a video where a video is asked for and nothing else is said.

    `is_shown`: while it runs, in a window or as a stream.
    """
    overlay = Path(output) if output and results_folder(output) is None else template.overlay
    asks_for_video = is_shown or (overlay is not None and overlay.suffix.lower() in OVERLAY_SUFFIXES)
    asks_for_video |= template.masks is not None and template.masks.suffix.lower() in _ARCHIVES
    return "video" if kind == "auto" and asks_for_video else kind


def table_path(jobs: Sequence[SegmentSettings], output: str | None, template: SegmentSettings) -> Path | None:
    """Of the one table of all pictures; `None` where there is to be none."""
    pictures = [job for job in jobs if job.picture]
    folder = results_folder(output)
    if not pictures or template.stats or folder is None:
        return template.stats if pictures else None
    return folder / (f"{results_stem(jobs[0].file or Path())}_stats.csv" if len(jobs) == 1 else "pictures_stats.csv")


def masks_folder(jobs: Sequence[SegmentSettings], output: str | None, template: SegmentSettings) -> Path | None:
    """Where all masks of pictures lie, in it or below it; `None` where none do."""
    if not any(job.picture and job.masks for job in jobs) or (template.masks and template.masks.suffix):
        return None
    return template.masks or results_folder(output)


def ignoring(jobs: Sequence[SegmentSettings], words: Sequence[str]) -> list[SegmentSettings]:
    """The jobs, each with what is left out of it: see `ignored_by_source`. Raises `RoadmaskError`."""
    found = ignored_by_source(words, [job.name for job in jobs])
    return [replace(job, ignore=ignored or None) for job, ignored in zip(jobs, found, strict=True)]


def results_folder(output: str | None) -> Path | None:
    """The folder that `-o` names, which need not be there; `None` where it names none."""
    if output is None:
        return None
    path = Path(output)
    is_folder = output.endswith(("/", "\\")) or path.is_dir() or not (path.suffix or path.exists())
    return path if is_folder else None


def folder_of_each(output: str | None, template: SegmentSettings) -> Path | None:
    """The folder of the first of the outputs in whose names * is that of each video; `None` where there are none."""
    named = [str(path) for path in (output, *template.outputs) if _STAR in str(path)]
    return Path(f"{named[0].partition(_STAR)[0]}{_STAR}").parent if named else None


def _places(sources: Sequence[VideoFile | Camera]) -> list[Path]:
    """Where among the results each source's belong, and the name that theirs begin with.

    Files of one folder whose results would have the same names keep their suffixes, those of several folders the
    folders by which they differ.
    """
    files = [source for source in sources if isinstance(source, VideoFile)]
    if not files:
        return [Path(source.name.replace(".", "_")) for source in sources]  # cameras: an address has dots
    twins = Counter((file.path.parent, results_stem(file.path), file.label) for file in files)
    places = []
    for file in files:
        stem = results_stem(file.path)
        if twins[file.path.parent, stem, file.label] > 1:
            stem += file.path.suffix.replace(".", "_")
        places.append(file.folder / (f"{stem}_{file.label}" if file.label else stem))
    counts = Counter(places)
    apart = {number: file for number, file in enumerate(files) if counts[places[number]] > 1}
    for number, folder in _folders_apart(apart).items():
        places[number] = folder / places[number].name
    return places


def results_stem(path: Path) -> str:
    """As pathlib has it, but of `..mp4`, where it would be the folder itself; of a sequence, its folder's name."""
    if is_sequence(path):
        return sequence_name(path)
    return path.stem if path.stem.strip(".") else path.name


def _folders_apart(files: dict[int, VideoFile]) -> dict[int, Path]:
    """Of each, its folder below the one that holds them all."""
    parents = {number: Path(os.path.realpath(file.path)).parent for number, file in files.items()}
    try:
        common = os.path.commonpath(parents.values())
    except ValueError:  # there are none, or they are on several drives of Windows; equal names are refused then
        return {}
    return {number: parent.relative_to(common) for number, parent in parents.items()}


def job_of(template: SegmentSettings, source: VideoFile | Camera) -> SegmentSettings:
    """Of one source, still without the outputs that are named by it."""
    if isinstance(source, Camera):
        return replace(template, source=source)
    stream = template.stream if source.stream is None else source.stream
    job = replace(template, source=source.path, stream=stream, label=source.label)
    if not source.picture:
        return job
    usual = SegmentSettings(source.path)
    most = MAX_PICTURE_PIXELS if job.max_pixels == usual.max_pixels else job.max_pixels
    unmoved: dict[str, Any] = {name: getattr(usual, name) for name in _OF_VIDEOS}
    return replace(job, picture=True, smooth=False, stats=None, max_pixels=most, **unmoved)


def _picture_outputs(
    job: SegmentSettings, folder: Path | None, place: Path, *, default_overlay: bool, alone: bool
) -> SegmentSettings:
    """A name without a suffix is that of a folder, in which each has its picture's own name."""
    assert job.file is not None
    suffix = ".jpg" if job.file.suffix.lower() in (".jpg", ".jpeg", ".jpe", ".jfif") else ".png"
    overlay, masks = job.overlay, job.masks
    for path in (overlay, masks):
        if path is not None and path.suffix and not alone:
            raise OutputError(f"{path}: several pictures cannot go into one file; name a folder")
    if overlay is not None and not overlay.suffix:
        overlay = overlay / place.with_name(f"{place.name}{suffix}")
    elif overlay is None and (folder is not None or default_overlay):
        overlay = (folder or Path()) / place.with_name(f"{place.name}_overlay{suffix}")
    if masks is not None and not masks.suffix:
        masks = masks / place.with_name(f"{place.name}.png")
    elif masks is None and folder is not None:
        masks = folder / place.with_name(f"{place.name}_mask.png")
    if overlay is not None:
        refuse_bad_picture(overlay)
    if masks is not None and masks.suffix.lower() != ".png":
        raise OutputError(f"{masks}: the mask of a picture is a .png", usage=True)
    return replace(job, overlay=overlay, masks=masks)


def _overlay_at(place: Path) -> Path:
    return place.with_name(f"{place.name}_overlay.mp4")


def into_folder(job: SegmentSettings, folder: Path, place: Path) -> SegmentSettings:
    """Outputs that were named one by one keep their names, in which * is that of the source."""
    job = _named_by(job, place)
    return replace(
        job,
        overlay=job.overlay or _overlay_at(folder / place),
        masks=job.masks or folder / _dotless(place).with_name(f"{_dotless(place).name}_masks"),
        stats=job.stats or (folder / place).with_name(f"{place.name}_stats.csv"),
    )


def _named_by(job: SegmentSettings, place: Path) -> SegmentSettings:
    """Each has outputs of its own: a * in the name of one is where the source's results belong, and their name."""

    def named(path: Path | None) -> Path | None:
        return path and Path(str(path).replace(_STAR, str(place if path.suffix else _dotless(place))))

    return replace(job, overlay=named(job.overlay), masks=named(job.masks), stats=named(job.stats))


def _dotless(place: Path) -> Path:
    """After a dot would be the kind of archive."""
    return place.with_name(place.name.replace(".", "_"))


def _without_results(jobs: list[SegmentSettings], sources: Sequence[VideoFile | Camera]) -> list[SegmentSettings]:
    """Leave out what was found and is another job's result: that of an earlier run into the sources' own folder."""
    of_output = {os.path.realpath(output): job for job in jobs for output in job.outputs}
    kept = []
    for job, source in zip(jobs, sources, strict=True):
        other = of_output.get(os.path.realpath(job.file)) if job.file else None
        if other is None or other is job:
            kept.append(job)
        elif isinstance(source, VideoFile) and source.named:
            raise OutputError(f"{job.title} is to be segmented, and {other.title} would write it; run them apart")
    return kept


def _refuse_equal_cameras(sources: Sequence[VideoFile | Camera]) -> None:
    counts = Counter(source.name for source in sources if isinstance(source, Camera))
    for name, count in counts.items():
        if count > 1:
            raise SourceError(f"{count} cameras are called {name}; give them names: left=rtsp://... right=rtsp://...")


def _refuse_equal_names(jobs: list[SegmentSettings]) -> None:
    by_output: dict[Path, str] = {}
    for job in jobs:
        for output in job.outputs:
            if output in by_output:
                raise OutputError(f"{job.title} and {by_output[output]} would both write {output}; run them apart")
            by_output[output] = job.title


def record_path(job: SegmentSettings) -> Path:
    """Where a call for this one file writes down what became of it."""
    stem = results_stem(job.file or Path())
    return job.outputs[0].with_name(fitting(f"{stem}_{job.label}_run.json" if job.label else f"{stem}_run.json"))


def only_missing(summary: Summary, model: Model, run_job: RunJob) -> RunJob:
    """`run_job` for what is still to be done, noted in the summary before; for what was done, `DoneBefore`."""

    def run(job: SegmentSettings) -> Report:
        if job.remote and not job.overwrite and is_done(job):
            raise DoneBefore
        if job.file is None or not os.path.isfile(job.file):  # noqa: PTH113 - pathlib raises for names too long
            return run_job(job)  # which says what is wrong with it
        identity = run_identity(job, model)
        with claimed(job) as held:
            due = _due(held, summary.entry(job) or recorded(record_path(job), job), identity)
            refuse_bad_outputs(due)
            summary.begin(due, identity)
            return run_job(replace(due, noted=True))

    return run


class EarlierChoice(NamedTuple):
    """What a call took that did, or began, the same."""

    model: str  # the file's name without its suffix
    device: str  # as users call it


def earlier_choice(jobs: Sequence[SegmentSettings], summary: Path | None) -> EarlierChoice | None:
    """As the summary of results tells it, or else the first of the jobs that was begun or done; `None` of new ones."""
    if any(job.overwrite and not job.resume for job in jobs):
        return None
    if summary and (facts := noted_model(summary)):
        return EarlierChoice(*facts)
    for job in [job for job in jobs[:_LOOKED_AT] if job.resume and job.outputs]:
        with suppress(OutputError):
            done = find_done(job.outputs)
            identity = Claim(job.outputs, {}).before() or (done.identity if done else {})
            if identity:
                return EarlierChoice(identity["model"].partition(".onnx")[0], identity["device"])
    return None


def _due(job: SegmentSettings, entry: Entry | None, identity: Mapping[str, Any]) -> SegmentSettings:
    """The job, allowed to go on with what an earlier call left of it, and to replace it.

    Raises:
        DoneBefore: nothing is missing.
        OutputError: it was done or begun in another way, and may not be replaced.
    """
    if entry is None or not entry.identity or (job.overwrite and not job.resume):
        return job
    there = [output.exists() for output in job.outputs]
    differing = made_otherwise(entry.identity, identity)
    if entry.state in ("done", "partial") and all(there) and not differing:
        raise DoneBefore
    if any(there) and differing and not job.overwrite:
        raise OutputError(
            f"{job.outputs[there.index(True)]}: made before, but {'; '.join(differing)}; "
            "pass --overwrite to make it anew"
        )
    # A picture is made anew: what the table tells of it may not have been noted.
    return job if differing else replace(job, overwrite=True, resume=not job.picture)
