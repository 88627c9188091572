"""`roadmask run`: options in; what they ask for is done in `run_files` and `run_cameras`."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Annotated

import cv2
import typer

from ..batch.footage import Kind
from ..batch.jobs import EarlierChoice, taken_for
from ..batch.remote import is_remote
from ..batch.talk import ProgressKind
from ..camera.camera import Camera, CameraSettings, Policy, Transport, is_camera, parse_camera
from ..decode.opening import MAX_PIXELS
from ..encode.h264 import DEFAULT_CRF, DEFAULT_PRESET
from ..errors import DeviceError
from ..live.stream_sink import StreamFormat
from ..live.views import Views, is_stream
from ..masks.carry import FAST
from ..network.model import Model, bundled_models
from ..network.providers import placement_of
from ..run.settings import ClusterSettings, SegmentSettings
from ..system.talk import LogFormat, hide_arguments, set_up_logs
from . import options as of
from .idle_options import refuse_idle_options
from .options import parse_duration
from .run_files import FilesRequest, run_files

OPTION_GROUPS = {
    "Options": "output overlay masks stats model device classes exclude legend start end fast resume jobs serve "
    "overwrite quiet help",
    "Drawing": "alpha palette style ignore save_ignore blur mapped",
    "What is read": "stride max_frames stream pictures_as deinterlace decode max_pixels",
    "The network": "size batch threads workers smooth reuse every",
    "What is written": "encoder crf preset keep_times no_metadata segment_time keep summary",
    "Many files": "watch settle ray ray_workers ray_cpus",
    "Cameras": "policy timeout max_retries rtsp_transport allow_redirects input_format input_size input_rate "
    "input_pixels",
    "Live view and streams": "token show stdout_format",
    "What is told": "log_format progress",
}

_RAY_ADDRESS = re.compile(r"local|auto|ray://.+|[\w.\-\[\]:]+:\d+")


def as_typer_takes_them(arguments: Sequence[str]) -> list[str]:
    """The arguments, where `--ray` may have no address, and `--legend` no place: options of Typer's always have one."""
    result = []
    for argument, after in zip(arguments, [*arguments[1:], ""], strict=True):
        result.append(argument)
        if argument == "--ray" and not _RAY_ADDRESS.fullmatch(after):
            result.append("")
    return of.with_legend_placed(result)


def run(
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Videos, pictures, folders, patterns or @LIST.txt; or cameras: rtsp://..., 0, /dev/video0; or -",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="FILE.mp4 or .png for the overlay, DIR/ for overlay, masks and statistics; - or a URL streams.",
        ),
    ] = None,
    overlay: Annotated[Path | None, typer.Option(help="Overlay video: .mp4, .mov or .mkv.")] = None,
    masks: Annotated[Path | None, typer.Option(help="Mask archive: a folder, .zip or .mkv (FFV1).")] = None,
    stats: Annotated[Path | None, typer.Option(help="Share of each class, frame by frame: .csv or .parquet.")] = None,
    model: of.ModelFile = None,
    device: of.Device = "auto",
    batch: of.Batch = "auto",  # type: ignore[assignment]
    threads: of.Threads = "auto",  # type: ignore[assignment]
    workers: of.Workers = "auto",  # type: ignore[assignment]
    size: of.Size = "auto",
    alpha: of.Alpha = 0.5,
    classes: of.DrawnClasses = "",
    exclude: of.ClassesNotDrawn = "",
    palette: of.Colors = "clear",  # type: ignore[assignment]
    style: of.DrawnAs = "fill",
    legend: of.Legend = "off",
    ignore: of.Ignoring = None,
    save_ignore: Annotated[
        bool, typer.Option("--save-ignore", help="Keep --ignore, as the default of cameras of these names.")
    ] = False,
    blur: of.Blurred = "",
    mapped: of.Mapped = "",
    start: of.Start = None,
    end: of.End = None,
    stride: of.Stride = 1,
    max_frames: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    smooth: of.Smooth = True,
    reuse: Annotated[
        bool, typer.Option("--reuse/--no-reuse", help="Keep a mask while the picture stays as it is, up to a second.")
    ] = False,
    every: of.Seen = None,
    fast: Annotated[
        bool, typer.Option("--fast", help=f"--every {FAST}, and the model in the box in int8 where that is quicker.")
    ] = False,
    encoder: of.Encoder = "auto",
    crf: of.Crf = DEFAULT_CRF,
    preset: of.X264Preset = DEFAULT_PRESET,
    stream: Annotated[
        str | None,
        of.read(of.stream_or_all, "N|all", "Which video stream of a file, from 0; default: the file's own default."),
    ] = None,
    pictures_as: Annotated[
        Kind, typer.Option("--as", help="What pictures are; auto: numbered ones of one size a video, others pictures.")
    ] = "auto",
    deinterlace: of.Deinterlacing = "auto",
    decode: Annotated[
        str, typer.Option(help="auto, software, cuda, videotoolbox, ...; auto: on the network's own GPU.")
    ] = "auto",
    max_pixels: Annotated[
        int, typer.Option(min=1, max=2**31 - 1, help="Of a picture; larger ones are not decoded, and take no memory.")
    ] = MAX_PIXELS,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier run of this command ended, inside a video, too.")
    ] = False,
    jobs: Annotated[int, of.number_or_auto("Files at a time, on one model.")] = "1",  # type: ignore[assignment]
    summary: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What became of each file, as JSON; of several with -o DIR/: DIR/summary.json."
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Folders: also what comes later, for ever; each file once it is whole.")
    ] = False,
    settle: Annotated[
        float,
        of.read(parse_duration, "TIME", "With --watch: how long a file is still until it is whole."),
    ] = "10s",  # type: ignore[assignment]
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Run files on a Ray cluster: local, auto, HOST:PORT, ray://HOST:PORT; or the one that is there.",
        ),
    ] = None,
    ray_workers: Annotated[int, of.number_or_auto("Videos at a time on the cluster; auto: all its cores.")] = "auto",  # type: ignore[assignment]
    ray_cpus: Annotated[int, typer.Option(min=1, help="Cores of each worker.")] = 1,
    policy: Annotated[
        Policy, typer.Option(help="When the model is slower than a camera; auto: latest, of pipes and HLS every-frame.")
    ] = "auto",
    timeout: Annotated[
        float,
        of.read(of.parse_timeout, "TIME", "Without a frame for so long, a camera counts as lost."),
    ] = "10s",  # type: ignore[assignment]
    max_retries: Annotated[
        int | None, typer.Option(min=0, help="Of a lost camera, in a row; default: any number.")
    ] = None,
    rtsp_transport: Annotated[Transport, typer.Option(help="How RTSP's pictures travel.")] = "tcp",
    allow_redirects: Annotated[
        bool, typer.Option("--allow-redirects", help="A camera may send us on to another host.")
    ] = False,
    input_format: Annotated[
        str | None, of.read(of.input_format, "FORMAT", "FFmpeg's name for it: rawvideo, v4l2, mpegts, ...")
    ] = None,
    input_size: Annotated[str | None, of.read(of.input_size, "WxH", "Of a webcam or raw video.")] = None,
    input_rate: Annotated[
        str | None, of.read(of.input_rate, "FPS", "Of a webcam, raw video, numbered pictures or http:// snapshots.")
    ] = None,
    input_pixels: Annotated[
        str | None, of.read(of.input_pixels, "FORMAT", "Of a webcam or raw video: yuv420p, ...")
    ] = None,
    segment_time: Annotated[
        float | None, of.read(parse_duration, "TIME", "Length of a recording's parts: 10m.")
    ] = None,
    keep: Annotated[float | None, of.read(parse_duration, "TIME", "Delete parts that are older: 48h.")] = None,
    serve: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Live view in a browser: 127.0.0.1:8080")] = None,
    token: Annotated[str | None, typer.Option(help="That the live view asks for.", envvar="ROADMASK_TOKEN")] = None,
    show: Annotated[bool, typer.Option("--show", help="A window; q closes it, and ends the run.")] = False,
    stdout_format: Annotated[
        StreamFormat, typer.Option(help="Of -o -: the overlay as MPEG-TS, or bare pictures.")
    ] = "mpegts",
    log_format: Annotated[LogFormat, typer.Option("--log", help="How to talk on standard error.")] = "text",
    progress: Annotated[
        ProgressKind, typer.Option(help="auto: bars on a terminal; json: a line a second on standard error.")
    ] = "auto",
    overwrite: of.Overwrite = False,
    keep_times: Annotated[
        bool, typer.Option("--keep-times", help="Outputs get the times of their file, not those of the run.")
    ] = False,
    no_metadata: of.NoMetadata = False,
    quiet: of.Quiet = False,
) -> None:
    """Segment videos and cameras: overlay video, masks, statistics, live view.

    \b
    roadmask run drive.mp4                                   drive_overlay.mp4 in this folder
    roadmask run drive.mp4 -o seen.mp4 --legend --alpha 0.4
    roadmask run dashcam/ -o results/                        overlay, masks and statistics of each video
    roadmask run @files.txt -o results/ --resume --jobs 2    what is not done yet of a list, two at a time
    roadmask run dashcam/ -o results/ --watch                also what comes later, until Ctrl-C
    roadmask run drive.mp4 --masks masks.zip --stats shares.csv
    roadmask run photo.jpg -o seen.png                       a picture; or a folder of them
    roadmask run drive.mp4 -o cars.mp4 --classes car,pedestrian --start 1:00 --end 1:30
    roadmask run rtsp://camera/stream --serve 127.0.0.1:8080     watch it in a browser
    roadmask run front=rtsp://10.0.0.5/live rear=0 -o recordings/ --segment-time 10m --keep 48h
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are
    of.refuse_empty_part(start, end)
    template = SegmentSettings(
        source=Path(),
        overlay=overlay,
        masks=masks,
        stats=stats,
        alpha=alpha,
        classes=of.names_of(classes),
        exclude=of.names_of(exclude),
        palette=palette,
        style=style,
        legend=legend,
        blur=of.names_of(blur),
        renamed=of.renamed_of(mapped),
        start=start,
        end=end,
        stride=stride,
        max_frames=max_frames,
        batch=batch or None,
        smooth=smooth,
        reuse=reuse,
        every=every or (FAST if fast else None),
        deinterlace=deinterlace,
        decode=decode,
        max_pixels=max_pixels,
        encoder=encoder,
        crf=crf,
        preset=preset,
        segment_s=segment_time,
        keep_s=keep,
        resume=resume,
        overwrite=overwrite,
        keep_times=keep_times,
        metadata=not no_metadata,
    )
    watching = CameraSettings(
        policy=policy,
        transport=rtsp_transport,
        timeout_s=timeout,
        max_retries=max_retries,
        allow_redirects=allow_redirects,
        input_format=input_format,
        size=input_size,
        rate=input_rate,
        pixel_format=input_pixels,
    )
    set_up_logs(log_format, level=logging.WARNING if quiet else logging.INFO)
    cv2.setNumThreads(1)  # its threads would only be in the way: every stage has one, and the network the cores
    hide_arguments([*sources, output or ""], token)
    cameras = _cameras(sources, watching)
    to_stream = is_stream(output) and not is_remote(output or "")
    views = Views(serve, token, show, output if to_stream else None, stdout_format, timeout)
    place = None if to_stream else output
    kind = taken_for(pictures_as, place, template, is_shown=views.are_enough)
    refuse_idle_options(context, sources, cameras, kind)
    if input_rate and not cameras:
        template = replace(template, picture_rate=Fraction(input_rate))
    if ray is not None and views.any:
        raise typer.BadParameter("--ray is for files, and shows nothing while they are made")
    if watch and (output is None or is_remote(output) or any(map(is_remote, sources))):
        raise typer.BadParameter("--watch is for folders of this machine, and needs another for what it makes: -o DIR/")
    load = partial(_load, model, device, threads, workers, size)
    is_json = log_format == "json"
    if cameras:
        from .run_cameras import CamerasRequest, run_cameras  # and what they are read with, for which no file waits

        request = CamerasRequest(cameras, place, template, ignore or (), save_ignore, quiet=quiet, as_json=is_json)
        raise typer.Exit(run_cameras(request, load, views))
    cluster = None if ray is None else ClusterSettings(ray, ray_workers, ray_cpus)
    files = FilesRequest(
        sources,
        place,
        template,
        ignore or (),
        summary,
        jobs,
        settle if watch else None,
        progress,
        cluster,
        kind=kind,
        stream=stream,  # type: ignore[arg-type] # as its parser gives it
        quiet=quiet,
        as_json=is_json,
    )
    raise typer.Exit(run_files(files, load, views))


def _load(
    model: Path | None, device: str, threads: int, workers: int, size: str, earlier: EarlierChoice | None
) -> Model:
    """What is left open is as an earlier call has chosen it, if that is still there; its results go together."""
    if earlier and model is None and earlier.model in bundled_models():
        model = bundled_models()[earlier.model]
    if earlier and device.lower() == "auto":
        with suppress(DeviceError):
            placement_of(earlier.device)
            device = earlier.device
    return Model.load(model, device=device, threads=threads, workers=workers, size=size)


def _cameras(words: list[str], settings: CameraSettings) -> list[Camera]:
    """The cameras, where the words name any: then all of them must."""
    are_cameras = [not is_remote(word) and is_camera(word, settings) for word in words]
    if any(are_cameras) and not all(are_cameras):
        first_file = words[are_cameras.index(False)]
        if not Path(first_file).exists() and not is_remote(first_file):
            shown = first_file.rpartition("@")[2]  # what is before it may be the rest of a password
            raise typer.BadParameter(f"{shown} is no camera, and no file; an address with a blank in it needs quotes")
        raise typer.BadParameter(f"{first_file} is a file and others are cameras; run them apart")
    return [parse_camera(word, settings) for word in words] if all(are_cameras) else []
