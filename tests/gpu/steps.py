"""What `check.py` measures, a function each: it is called in a process of its own, and gives rows for the table.

A row says what it is about in `what`; all other entries are numbers, or words, that the JSON keeps as they are.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnxruntime
from card import processor, smi, versions, watched
from numpy.typing import NDArray

from roadmask.stream.bench.clip import draw_drive
from roadmask.stream.decode.hardware_decode import decoder_for
from roadmask.stream.decode.source import open_source
from roadmask.stream.encode.h264 import Encoding, choose_encoder
from roadmask.stream.network.libraries import load_cuda, load_tensorrt
from roadmask.stream.network.model import Model, find_model
from roadmask.stream.network.providers import Work, placement_of, provider_options, rest_options
from roadmask.stream.run.segment import process_video, segment_video
from roadmask.stream.run.settings import SegmentSettings
from roadmask.stream.run.stages import network_size
from roadmask.stream.system.machine import forget_peak, peak_memory_mb, usable_cores

Row = dict[str, Any]
Pictures = NDArray[np.uint8]
Scores = NDArray[np.float32]

_DRAWN = 48  # frames that are drawn; a longer clip shows them forwards and backwards, so that it has no cut
_WARM_UP = 32  # frames, before a run that counts


@dataclass(frozen=True, slots=True)
class Job:
    """What all steps share."""

    device: str  # as roadmask calls it
    folder: Path  # for clips, models and what runs write
    model: str  # a file, or the name of a model in the box
    frames: int  # of a clip, in a run
    compared: int  # frames that are compared with the CPU's
    batches: tuple[int, ...]
    seconds: float  # that a call of the bare model is repeated for
    repeats: int  # of a run; the median counts


# What the machine is, and what the others need.


def facts(job: Job) -> list[Row]:
    with watched() as gpu:
        started = time.perf_counter()
        model = Model.load(job.model, device=job.device)
        opened = time.perf_counter()
        picture = np.zeros((model.default_batch, *model.spec.input_size(1080, 1920), 3), np.uint8)
        model.scores(picture)
        first = time.perf_counter()
        model.scores(picture)
        second = time.perf_counter() - first
    encoder = choose_encoder((1080, 1920), Encoding(device=job.device)).name
    return [
        {
            "what": "machine",
            "GPU": smi("name,memory.total,driver_version"),
            "processor": processor(),
            "cores": usable_cores(),
            "versions": versions(),
            "providers": onnxruntime.get_available_providers(),
            "encoder": encoder,
            "GPU MB": gpu.memory_mb,
        },
        {
            "what": f"{model.path.stem} starts on {model.device}",
            "opened, s": round(opened - started, 2),
            "first batch, s": round(first - opened, 2),
            "next, s": round(second, 3),
        },
    ]


def drawn_clip(job: Job, height: int, width: int) -> list[Row]:
    """A street that moves, as long as a run is to be."""
    short, clip = job.folder / f"short{height}.mp4", clip_path(job, height)
    draw_drive(short, height=height, width=width, frames=min(_DRAWN, job.frames))
    with av.open(str(short)) as source:
        pictures = list(source.decode(video=0))
    there_and_back = [*range(len(pictures)), *range(len(pictures) - 2, 0, -1)]
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(30), width=width, height=height)
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "20", "preset": "superfast"}
        for number in range(job.frames):
            picture = pictures[there_and_back[number % len(there_and_back)]]
            picture.pts, picture.pict_type = number, 0
            picture.time_base = Fraction(1, 30)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return [{"what": f"drew {width}x{height}, {job.frames} frames", "MB": round(clip.stat().st_size / 1e6, 1)}]


def clip_path(job: Job, height: int) -> Path:
    return job.folder / f"drive{height}.mp4"


def fp16_model(job: Job) -> list[Row]:
    """The fp16 twin, as `roadmask export --fp16` makes it."""
    from roadmask.export.half import halve_model

    report = halve_model(find_model(job.model), fp16_path(job), overwrite=True)
    return [{"what": "fp16 twin made", "labels as in float32, on the CPU, drawn pictures": report.equal_labels}]


def fp16_path(job: Job) -> Path:
    return job.folder / "fp16.onnx"


# Whether the device says what the CPU says.


def agreement(job: Job, model: str, clip: Path) -> list[Row]:
    """Masks of a run, and labels on the network's own grid, beside those of the float32 model on the CPU."""
    other = Model.load(model, device=job.device)
    reference = Model.load(job.model, device="cpu", size=other.spec.size)  # a GPU's is larger, where nobody says
    equal = [
        float((ours.mask == theirs.mask).mean())
        for ours, theirs in zip(
            segment_video(clip, model=other, max_frames=job.compared),
            segment_video(clip, model=reference, max_frames=job.compared),
            strict=True,
        )
    ]
    row: Row = {"what": f"masks of {other.path.stem}, {clip.stem}, as the CPU's", "frames": len(equal)}
    row |= {"equal": statistics.fmean(equal), "equal in the worst frame": min(equal)}
    pictures = _inputs(clip, reference, min(job.compared, 16))
    theirs = np.concatenate([reference.scores(pictures[begin : begin + 1]) for begin in range(len(pictures))])
    return [row | _differences(theirs, other.scores(pictures))]


def _differences(theirs: Scores, ours: Scores) -> Row:
    """On the grid: how often labels differ, and by how much the CPU's best score led its second where they do."""
    best = np.partition(theirs, -2, axis=1)
    lead = best[:, -1] - best[:, -2]
    differs = theirs.argmax(axis=1) != ours.argmax(axis=1)
    leads = lead[differs] if differs.any() else np.zeros(1, np.float32)
    return {
        "equal on the grid": float(1 - differs.mean()),
        "largest difference of scores": float(np.abs(theirs - ours).max()),
        "lead where they differ, median": float(np.median(leads)),
        "lead where they differ, largest": float(leads.max()),
        "lead everywhere, median": float(np.median(lead)),
    }


# How fast.


def bare(job: Job, model: str, clip: Path) -> list[Row]:
    """The model alone, for each batch: called with arrays, as runs do, and bound to the device's own memory."""
    loaded, session = Model.load(model, device=job.device), _session(model, job.device, None)
    rows = []
    for batch in job.batches:
        pictures = _inputs(clip, loaded, batch)
        called = _call_s(lambda pictures=pictures: loaded.scores(pictures), job.seconds)
        side_by_side = _side_by_side_s(lambda pictures=pictures: loaded.scores(pictures), loaded.workers, job.seconds)
        row: Row = {"what": f"bare {loaded.path.stem}, batch {batch}", "frames/s": batch / called}
        row |= {"frames/s, side by side": batch / side_by_side}
        rows.append(row | {"frames/s, bound": batch / _call_s(_Bound(session, job.device, pictures), job.seconds)})
    return rows


def variants(job: Job, clip: Path) -> list[Row]:
    """What other options of the provider would give, at the batch that runs take, and whether labels stay."""
    loaded, reference = Model.load(job.model, device=job.device), Model.load(job.model, device="cpu")
    pictures = _inputs(clip, loaded, loaded.default_batch)
    theirs = reference.scores(pictures)
    ours = provider_options(placement_of(job.device), Work(None, threads=usable_cores()))
    cases: dict[str, dict[str, Any]] = {"as runs do": ours, "as ONNX Runtime comes": {}}
    if job.device == "cuda":
        cases |= {
            "channels last": ours | {"prefer_nhwc": "1"},
            "channels last, exhaustive search": {"prefer_nhwc": "1"},
            "without TF32": ours | {"use_tf32": "0"},
            "biases fused": ours | {"fuse_conv_bias": "1"},
            "CUDA graph": ours | {"enable_cuda_graph": "1"},
        }
    rows: list[Row] = []
    for name, options in cases.items():
        try:
            session = _session(job.model, job.device, options)
            call = _Bound(session, job.device, pictures)
            row: Row = {"what": f"options: {name}", "frames/s, bound": len(pictures) / _call_s(call, job.seconds)}
            rows.append(row | _differences(theirs, call.scores()))
        except Exception as exc:  # noqa: BLE001 - what one option breaks says nothing of the next
            rows.append({"what": f"options: {name}", "failed": brief(exc)})
    return [*rows, _places(job, pictures)]


def _places(job: Job, pictures: Pictures) -> Row:
    """Which of the graph's operations the device does not take, by ONNX Runtime's own profile."""
    session = _session(job.model, job.device, None, profile=job.folder / "profile")
    _Bound(session, job.device, pictures)
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes = [event["args"] for event in events if event.get("cat") == "Node" and "provider" in event.get("args", {})]
    by_provider: dict[str, list[str]] = {}
    for node in nodes:
        by_provider.setdefault(node["provider"], []).append(node["op_name"])
    return {
        "what": "operations by provider",
        **{name: len(operations) for name, operations in by_provider.items()},
        "on the CPU": sorted(set(by_provider.get("CPUExecutionProvider", []))),
    }


def decoding(job: Job, clip: Path) -> list[Row]:
    """Frames decoded and scaled for the network, in software and by the GPU, and whether they are the same."""
    model = Model.load(job.model, device="cpu")
    rows: list[Row] = []
    pictures: dict[str, list[bytes]] = {}
    for choice in ("software", "cuda"):
        try:
            row = _measured(lambda count, choice=choice: (_decoded(clip, choice, model, count), {}), job)
            pictures[choice] = [frame.input.tobytes() for frame in _frames(clip, choice, model, 16)]
            rows.append({"what": f"decode {clip.stem}: {choice}"} | row)
        except Exception as exc:  # noqa: BLE001 - told as what was found
            rows.append({"what": f"decode {clip.stem}: {choice}", "failed": brief(exc)})
    if len(pictures) > 1:
        rows[-1]["pictures as from software"] = pictures["software"] == pictures["cuda"]
    return rows


def runs(job: Job, model: str, clip: Path, decode: str = "auto") -> list[Row]:
    """What `roadmask run` takes, for each kind of output."""
    loaded = Model.load(model, device=job.device)
    rows = []
    for kind, name in (("stats", "run.csv"), ("masks", "run.mkv"), ("overlay", "run.mp4")):
        settings = SegmentSettings(clip, **{kind: job.folder / name}, decode=decode, overwrite=True)

        def run(count: int, settings: SegmentSettings = settings) -> tuple[int, dict[str, float]]:
            report = process_video(replace(settings, max_frames=count), loaded)
            return report.frames, report.processor_s

        what = f"run {loaded.path.stem}, {clip.stem}: {kind}" + (f", decode {decode}" if decode != "auto" else "")
        rows.append({"what": what} | _measured(run, job))
    return rows


def together(job: Job, clip: Path, counts: Sequence[int]) -> list[Row]:
    """Several files at once on one model, as `run --jobs` does it: what the whole machine gives."""
    loaded = Model.load(job.model, device=job.device)
    rows = []
    for kind, suffix in (("masks", ".mkv"), ("overlay", ".mp4")):
        for count in counts:
            targets = [job.folder / f"together{number}{suffix}" for number in range(count)]

            def run(length: int, targets: list[Path] = targets, kind: str = kind) -> tuple[int, dict[str, float]]:
                settings = [
                    SegmentSettings(clip, **{kind: target}, max_frames=length, overwrite=True) for target in targets
                ]
                with loaded.shared(len(targets), together=False) as shared, ThreadPoolExecutor(len(targets)) as pool:
                    reports = list(pool.map(lambda each: process_video(each, shared), settings))
                return sum(report.frames for report in reports), {}

            row = _measured(run, replace(job, repeats=1))
            rows.append({"what": f"{count} files at once, {clip.stem}: {kind}"} | row)
    return rows


def _measured(run: Callable[[int], tuple[int, dict[str, float]]], job: Job) -> Row:
    """Medians of a case, which is told how many frames to do, and gives how many it did and the stages' seconds."""
    run(min(job.frames, _WARM_UP))
    rates, spent, stages = [], [], {}
    forget_peak()
    with watched() as gpu:
        for _ in range(job.repeats):
            started, processor = time.perf_counter(), time.process_time()
            frames, stages = run(job.frames)
            rates.append(frames / (time.perf_counter() - started))
            spent.append(1000 * (time.process_time() - processor) / frames)
    row: Row = {"frames/s": statistics.median(rates), "from": min(rates), "to": max(rates)}
    row |= {"ms of a core a frame": statistics.median(spent)}
    row |= {f"ms, {name}": 1000 * seconds / frames for name, seconds in stages.items()}
    return row | {"GPU busy, %": gpu.busy, "GPU MB": gpu.memory_mb, "MB": peak_memory_mb()}


# Parts of the above.


def _inputs(clip: Path, model: Model, count: int) -> Pictures:
    """(count, h, w, 3), from as many frames as there are, again and again."""
    frames = [frame.input for frame in _frames(clip, "software", model, min(count, 16))]
    return np.stack([frames[number % len(frames)] for number in range(count)])


def _frames(clip: Path, decode: str, model: Model, count: int) -> Iterator[Any]:
    with open_source(clip, hardware=decoder_for(decode, "cuda")) as source:
        yield from islice(source.frames(partial(network_size, model)), count)


def _decoded(clip: Path, decode: str, model: Model, count: int) -> int:
    return sum(1 for _ in _frames(clip, decode, model, count))


def _session(
    model: str, device: str, options: dict[str, Any] | None, *, profile: Path | None = None
) -> onnxruntime.InferenceSession:
    """As runs open it, or with other options of the provider."""
    placement, settings = placement_of(device), onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = usable_cores()
    if profile:
        settings.enable_profiling, settings.profile_file_prefix = True, str(profile)
    if device.startswith(("cuda", "tensorrt")):
        _ = load_tensorrt() if device.startswith("tensorrt") else load_cuda()
    if options is None:
        options = provider_options(placement, Work(None, threads=usable_cores()))
    providers = [(placement.device.provider, options)]
    providers += [(provider, rest_options(placement)) for provider in placement.device.rest]
    path = str(find_model(model))
    session = onnxruntime.InferenceSession(path, settings, providers=providers, enable_fallback=False)
    if session.get_providers()[0] != placement.device.provider:
        raise RuntimeError(f"{placement.device.provider} did not start")
    return session


class _Bound:
    """A call of which neither pictures nor scores leave the device."""

    def __init__(self, session: onnxruntime.InferenceSession, device: str, pictures: Pictures) -> None:
        kind = "cuda" if device.startswith(("cuda", "tensorrt")) else "cpu"
        (source,), (result,) = session.get_inputs(), session.get_outputs()
        self._session, self._binding = session, session.io_binding()
        self._pictures = onnxruntime.OrtValue.ortvalue_from_numpy(pictures, kind, 0)
        self._binding.bind_ortvalue_input(source.name, self._pictures)
        self._binding.bind_output(result.name, kind)
        session.run_with_iobinding(self._binding)
        # A CUDA graph writes to one place: that of the first call, whose shape is known then.
        self._scores = self._binding.get_outputs()[0]
        self._binding.bind_ortvalue_output(result.name, self._scores)

    def __call__(self) -> None:
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()

    def scores(self) -> Scores:
        """Of the last call."""
        return np.asarray(self._scores.numpy(), np.float32)


def _call_s(call: Callable[[], object], seconds: float) -> float:
    """Median of as many calls as fit, after three that warm up."""
    for _ in range(3):
        call()
    took: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(took) < 3:
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def _side_by_side_s(call: Callable[[], object], workers: int, seconds: float) -> float:
    """Of one call, where several threads make them."""
    end, done = time.perf_counter() + seconds, [0] * workers

    def work(number: int) -> None:
        while time.perf_counter() < end or not done[number]:
            call()
            done[number] += 1

    started = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))
    return (time.perf_counter() - started) / sum(done)


def brief(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {str(exc).strip().partition(chr(10))[0][:300]}"
