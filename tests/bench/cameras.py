"""Cameras for hours in minutes: python tests/bench/cameras.py [kills|hangs|latency|overload|shares]... [--minutes 10].

Numbered frames from an RTSP server in a process of its own, watched as `roadmask run` watches them, without outputs:

kills     the server is killed and comes back: how soon frames come again; what is left of threads, descriptors, memory
hangs     the server hangs at a step of the handshake or in mid-stream: how soon that is noticed, and Ctrl-C answered
latency   a source that the model keeps up with: latency from sent and from arrived until written, frames dropped
overload  a source at twice the model's speed: latency and memory over time, and whether every frame is accounted for
shares    four cameras that want four times what the model gives
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / ".package"))

from roadmask.stream.camera.camera import CameraSettings, parse_camera
from roadmask.stream.camera.status import CameraEvent, CameraState, CameraStatus
from roadmask.stream.frames import SegmentedFrame, Sink
from roadmask.stream.live.cameras import CameraRun, watch
from roadmask.stream.network.model import Model
from roadmask.stream.run.settings import SegmentSettings
from tests.support.color_model import write_color_model
from tests.support.numbered_camera import read_number
from tests.support.rtsp_faults import STEPS
from tests.support.server_process import ServerProcess
from tests.support.slow_network import slowed
from tests.support.waiting import until

_LONG_S = 60.0  # for anything


class Written(Sink):
    """A sink that notes when each frame came."""

    def __init__(self) -> None:
        self.frames: list[tuple[int | None, float, float]] = []  # number, when it arrived, when it was written

    def write(self, result: SegmentedFrame) -> None:
        assert result.frame.arrived is not None
        self.frames.append((read_number(result.frame.picture), result.frame.arrived, time.monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


class Watched:
    """A camera that is watched, and what it says."""

    def __init__(self, url: str, name: str, settings: CameraSettings) -> None:
        self.written = Written()
        self.events: list[tuple[float, CameraEvent]] = []
        self.status = CameraStatus(name, lambda event: self.events.append((time.monotonic(), event)))
        camera = parse_camera(f"{name}={url}", settings)
        self.run = CameraRun(SegmentSettings(camera), self.status, also=(self.written,))

    def wait_until(self, *states: CameraState, since: float) -> float:
        """When it first was in one of them after `since`."""
        until(lambda: any(event.state in states and at > since for at, event in self.events), _LONG_S)
        return next(at for at, event in self.events if event.state in states and at > since)

    def wait_frames(self, count: int) -> None:
        """Until so many more are written."""
        wanted = len(self.written.frames) + count
        until(lambda: len(self.written.frames) >= wanted, _LONG_S)


@contextmanager
def watching(model: Model, *cameras: Watched) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=lambda: watch([camera.run for camera in cameras], model, stop=stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_LONG_S)


def kills(model: Model, folder: Path, options: argparse.Namespace) -> None:
    with ServerProcess(folder / "sent", "rate=25") as server:
        gate = Watched(server.url, "gate", CameraSettings(timeout_s=options.timeout))
        with watching(model, gate):
            gate.wait_frames(25)
            before, back_s, start_s = _left_over(), [], 1.0
            for _ in range(options.kills):
                server.kill()
                time.sleep(max(0.0, options.down - start_s))
                starting = time.monotonic()
                server.start()
                returned = time.monotonic()
                start_s = returned - starting  # it is away meanwhile, too
                back_s.append(gate.wait_until(CameraState.RUNNING, since=returned) - returned)
                gate.wait_frames(25)
                if len(back_s) == 1:
                    memory = _resident_mb()
            after = _left_over()
    print(
        f"kills: {options.kills} of {options.down:g} s; back after {statistics.median(back_s):.1f} s, "
        f"at most {max(back_s):.1f}; threads and descriptors {before} -> {after}; "
        f"memory {memory:.1f} MB after the first, {_resident_mb():.1f} after the last"
    )


def _left_over() -> tuple[int, int]:
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


def _resident_mb() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def hangs(model: Model, folder: Path, options: argparse.Namespace) -> None:
    for place in (*STEPS, "mid-stream"):
        with ServerProcess(
            folder / f"sent-{place}", *(() if place == "mid-stream" else (f"hang_at={place}",))
        ) as server:
            noticed_s = _until_noticed(model, server, place, options)
            ended_s, code = _until_interrupted(server, folder, options)
        print(f"hangs: {place:10} noticed after {noticed_s:.1f} s, Ctrl-C answered after {ended_s:.1f} s with {code}")


def _until_noticed(model: Model, server: ServerProcess, place: str, options: argparse.Namespace) -> float:
    gate = Watched(server.url, "gate", CameraSettings(timeout_s=options.timeout))
    started = time.monotonic()
    with watching(model, gate):
        if place == "mid-stream":
            gate.wait_frames(10)
            started = gate.written.frames[-1][1]
            server.set("stalled=all")
        return gate.wait_until(CameraState.STALLED, CameraState.RECONNECTING, since=started) - started


def _until_interrupted(server: ServerProcess, folder: Path, options: argparse.Namespace) -> tuple[float, int]:
    """The command, while the server hangs."""
    command = [sys.executable, "-m", "roadmask", "run", f"gate={server.url}", "-o", str(folder / "out.mkv")]
    command += ["--timeout", str(options.timeout)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if "connecting" in line:
                break
        time.sleep(1)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=_LONG_S)
    return time.monotonic() - started, process.returncode


def latency(model: Model, folder: Path, options: argparse.Namespace) -> None:
    with ServerProcess(folder / "sent", f"rate={options.rate}") as server:
        gate = Watched(server.url, "gate", CameraSettings(timeout_s=options.timeout))
        with watching(model, gate):
            gate.wait_frames(options.rate)
            at_start = gate.status.numbers().dropped
            time.sleep(60 * options.minutes)
        sent_at = dict(server.sent_at)
    frames = gate.written.frames[options.rate :]
    from_sent = [written - sent_at[number] for number, _, written in frames if number in sent_at]
    from_arrived = [written - arrived for _, arrived, written in frames]
    print(
        f"latency: {len(frames)} frames at {options.rate} fps; from sent {_spread(from_sent)}, from arrived "
        f"{_spread(from_arrived)}; dropped {at_start} of the first second, "
        f"{gate.status.numbers().dropped - at_start} later"
    )


def _spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"{1000 * statistics.median(ordered):.0f} ms (99 %: {1000 * ordered[len(ordered) * 99 // 100]:.0f})"


def overload(model: Model, folder: Path, options: argparse.Namespace) -> None:
    slow = slowed(model, 1 / options.rate)
    with ServerProcess(folder / "sent", f"rate={2 * options.rate}") as server:
        gate = Watched(server.url, "gate", CameraSettings(timeout_s=options.timeout))
        memory = []
        with watching(slow, gate):
            gate.wait_frames(options.rate)
            started = time.monotonic()
            while time.monotonic() - started < 60 * options.minutes:
                memory.append(_resident_mb())
                time.sleep(options.minutes)
            server.set("do=refuse")
            server.set("do=say_goodbye")
            until(lambda: gate.status.state is CameraState.RECONNECTING, _LONG_S)
        sent = len(server.sent)
    numbers = gate.status.numbers()
    tenth = len(gate.written.frames) // 10
    first, last = (
        [written - arrived for _, arrived, written in frames]
        for frames in (gate.written.frames[tenth : 2 * tenth], gate.written.frames[-tenth:])
    )
    print(
        f"overload: sent {sent}, written {numbers.written} + dropped {numbers.dropped} = "
        f"{numbers.written + numbers.dropped}; latency {_spread(first)} in the second tenth, {_spread(last)} in the "
        f"last; memory {memory[0]:.1f} MB at first, {memory[-1]:.1f} at last, {max(memory):.1f} at most"
    )


def shares(model: Model, folder: Path, options: argparse.Namespace) -> None:
    slow = slowed(model, 1 / options.rate)
    with ExitStack() as stack:
        cameras = []
        for number in range(4):
            server = stack.enter_context(ServerProcess(folder / f"sent{number}", f"rate={options.rate}"))
            cameras.append(Watched(server.url, f"camera{number}", CameraSettings(timeout_s=options.timeout)))
        stack.enter_context(watching(slow, *cameras))
        until(lambda: all(camera.written.frames for camera in cameras), _LONG_S)
        first = [len(camera.written.frames) for camera in cameras]
        time.sleep(60 * options.minutes)
        got = [len(camera.written.frames) - start for camera, start in zip(cameras, first, strict=True)]
    mean = statistics.mean(got)
    print(f"shares: {got} frames, from {min(got) / mean:.2f} to {max(got) / mean:.2f} of the mean")


_PARTS: dict[str, Callable[[Model, Path, argparse.Namespace], None]] = {
    "kills": kills,
    "hangs": hangs,
    "latency": latency,
    "overload": overload,
    "shares": shares,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(_PARTS), metavar="PART")
    parser.add_argument(
        "--model", help="of roadmask; by default one that is quick, as cameras are measured, not models"
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--down", type=float, default=5, help="seconds that a killed server is away")
    parser.add_argument("--minutes", type=float, default=10, help="of latency, overload and shares")
    parser.add_argument("--rate", type=int, default=25, help="frames a second that the model keeps up with")
    parser.add_argument("--timeout", type=float, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = Model.load(options.model or write_color_model(folder / "colors.onnx"))
        for part in options.parts:
            (folder / part).mkdir()
            _PARTS[part](model, folder / part, options)


if __name__ == "__main__":
    main()
