"""`roadmask run` and `roadmask info`: options in, talk out; the work is elsewhere."""

from __future__ import annotations

import json
import logging
import sys
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from .camera import Camera, CameraSettings, Policy, Transport, is_camera, parse_camera
from .duration import parse_duration
from .errors import RoadmaskError
from .frames import VideoInfo
from .h264 import DEFAULT_CRF, DEFAULT_PRESET, EncoderChoice, Preset
from .hide import hide_arguments
from .info import describe
from .jobs import expected_frames, find_sources, parse_time, plan
from .logs import LogFormat, set_up_logs
from .model import Model
from .outputs import refuse_bad_outputs
from .overlay import select_classes
from .segment import Report, SegmentSettings, batch_size, network_size, process_video
from .stop import Stop, stop_on_signal
from .stream_sink import StreamFormat
from .views import Views, is_stream
from .watch_cli import watch_cameras

ERRORS: tuple[type[Exception], ...] = (RoadmaskError,)
log = logging.getLogger(__name__)
_talk = Console(stderr=True, highlight=False)


def _time(text: str) -> Fraction:
    try:
        return parse_time(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
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
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...", help="Video files, folders or patterns; or cameras: rtsp://..., 0, /dev/video0; or -"
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="FILE.mp4 for the overlay, DIR/ for overlay, masks and statistics; - or a URL streams.",
        ),
    ] = None,
    overlay: Annotated[Path | None, typer.Option(help="Overlay video: .mp4, .mov or .mkv.", show_default=False)] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Mask archive: a folder, .zip, .mkv (FFV1), .npz or .zarr.", show_default=False)
    ] = None,
    stats: Annotated[
        Path | None, typer.Option(help="Share of each class, frame by frame: .csv or .parquet.", show_default=False)
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
    policy: Annotated[Policy, typer.Option(help="Of a camera when the model is slower; auto: latest.")] = "auto",
    timeout: Annotated[
        float, typer.Option(min=0.5, help="Seconds without a frame until a camera counts as lost.")
    ] = 10,
    max_retries: Annotated[
        int | None, typer.Option(min=0, help="Of a lost camera, in a row; without, for ever.", show_default=False)
    ] = None,
    rtsp_transport: Annotated[Transport, typer.Option(help="How RTSP's pictures travel.")] = "tcp",
    input_format: Annotated[
        str | None, typer.Option(help="FFmpeg's name for it: rawvideo, v4l2, mpegts, ...", show_default=False)
    ] = None,
    input_size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Of a webcam or raw video.", show_default=False)
    ] = None,
    input_rate: Annotated[
        str | None, typer.Option(metavar="FPS", help="Of a webcam or raw video.", show_default=False)
    ] = None,
    input_pixels: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="Of a webcam or raw video: yuv420p, ...", show_default=False)
    ] = None,
    segment_time: Annotated[
        float | None,
        typer.Option(parser=_duration, metavar="TIME", help="Length of a recording's parts: 10m.", show_default=False),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(parser=_duration, metavar="TIME", help="Delete parts that are older: 48h.", show_default=False),
    ] = None,
    serve: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Live view in a browser: 127.0.0.1:8080", show_default=False)
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(help="That the live view asks for.", envvar="ROADMASK_TOKEN", show_default=False),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="A window; q closes it, and ends the run.")] = False,
    stream_format: Annotated[
        StreamFormat, typer.Option(help="Of -o -: the overlay as MPEG-TS, or bare pictures.")
    ] = "mpegts",
    log_format: Annotated[LogFormat, typer.Option("--log", help="How to talk on standard error.")] = "text",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier run of this command ended, inside a video, too.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress bar and no talk, errors alone.")] = False,
) -> None:
    """Segment videos and cameras: overlay video, masks, statistics, live view.

    \b
    roadmask run drive.mp4                                   drive_overlay.mp4 in this folder
    roadmask run drive.mp4 -o seen.mp4 --legend --alpha 0.4
    roadmask run dashcam/ -o results/                        overlay, masks and statistics of each video
    roadmask run drive.mp4 --masks masks.zip --stats shares.csv
    roadmask run drive.mp4 -o cars.mp4 --classes car,pedestrian --start 1:00 --end 1:30
    roadmask run rtsp://camera/stream --serve 127.0.0.1:8080     watch it in a browser
    roadmask run front=rtsp://10.0.0.5/live rear=0 -o recordings/ --segment-time 10m --keep 48h
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
        segment_s=segment_time,
        keep_s=keep,
        resume=resume,
        overwrite=overwrite,
    )
    watching = CameraSettings(
        policy=policy,
        transport=rtsp_transport,
        timeout_s=timeout,
        max_retries=max_retries,
        input_format=input_format,
        size=input_size,
        rate=input_rate,
        pixel_format=input_pixels,
    )
    set_up_logs(log_format, level=logging.WARNING if quiet else logging.INFO)
    cv2.setNumThreads(1)  # its threads would only be in the way: every stage has one, and the network the cores
    cameras = _cameras(sources, watching)
    to_stream = is_stream(output)
    views = Views(serve, token, show, output if to_stream else None, stream_format, timeout)
    jobs = plan(
        cameras or find_sources(sources), None if to_stream else output, template, default_overlay=not views.any
    )
    views.refuse_bad(jobs)
    for job in jobs:
        refuse_bad_outputs(job)
    if cameras and not jobs[0].outputs and not views.any:
        raise typer.BadParameter("say what to make of it: -o DIR/ or -o FILE.mp4 records, --serve 127.0.0.1:8080 shows")
    if serve and not cameras:
        raise typer.BadParameter("--serve is for cameras; to see a file's overlay as it is made, pass --show")
    hide_arguments([*sources, output or ""], token)
    network = Model.load(model, device=device, threads=threads, workers=workers)
    select_classes(network.spec.classes, only=template.classes, exclude=template.exclude)
    with stop_on_signal() as stop:
        if cameras:
            code = watch_cameras(jobs, network, views=views, stop=stop, quiet=quiet, is_json=log_format == "json")
        else:
            code = _run_files(jobs, network, views, stop, quiet=quiet)
    raise typer.Exit(code)


def _cameras(words: list[str], settings: CameraSettings) -> list[Camera]:
    """The cameras, where the words name any: then all of them must."""
    are_cameras = [is_camera(word, settings) for word in words]
    if any(are_cameras) and not all(are_cameras):
        first_file = words[are_cameras.index(False)]
        raise typer.BadParameter(f"{first_file} is a file and others are cameras; run them apart")
    return [parse_camera(word, settings) for word in words] if all(are_cameras) else []


def _run_files(jobs: list[SegmentSettings], model: Model, views: Views, stop: Stop, *, quiet: bool) -> int:
    """One after the other; returns the exit code."""
    failed = 0
    for job in jobs:
        try:
            report = _run_one(job, model, views, stop, quiet=quiet)
        except RoadmaskError as exc:
            if len(jobs) == 1:
                raise
            log.error("%s", exc)  # noqa: TRY400 - a line is what the user needs; the other videos are not at fault
            failed += 1
            continue
        if report.interrupted:
            return 130 if stop.by else 0  # a window was closed, or nobody reads any more
    if failed:
        log.error("%d of %d videos failed", failed, len(jobs))
    return 1 if failed else 0


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


def _run_one(job: SegmentSettings, model: Model, views: Views, stop: Stop, *, quiet: bool) -> Report:
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
            job,
            model,
            stop=stop,
            also=views.sinks(job, model, stop),
            on_open=opened,
            on_frame=lambda frames: progress.update(task, completed=frames),
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
