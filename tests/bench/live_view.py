"""What the live view costs a run, and how soon its page shows a picture: python tests/bench/live_view.py CLIP.

The cost is the processor time of the whole process for a frame, network and all, without the view, with the view and
nobody watching, and with viewers (in a process of their own), in turn and several times over; medians. The page is
opened in a headless Chromium, where there is one; its times are of the clock, so they want a quiet machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import selectors
import shlex
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
from selenium import webdriver

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / ".package"))

from roadmask.stream.camera.status import CameraState, CameraStatus
from roadmask.stream.frames import SegmentedFrame
from roadmask.stream.live.feed import CameraFeed
from roadmask.stream.live.live_view import Address, LiveView
from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import segment_video
from tests.support.browser import IS_MISSING, browsing, on_laptop_and_phone
from tests.support.server_process import a_free_port

ANYWHERE = Address("127.0.0.1", 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--pages", type=int, default=5)
    parser.add_argument("--picture", type=Path, help="take one of the page instead, as .assets/live.jpg")
    parser.add_argument("--minutes", type=float, default=4, help="until then")
    options = parser.parse_args()
    if options.picture:
        take_picture(options.clip, options.picture, options.minutes)
        return
    model = Model.load(None)
    cases = {"no view": None, "nobody watches": 0, "1 viewer": 1, f"{options.viewers} viewers": options.viewers}
    costs: dict[str, list[float]] = {name: [] for name in cases}
    shown: dict[str, list[float]] = {name: [] for name in cases}
    for repeat in range(options.repeats + 1):  # the first warms up
        for name, viewers in cases.items():
            cost_s, made = cost(options.clip, model, options.frames, viewers)
            if repeat:
                costs[name].append(cost_s)
                shown[name].append(made)
    base = statistics.median(costs["no view"])
    for name, values in costs.items():
        median = statistics.median(values)
        made = statistics.median(shown[name])
        print(f"{name:<16}{median * 1e3:7.1f} ms a frame {median / base:6.3f}  {made:4.0%} of the frames encoded")
    print(f"write: {write_cost_s(options.clip, model) * 1e6:.1f} us on the run's thread")
    if not IS_MISSING and options.pages:
        times = first_pictures_s(options.clip, model, options.pages)
        print(f"page to picture: {statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})")


def cost(clip: Path, model: Model, frames: int, viewers: int | None) -> tuple[float, float]:
    """Processor seconds a frame, and the share of the frames that were encoded."""
    with ExitStack() as stack:
        feed = None
        if viewers is not None:
            view, feed = stack.enter_context(watched())
            if viewers:
                stack.enter_context(watching(view, viewers))
        results = segment_video(clip, model=model, max_frames=frames)
        first = next(results)  # loading and warming up are not counted
        if feed:
            feed.write(first)
        started = time.process_time()
        count = 0
        for result in results:
            if feed:
                feed.write(result)
            count += 1
        return (time.process_time() - started) / count, (feed.pictures.made[0] / (count + 1) if feed else 0.0)


def write_cost_s(clip: Path, model: Model) -> float:
    """What `write` takes while somebody watches."""
    result = next(segment_video(clip, model=model, max_frames=1))
    with watched() as (view, feed), watching(view, 1):
        times = []
        for _ in range(200):
            started = time.thread_time()
            feed.write(result)
            times.append(time.thread_time() - started)
        return statistics.median(times)


@contextmanager
def watched() -> Iterator[tuple[LiveView, CameraFeed]]:
    with LiveView(ANYWHERE, Model.load(None).spec.classes) as view:
        feed = view.add(CameraStatus("clip", on_event=view.tell))
        feed.status.change(CameraState.RUNNING)
        yield view, feed


@contextmanager
def watching(view: LiveView, count: int) -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(target=_watch, args=(_port(view), count), daemon=True)
    process.start()
    # As many ask for pictures and for events as are watching.
    while len(view._server._server.server_state.connections) < 2 * count:
        time.sleep(0.01)
    try:
        yield
    finally:
        process.kill()
        process.join()


def _watch(port: int, count: int) -> None:
    with selectors.DefaultSelector() as selector:
        for path in ("pictures", "events") * count:
            viewer = socket.create_connection(("127.0.0.1", port))
            viewer.sendall(f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            selector.register(viewer, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.recv(1 << 16)


def _port(view: LiveView) -> int:
    return int(view.url.rstrip("/").rpartition(":")[2])


def first_pictures_s(clip: Path, model: Model, count: int) -> list[float]:
    """From the opening of the page until its first picture, as the browser counts."""
    asked = "return performance.getEntriesByName('first picture')[0]?.startTime"
    results = list(segment_video(clip, model=model, max_frames=10))
    times = []
    with browsing() as chrome:
        for _ in range(count):
            with watched() as (view, feed), playing(feed, results):
                chrome.get(view.url)
                while (found := chrome.execute_script(asked)) is None:
                    time.sleep(0.01)
                times.append(found / 1e3)
    return times


@contextmanager
def playing(feed: CameraFeed, results: list[SegmentedFrame]) -> Iterator[None]:
    """The results over and over, at 25 frames a second."""
    stop = threading.Event()

    def play() -> None:
        while not stop.is_set():
            for result in results:
                feed.write(result)
                stop.wait(1 / 25)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def take_picture(clip: Path, path: Path, minutes: float) -> None:
    """The page of a camera that plays the clip for so long, on a laptop and on a phone, as one picture."""
    address = f"127.0.0.1:{a_free_port()}"
    feed = f"ffmpeg -v error -re -stream_loop -1 -i {shlex.quote(str(clip))} -an -c copy -f mpegts -"
    run = [sys.executable, "-m", "roadmask", "run", "front=-", "--policy", "latest", "--serve", address, "--quiet"]
    with ExitStack() as stack:
        camera = stack.enter_context(subprocess.Popen(shlex.split(feed), stdout=subprocess.PIPE))
        stack.callback(camera.kill)
        view = stack.enter_context(subprocess.Popen(run, stdin=camera.stdout))
        stack.callback(view.terminate)
        chrome = stack.enter_context(browsing("--hide-scrollbars"))
        time.sleep(60 * minutes)

        def show(chrome: webdriver.Chrome, _screen: str) -> None:
            chrome.get(f"http://{address}/")
            time.sleep(5)

        picture = on_laptop_and_phone(chrome, 765, show)
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 78])


if __name__ == "__main__":
    main()
