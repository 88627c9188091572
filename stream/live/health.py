"""What programs ask of the cameras, or of a run of files: whether all is well, and their numbers for Prometheus.

A camera is well while frames arrive from it and come out of the run. One that is still connecting is not, so a service
counts as healthy only once every camera has been seen; neither is one that has ended, for a live view is of cameras
that go on. A run of files is well while its folders can be looked into and what it is at comes on: a file that fails is
the file's fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ..camera.status import CameraState
from .feed import CameraFeed, OnView, RunFacts

_STUCK_S = 30.0  # a run that takes in frames and gives none for so long is stuck
_STILL_S = 120.0  # likewise a file, whose beginning may have to be looked for
_COUNTERS = {
    "received": "Frames decoded.",
    "written": "Frames segmented and given to every output.",
    "dropped": "Frames discarded to keep up.",
    "undecodable": "Damaged pictures that gave no frame.",
    "damaged": "Frames received that the decoder calls damaged.",
}


def health(feeds: Sequence[CameraFeed]) -> tuple[bool, dict[str, object]]:
    """Whether every camera is well, and what to say of each."""
    cameras = {feed.name: _camera(feed) for feed in feeds}
    is_well = bool(cameras) and all(camera["well"] for camera in cameras.values())
    return is_well, {"status": "ok" if is_well else "failing", "cameras": cameras}


def _camera(feed: CameraFeed) -> dict[str, object]:
    numbers = feed.status.numbers()
    reason, is_well = numbers.reason, numbers.state == CameraState.RUNNING
    if is_well and numbers.unwritten_s > _STUCK_S:
        is_well, reason = False, f"frames arrive, but none has come out of the run for {numbers.unwritten_s:.0f} s"
    return {"well": is_well, "state": numbers.state, "reason": reason, "since": numbers.since}


def run_health(run: Mapping[str, Any]) -> tuple[bool, dict[str, object]]:
    """Whether a run of files is well, and what to say of it."""
    problems = [f"{item['folder']}: {item['problem']}" for item in run["folders"] if item["problem"]]
    problems += [
        f"{item['name']}: no frame for {item['still_s']:.0f} s" for item in run["running"] if item["still_s"] > _STILL_S
    ]
    told = {name: run[name] for name in ("waiting", "done", "partial", "failed", "running", "folders")}
    return not problems, {"status": "failing" if problems else "ok", "problems": problems, **told}


class RunCollector(Collector):
    """As `CameraCollector`, of a run of files, whose names would be too many."""

    def __init__(self, run: RunFacts) -> None:
        self._run = run

    def collect(self) -> Iterator[Metric]:
        run = self._run()
        ended = CounterMetricFamily("roadmask_files", "Files that have had their turn.", labels=["state"])
        for state in ("done", "partial", "interrupted", "failed", "done_before"):
            ended.add_metric([state], run[state])
        yield ended
        yield CounterMetricFamily("roadmask_frames_written", _COUNTERS["written"], value=run["frames"])
        for name, meaning, value in (
            ("files_waiting", "Files that wait for their turn.", run["waiting"]),
            ("files_running", "Files at work.", len(run["running"])),
            (
                "folders_lost",
                "Watched folders that cannot be looked into.",
                sum(bool(item["problem"]) for item in run["folders"]),
            ),
            ("fps", "Frames written a second, over the last minute.", run["fps"] or 0),
        ):
            yield GaugeMetricFamily(f"roadmask_{name}", meaning, value=value)


class CameraCollector(Collector):
    """Reads the numbers whenever it is asked, so nothing is counted twice."""

    def __init__(self, view: OnView) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        feeds = tuple(self._view.feeds)
        numbers = [feed.status.numbers() for feed in feeds]
        for name, meaning in _COUNTERS.items():
            counter = CounterMetricFamily(f"roadmask_frames_{name}", meaning, labels=["camera"])
            for one in numbers:
                counter.add_metric([one.camera], getattr(one, name))
            yield counter
        reconnects = CounterMetricFamily(
            "roadmask_reconnects", "Times that frames came again after the camera was lost.", labels=["camera"]
        )
        state = GaugeMetricFamily(
            "roadmask_camera_state",
            "1 for the state that the camera is in, 0 for the others.",
            labels=["camera", "state"],
        )
        fps = GaugeMetricFamily("roadmask_fps", "Frames written a second, over the last seconds.", labels=["camera"])
        latency = GaugeMetricFamily(
            "roadmask_latency_seconds", "From a frame's arrival until it was written, median.", labels=["camera"]
        )
        for one in numbers:
            reconnects.add_metric([one.camera], one.reconnects)
            for possible in CameraState:
                state.add_metric([one.camera, possible], one.state == possible)
            fps.add_metric([one.camera], one.fps)
            if one.latency_s is not None:
                latency.add_metric([one.camera], one.latency_s)
        yield from (reconnects, state, fps, latency, self._shares(feeds))

    def _shares(self, feeds: Sequence[CameraFeed]) -> Metric:
        shares = GaugeMetricFamily(
            "roadmask_class_share", "Share of the picture that a class covers, 0 to 1.", labels=["camera", "class"]
        )
        for feed in feeds:
            for sample in feed.history()[-1:]:
                for item, share in zip(self._view.classes, sample.shares, strict=True):
                    shares.add_metric([feed.name, item.name], share)
        return shares


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The metrics and their content type, in the format that the `Accept` header asks for."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
