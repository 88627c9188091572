"""`roadmask run` and `roadmask info`: options in, talk out; the work is elsewhere."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Annotated

import cv2
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from .errors import RoadmaskError
from .frames import VideoInfo
from .h264 import DEFAULT_CRF, DEFAULT_PRESET, EncoderChoice, Preset
from .info import describe
from .jobs import expected_frames, find_sources, parse_time, plan
from .model import Model
from .overlay import select_classes
from .segment import Report, SegmentSettings, batch_size, network_size, process_video, refuse_bad_outputs

ERRORS: tuple[type[Exception], ...] = (RoadmaskError,)
_talk = Console(stderr=True, highlight=False)


def _time(text: str) -> Fraction:
    try:
        return parse_time(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def _batch(text: str) -> int:
    """0 stands for "auto"."""
    if text == "auto":
        return 0
    if not text.isdigit() or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is neither auto nor a positive number")
    return int(text)


def run(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Video files, folders or patterns.")],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="FILE.mp4 for the overlay, or DIR/ for overlay, masks and statistics."),
    ] = None,
    overlay: Annotated[Path | None, typer.Option(help="Overlay video: .mp4, .mov or .mkv.", show_default=False)] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Mask archive: a folder, .zip, or .mkv (FFV1).", show_default=False)
    ] = None,
    stats: Annotated[
        Path | None, typer.Option(help="Share of each class, frame by frame: .csv.", show_default=False)
    ] = None,
    model: Annotated[
        Path | None, typer.Option("-m", "--model", help="Model file; without, the one in the box.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, tensorrt, openvino, coreml, ...")] = "auto",
    batch: Annotated[int, typer.Option(parser=_batch, metavar="N|auto", help="Frames a network call.")] = "auto",  # type: ignore[assignment]
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Share of the class colour in the overlay.")] = 0.5,
    classes: Annotated[str, typer.Option(help="Draw only these: road,car", show_default=False)] = "",
    exclude: Annotated[str, typer.Option(help="Do not draw these: sky", show_default=False)] = "",
    legend: Annotated[bool, typer.Option("--legend/--no-legend", help="Draw the classes' colours and names.")] = False,
    start: Annotated[
        Fraction | None,
        typer.Option(parser=_time, metavar="TIME", help="From here: seconds or 00:01:30.", show_default=False),
    ] = None,
    end: Annotated[
        Fraction | None,
        typer.Option(parser=_time, metavar="TIME", help="Up to here, without it.", show_default=False),
    ] = None,
    stride: Annotated[int, typer.Option(min=1, help="Every n-th frame.")] = 1,
    max_frames: Annotated[int | None, typer.Option(min=1, help="At most so many.", show_default=False)] = None,
    smooth: Annotated[
        bool, typer.Option("--smooth/--no-smooth", help="Steady masks over time, or decide each frame by itself.")
    ] = True,
    reuse: Annotated[
        bool, typer.Option("--reuse/--no-reuse", help="Keep a mask while the picture stays as it is, up to a second.")
    ] = False,
    encoder: Annotated[EncoderChoice, typer.Option(help="Of the overlay.")] = "auto",
    crf: Annotated[int, typer.Option(min=0, max=51, help="Quality of the overlay; 0 is lossless.")] = DEFAULT_CRF,
    preset: Annotated[Preset, typer.Option(help="x264's speed.")] = DEFAULT_PRESET,
    decode: Annotated[
        str, typer.Option(help="auto, software, cuda, videotoolbox, ...; auto: on the network's own GPU.")
    ] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="The network's, on the CPU; 0 for one a core.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Network calls at a time; 0 for what suits the device.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress bar and no talk, errors alone.")] = False,
) -> None:
    """Segment videos: overlay video, masks, statistics.

    \b
    roadmask run drive.mp4                                   drive_overlay.mp4 in this folder
    roadmask run drive.mp4 -o seen.mp4 --legend --alpha 0.4
    roadmask run dashcam/ -o results/                        overlay, masks and statistics of each video
    roadmask run drive.mp4 --masks masks.zip --stats shares.csv
    roadmask run drive.mp4 -o cars.mp4 --classes car,pedestrian --start 1:00 --end 1:30
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are
    if end is not None and end <= (start or 0):
        raise typer.BadParameter("--end must be later than --start")
    template = SegmentSettings(
        source=Path(),
        overlay=overlay,
        masks=masks,
        stats=stats,
        alpha=alpha,
        classes=_names(classes),
        exclude=_names(exclude),
        legend=legend,
        start=start,
        end=end,
        stride=stride,
        max_frames=max_frames,
        batch=batch or None,
        smooth=smooth,
        reuse=reuse,
        decode=decode,
        encoder=encoder,
        crf=crf,
        preset=preset,
        overwrite=overwrite,
    )
    cv2.setNumThreads(1)  # its threads would only be in the way: every stage has one, and the network the cores
    jobs = plan(find_sources(sources), output, template)
    for job in jobs:
        refuse_bad_outputs(job)
    network = Model.load(model, device=device, threads=threads, workers=workers)
    select_classes(network.spec.classes, only=template.classes, exclude=template.exclude)
    failed = 0
    with _stop_on_signal() as stop:
        for job in jobs:
            try:
                report = _run_one(job, network, stop, quiet=quiet)
            except RoadmaskError as exc:
                if len(jobs) == 1:
                    raise
                sys.stderr.write(f"roadmask: {exc}\n")  # the other videos are not at fault
                failed += 1
                continue
            if report.interrupted:
                raise typer.Exit(130)
    if failed:
        sys.stderr.write(f"roadmask: {failed} of {len(jobs)} videos failed\n")
        raise typer.Exit(1)


def info(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A video, a model (.onnx) or a mask archive.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what a video, a model or a mask archive is.

    \b
    roadmask info drive.mp4
    roadmask info model.onnx
    roadmask info results/drive_masks --json
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are
    facts = describe(path)
    if as_json:
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
        return
    width = max(len(name) for name in facts)
    console = Console(highlight=False)
    for name, value in facts.items():
        console.print(Text(f"{name:<{width}}  ", style="bold") + _shown(value), soft_wrap=True)


def _run_one(job: SegmentSettings, model: Model, stop: Event, *, quiet: bool) -> Report:
    with _progress(quiet=quiet) as progress:
        task = progress.add_task(job.name, total=None)

        def opened(info: VideoInfo) -> None:
            height, width = network_size(model, info)
            if not quiet:
                progress.console.print(
                    f"{job.name}: {info.width}x{info.height}; {model.path.stem} on {model.device}, "
                    f"network {width}x{height}, batch {batch_size(model, job.batch)}"
                    + (", smoothed over time" if job.smooth else "")
                    + (", masks of still pictures reused" if job.reuse else ""),
                    soft_wrap=True,
                )
            progress.update(task, total=expected_frames(info, job))

        report = process_video(
            job, model, stop=stop, on_open=opened, on_frame=lambda frames: progress.update(task, completed=frames)
        )
    if not quiet:
        _talk.print(f"{job.name}: {report}", soft_wrap=True)
    for output in job.outputs:
        sys.stdout.write(f"{output}\n")
    return report


def _progress(*, quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
        console=_talk,
        disable=quiet or not _talk.is_terminal,
        transient=True,
    )


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} fps" if task.speed else "", style="progress.data.speed")


@contextmanager
def _stop_on_signal() -> Iterator[Event]:
    """An event that Ctrl-C or SIGTERM sets, so that files are finished; a second one ends at once."""
    stop = Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _shown(value: object) -> Text:
    """A fact for people; classes with their colours."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and "color" in value[0]:
        text = Text()
        for item in value:
            text.append("\n  ").append("██ ", style="rgb({},{},{})".format(*item["color"])).append(item["name"])
        return text
    if isinstance(value, dict):
        return Text("".join(f"\n  {name}: {item}" for name, item in value.items()))
    return Text("unknown" if value is None else str(value))
