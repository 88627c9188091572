"""What programs ask of the cameras: whether all is well, and their numbers for Prometheus.

A camera is well while frames arrive from it and come out of the run. One that is still connecting is not, so a service
counts as healthy only once every camera has been seen; neither is one that has ended, for a live view is of cameras
that go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ..camera.status import CameraState
from ..spec import PixelClass
from .feed import CameraFeed

_STUCK_S = 30.0  # a run that takes in frames and gives none for so long is stuck
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


class CameraCollector(Collector):
    """Reads the numbers whenever it is asked, so nothing is counted twice."""

    def __init__(self, feeds: Sequence[CameraFeed], classes: Sequence[PixelClass]) -> None:
        self._feeds = feeds
        self._classes = classes

    def collect(self) -> Iterator[Metric]:
        feeds = tuple(self._feeds)
        numbers = [feed.status.numbers() for feed in feeds]
        for name, meaning in _COUNTERS.items():
            counter = CounterMetricFamily(f"roadmask_frames_{name}", meaning, labels=["camera"])
            for camera in numbers:
                counter.add_metric([camera.name], getattr(camera, name))
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
        for camera in numbers:
            reconnects.add_metric([camera.name], camera.reconnects)
            for possible in CameraState:
                state.add_metric([camera.name, possible], camera.state == possible)
            fps.add_metric([camera.name], camera.fps)
            if camera.latency_s is not None:
                latency.add_metric([camera.name], camera.latency_s)
        yield from (reconnects, state, fps, latency, self._shares(feeds))

    def _shares(self, feeds: Sequence[CameraFeed]) -> Metric:
        shares = GaugeMetricFamily(
            "roadmask_class_share", "Share of the picture that a class covers, 0 to 1.", labels=["camera", "class"]
        )
        for feed in feeds:
            for sample in feed.history()[-1:]:
                for item, share in zip(self._classes, sample.shares, strict=True):
                    shares.add_metric([feed.name, item.name], share)
        return shares


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The metrics and their content type, in the format that the `Accept` header asks for."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
