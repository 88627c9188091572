"""Several cameras on one model."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Self

import pytest
from rich.console import Console

from roadmask.stream.camera.camera import CameraSettings, parse_camera
from roadmask.stream.camera.status import CameraState, CameraStatus
from roadmask.stream.errors import OutputError, SourceError
from roadmask.stream.frames import SegmentedFrame, Sink
from roadmask.stream.live.cameras import CameraRun, CameraTalk, _table, watch
from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import segment_video
from roadmask.stream.run.settings import SegmentSettings
from tests.support.clips import times_of
from tests.support.color_model import write_color_model
from tests.support.live_viewer import SETTINGS, WATCHFUL
from tests.support.numbered_camera import Film, read_number
from tests.support.rtsp_faults import Faults
from tests.support.rtsp_server import RtspServer
from tests.support.rtsp_session import Session
from tests.support.run_command import run as run_command
from tests.support.slow_network import slowed
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("short_pauses")
RATE = 50
FILM = Film(rate=RATE, gop=10)
OVER_S = 10.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.load(write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx"))


class Noting(Sink):
    """A sink that keeps the numbers and times of its frames, and fails at one of them if told."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.numbers: list[int] = []
        self.times: list[Fraction] = []
        self._fails_at = fails_at

    def write(self, result: SegmentedFrame) -> None:
        if len(self.numbers) == self._fails_at:
            raise OutputError("out.mkv: cannot be written (No space left on device)")
        number = read_number(result.frame.picture)
        assert number is not None
        self.numbers.append(number)
        self.times.append(result.frame.time)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


def run_of(
    url: str, name: str, settings: CameraSettings = SETTINGS, *, sink: Noting | None = None, folder: Path | None = None
) -> CameraRun:
    """A camera whose frames go to `sink`, and as an overlay and statistics to a folder."""
    camera = parse_camera(f"{name}={url}", settings)
    outputs = SegmentSettings(camera)
    if folder:
        outputs = replace(outputs, overlay=folder / f"{name}.mkv", stats=folder / f"{name}.csv")
    return CameraRun(outputs, CameraStatus(name), also=(sink or Noting(),))


@contextmanager
def watched(model: Model, *runs: CameraRun) -> Iterator[threading.Event]:
    """They run until the `with` is left, or `stop` is set."""
    stop = threading.Event()
    thread = threading.Thread(target=lambda: watch(runs, model, stop=stop), name="watch")
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(OVER_S)
        assert not thread.is_alive()


def written(run: CameraRun) -> int:
    return run.status.numbers().written


def wait_written(run: CameraRun, count: int) -> None:
    """Until so many more frames are."""
    wanted = written(run) + count
    until(lambda: written(run) >= wanted)


def test_each_camera_gets_outputs_of_its_own_whole_when_stopped(model: Model, tmp_path: Path) -> None:
    with RtspServer(FILM) as left, RtspServer(Film(320, 192, RATE, gop=10)) as right:
        runs = [run_of(left.url, "left", folder=tmp_path), run_of(right.url, "right", folder=tmp_path)]
        with watched(model, *runs):
            until(lambda: all(written(run) >= 10 for run in runs), 20)
    for run in runs:
        assert run.report
        assert run.report.interrupted
        (overlay,), (stats,) = (list(tmp_path.glob(f"{run.status.name}*{suffix}")) for suffix in (".mkv", ".csv"))
        assert run.report.frames == written(run) == len(times_of(overlay)) == len(stats.read_text().splitlines()) - 1
    assert not list(tmp_path.glob("*.partial*"))


def test_a_camera_that_fails_harms_no_other(model: Model) -> None:
    once = replace(SETTINGS, max_retries=0)
    with RtspServer(FILM) as good, RtspServer(FILM, faults=Faults(status=404)) as bad, RtspServer(FILM) as late:
        late.faults.hang_at = "DESCRIBE"
        runs = [run_of(good.url, "good"), run_of(bad.url, "bad", once), run_of(late.url, "late", WATCHFUL)]
        with watched(model, *runs):
            until(lambda: written(runs[0]) >= 20 and runs[1].error)
            late.faults.hang_at = None
            until(lambda: written(runs[2]) >= 5)
    assert isinstance(runs[1].error, SourceError)
    assert str(runs[1].error).startswith("bad: the server has no such stream (404)")
    assert runs[0].error is None
    assert runs[0].status.numbers().reconnects == 0


def test_a_camera_given_up_leaves_whole_files_and_says_why(model: Model, tmp_path: Path) -> None:
    with RtspServer(FILM) as server:
        run = run_of(server.url, "gate", replace(SETTINGS, max_retries=1), folder=tmp_path)
        with watched(model, run):
            until(lambda: written(run) >= 10)
            server.go_down()
            until(lambda: run.report)
    assert run.report
    assert run.report.failure == "connection refused: nothing listens at this address; given up after 2 tries"
    assert [len(times_of(overlay)) for overlay in tmp_path.glob("gate*.mkv")] == [run.report.frames]
    assert run.status.state is CameraState.ENDED


def test_times_rise_over_reconnections(model: Model) -> None:
    noted = Noting()
    with RtspServer(FILM) as server:
        run = run_of(server.url, "gate", sink=noted)
        with watched(model, run):
            for times in range(3):
                wait_written(run, 10)
                if times < 2:
                    server.break_off(Session.reset)
    assert run.status.numbers().reconnects == 2
    steps = [after - before for before, after in pairwise(noted.times)]
    assert min(steps) > 0
    assert max(steps) > 0.1, "the time that it was away"


def test_an_output_that_fails_ends_its_camera_alone(model: Model) -> None:
    with RtspServer(FILM) as server:
        runs = [run_of(server.url, "bad", sink=Noting(fails_at=3)), run_of(server.url, "good")]
        with watched(model, *runs):
            until(lambda: written(runs[1]) >= 10 and runs[0].error)
    assert isinstance(runs[0].error, OutputError)
    assert runs[0].status.state is CameraState.ENDED
    assert runs[1].error is None


def test_a_fault_that_is_ours_ends_all_cameras_in_order_and_is_raised(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: SegmentedFrame) -> None:
        until(lambda: written(good) >= 3)
        raise ZeroDivisionError("ours")

    sink = Noting()
    monkeypatch.setattr(sink, "write", fail)
    with RtspServer(FILM) as server:
        good, bad = run_of(server.url, "good", folder=tmp_path), run_of(server.url, "bad", sink=sink)
        with pytest.raises(ZeroDivisionError, match="ours"):
            watch((good, bad), model, stop=threading.Event())
    assert good.error is None
    assert good.report
    assert good.report.interrupted
    assert [len(times_of(overlay)) for overlay in tmp_path.glob("good*.mkv")] == [good.report.frames]


def test_cameras_that_want_more_than_there_is_get_equal_shares(model: Model) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(RtspServer(Film(rate=rate, gop=10))) for rate in (30, 50, 50, 100)]
        runs = [run_of(server.url, f"camera{number}") for number, server in enumerate(servers)]
        with watched(slowed(model, 0.04), *runs):  # so slow that on a busy machine too each sends more than its share
            until(lambda: all(written(run) for run in runs))
            first = [written(run) for run in runs]
            until(lambda: sum(map(written, runs)) >= sum(first) + 80)
            shares = [written(run) - start for run, start in zip(runs, first, strict=True)]
    mean = sum(shares) / len(shares)
    assert 0.8 * mean < min(shares), shares
    assert max(shares) < 1.2 * mean, shares
    assert all(run.status.numbers().dropped > 0 for run in runs)


def test_what_is_received_is_written_or_dropped(model: Model) -> None:
    noted = Noting()
    with RtspServer(Film(rate=100, gop=10)) as server:
        run = run_of(server.url, "gate", replace(SETTINGS, max_retries=0), sink=noted)
        with watched(slowed(model, 0.05), run):
            until(lambda: written(run) >= 20, 20)
            server.refuse()
            server.break_off(Session.say_goodbye)
            until(lambda: run.report)
    numbers = run.status.numbers()
    assert numbers.received == len(server.sent)
    assert len(noted.numbers) == numbers.written == numbers.received - numbers.dropped
    assert noted.numbers == sorted(set(noted.numbers) & set(server.sent))


def test_the_first_line_says_what_it_runs_on_and_how_often_the_network_sees_a_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RtspServer(FILM) as server:
        colors = write_color_model(tmp_path / "colors.onnx")
        assert (
            run_command(f"gate={server.url}", "-o", f"{tmp_path}/rec/", "--every", 2, "--max-frames", 5, model=colors)
            == 0
        )
    first, *others = [line for line in capsys.readouterr().err.splitlines() if "network" in line]
    assert re.fullmatch(
        r"roadmask: gate: 160x96; colors on \S+, network \d+x\d+, smoothed over time, the network every 2, "
        "what comes faster is dropped",
        first,
    )
    assert not others


class Clock:
    """In place of `time`, for talk that waits for minutes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in ("live.cameras", "camera.status"):
            monkeypatch.setattr(f"roadmask.stream.{module}.time", self)

    def monotonic(self) -> float:
        return self.now

    time = monotonic


@pytest.mark.parametrize(("dropped", "told"), [(50, 1), (5, 0)])
def test_a_camera_that_the_model_is_too_slow_for_is_told_once_with_what_is_quicker(
    dropped: int, told: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, status = Clock(monkeypatch), CameraStatus("gate")
    talk = CameraTalk(table=False, remedy="quicker: --fast")
    status.change(CameraState.RUNNING)
    status.count(received=60, dropped=59)  # while the first frame is worked out
    for _ in range(50):
        status.count(received=100, dropped=dropped)
        for _ in range(100 - dropped):
            status.count_written(clock.now)
        talk.look([status])
        clock.now += 5
    lines = [text for text in caplog.messages if "quicker" in text]
    assert lines == ["gate: 10.0 of 20.0 frames a second are done; quicker: --fast"] * told


def test_that_a_camera_is_still_away_is_told_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    clock = Clock(monkeypatch)
    talk = CameraTalk(table=False, every_event=False)
    status = CameraStatus("gate", talk.event)
    for reason in ("refused",) * 13 + ("no answer",) * 2:
        status.change(CameraState.CONNECTING)
        status.change(CameraState.RECONNECTING, reason, retry_s=10)
        clock.now += 10
    status.change(CameraState.CONNECTING)
    status.change(CameraState.RUNNING, "640x480 h264")
    away = "gate: reconnecting ({}); next try in 10.0 s"
    assert caplog.messages == [
        "gate: connecting",
        *[away.format(reason) for reason in ("refused", "refused", "refused", "no answer")],
        "gate: running (640x480 h264)",
    ]


def test_a_result_holds_the_frame_that_was_segmented(model: Model) -> None:
    with RtspServer(FILM) as server:
        results: list[SegmentedFrame] = []
        camera = parse_camera(server.url, replace(SETTINGS, policy="every-frame"))
        for result in segment_video(camera, model=model):
            results.append(result)
            if len(results) == 20:
                break
    assert [read_number(result.frame.picture) for result in results] == server.sent[:20]


@pytest.mark.parametrize("width", [70, 80, 120])
def test_on_a_narrow_terminal_the_table_cuts_no_word_and_no_number(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "192.168.1.100_554_Streaming_Channels_101"
    numbers = replace(CameraStatus(name).numbers(), state=CameraState.RECONNECTING, dropped=98765, received_fps=25.0)
    Console(width=width).print(_table([numbers], width))
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split()[:6] == ["camera", "state", "fps", "latency", "written", "dropped"]
    assert ("reconnects" in heading) is (width == 120), "where there were none, only if there is room"
    assert "reconnecting" in lines[0]
    assert lines[0].split()[2:5] == ["0.0", "of", "25.0"]
    assert "".join(line.split()[0] for line in lines if line.strip()) == name
