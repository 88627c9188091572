"""`roadmask run` and `roadmask info`: options in, talk out; the work is elsewhere."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.console import Console
from rich.text import Text

from ..camera.camera import Camera, CameraSettings, Policy, Transport, is_camera, parse_camera
from ..cluster.cluster_settings import ClusterSettings
from ..decode.opening import MAX_PIXELS
from ..encode.h264 import DEFAULT_CRF, DEFAULT_PRESET, EncoderChoice, Preset
from ..encode.overlay import select_classes
from ..errors import RoadmaskError
from ..files.depot import open_depot
from ..files.files_talk import ProgressKind
from ..files.jobs import plan, results_folder, results_stem
from ..files.remote import is_remote
from ..files.summary import SUMMARY_NAME
from ..files.video_files import VideoFile, find_sources
from ..network.model import Model
from ..outputs import refuse_bad_outputs
from ..process.stop import stop_on_signal
from ..publish.stream_sink import StreamFormat
from ..segment import SegmentSettings
from ..talk.hide import hide_arguments
from ..talk.logs import LogFormat, set_up_logs
from ..talk.printable import printable
from ..watch.views import Views, is_stream
from .duration import parse_duration
from .info import describe
from .moment import parse_moment
from .run_cameras import watch_cameras
from .run_files import FilesSettings, jobs_at_once, run_files

ERRORS: tuple[type[Exception], ...] = (RoadmaskError,)

_RAY_ADDRESS = re.compile(r"local|auto|ray://.+|[\w.\-\[\]:]+:\d+")


def completed(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command, where `--ray` may have no address: options of Typer's always have one."""
    result = []
    for argument, after in zip(arguments, [*arguments[1:], ""], strict=True):
        result.append(argument)
        if argument == "--ray" and not _RAY_ADDRESS.fullmatch(after):
            result.append("")
    return result


def _time(text: str) -> Fraction:
    try:
        return parse_moment(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def _number_or_auto(text: str) -> int:
    """0 stands for "auto"."""
    if text == "auto":
        return 0
    if not text.isdigit() or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is neither auto nor a positive number")
    return int(text)


def run(
    ctx: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Video files, folders, patterns or @LIST.txt; or cameras: rtsp://..., 0, /dev/video0; or -",
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
    batch: Annotated[
        int, typer.Option(parser=_number_or_auto, metavar="N|auto", help="Frames a network call.")
    ] = "auto",  # type: ignore[assignment]
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Share of the class colour in the overlay.")] = 0.5,
    classes: Annotated[str, typer.Option(help="Draw only these: road,car", show_default=False)] = "",
    exclude: Annotated[str, typer.Option(help="Do not draw these: sky", show_default=False)] = "",
    legend: Annotated[bool, typer.Option("--legend/--no-legend", help="Draw the classes' colours and names.")] = False,
    stream: Annotated[
        int | None,
        typer.Option(min=0, help="Which video stream of a file, from 0; without, the default one.", show_default=False),
    ] = None,
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
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Of a picture; larger ones are not decoded, and take no memory.")
    ] = MAX_PIXELS,
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
    jobs: Annotated[
        int, typer.Option("--jobs", parser=_number_or_auto, metavar="N|auto", help="Files at a time, on one model.")
    ] = "1",  # type: ignore[assignment]
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Run files on a Ray cluster: local, auto, HOST:PORT, ray://HOST:PORT; or the one that is there.",
            show_default=False,
        ),
    ] = None,
    ray_workers: Annotated[int, typer.Option(min=0, help="Videos at a time on the cluster; 0 for all its cores.")] = 0,
    ray_cpus: Annotated[int, typer.Option(min=1, help="Cores of each worker.")] = 1,
    summary: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What became of each file, as JSON; of several with -o DIR/: DIR/summary.json.",
            show_default=False,
        ),
    ] = None,
    progress: Annotated[
        ProgressKind, typer.Option(help="auto: bars on a terminal; json: a line a second on standard error.")
    ] = "auto",
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
    roadmask run @files.txt -o results/ --resume --jobs 2    what is not done yet of a list, two at a time
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
        stream=stream,
        decode=decode,
        max_pixels=max_pixels,
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
    stack = ctx.with_resource(ExitStack())
    depot = stack.enter_context(open_depot(sources, output, [overlay, masks, stats, summary]))
    output = depot.output if depot else output
    to_stream = is_stream(output)
    views = Views(serve, token, show, output if to_stream else None, stream_format, timeout)
    folder = None if to_stream else results_folder(output)
    files = [] if cameras else depot.find(sources) if depot else find_sources(sources, folder)
    apart = resume or ray is not None or depot is not None
    many, summary = (False, None) if cameras else _files(files, folder, summary, apart=apart)
    planned = plan(cameras or files, None if to_stream else output, template, default_overlay=not views.any)
    if depot:
        planned = depot.attached(planned)
        stack.enter_context(depot.summary())
    views.refuse_bad(planned)
    if not many:
        for job in planned:
            refuse_bad_outputs(job)
    if cameras and not planned[0].outputs and not views.any:
        raise typer.BadParameter("say what to make of it: -o DIR/ or -o FILE.mp4 records, --serve 127.0.0.1:8080 shows")
    if serve and not cameras:
        raise typer.BadParameter("--serve is for cameras; to see a file's overlay as it is made, pass --show")
    if stream is not None and cameras:
        raise typer.BadParameter("--stream is for files")
    if ray is not None and (cameras or views.any):
        raise typer.BadParameter("--ray is for files, and shows nothing while they are made")
    cluster = None if ray is None else ClusterSettings(ray, ray_workers, ray_cpus)
    hide_arguments([*sources, output or ""], token)
    network = Model.load(model, device=device, threads=threads, workers=workers)
    select_classes(network.spec.classes, only=template.classes, exclude=template.exclude)
    is_json = log_format == "json"
    with stop_on_signal() as stop:
        if cameras:
            code = watch_cameras(planned, network, views=views, stop=stop, quiet=quiet, is_json=is_json)
        else:
            at_once = jobs_at_once(network, jobs, len(planned))
            record = None if many or folder is None else folder / f"{results_stem(planned[0].file or Path())}_run.json"
            how = FilesSettings(many, at_once, summary, record, progress, quiet=quiet, as_json=is_json, cluster=cluster)
            code = run_files(planned, network, views, stop, how)
    raise typer.Exit(code)


def _cameras(words: list[str], settings: CameraSettings) -> list[Camera]:
    """The cameras, where the words name any: then all of them must."""
    are_cameras = [not is_remote(word) and is_camera(word, settings) for word in words]
    if any(are_cameras) and not all(are_cameras):
        first_file = words[are_cameras.index(False)]
        raise typer.BadParameter(f"{first_file} is a file and others are cameras; run them apart")
    return [parse_camera(word, settings) for word in words] if all(are_cameras) else []


def _files(
    sources: list[VideoFile], folder: Path | None, summary: Path | None, *, apart: bool
) -> tuple[bool, Path | None]:
    """Whether they are to be run as many, of which each may fail; and where to write down what became of them."""
    many = len(sources) > 1 or not sources[0].named or summary is not None or (apart and folder is not None)
    return many, summary or (folder / SUMMARY_NAME if many and folder else None)


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
        return Text("".join(f"\n  {printable(name)}: {printable(item)}" for name, item in value.items()))
    return Text("unknown" if value is None else printable(value))
