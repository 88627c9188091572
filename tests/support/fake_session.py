"""ONNX Runtime as it would be with every provider built in: it notes what it is asked for, and computes on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnxruntime
import pytest
from numpy.typing import NDArray

from roadmask.stream.network.providers import DEVICES

_REAL = onnxruntime.InferenceSession
Providers = list[tuple[str, dict[str, Any]]]


class FakeRuntime:
    """Stands in for `onnxruntime.InferenceSession`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sessions: list[FakeSession] = []
        self.starts = True  # whether devices other than the CPU do
        self.failure: Exception | None = None  # of every call
        self.fails_after = 0  # but of so many, all together
        self.calls = 0
        self.most_calls = 0  # at a time, of one session
        self.meeting: threading.Barrier | None = None  # that calls wait at
        names = [device.provider for device in DEVICES.values() if device.provider]
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
        monkeypatch.setattr(onnxruntime, "InferenceSession", self._open)
        monkeypatch.setattr("roadmask.stream.network.providers.find_spec", lambda _name: None)  # no other runtime

    def _open(
        self, path: str, *, sess_options: onnxruntime.SessionOptions, providers: Providers, enable_fallback: bool
    ) -> FakeSession:
        assert not enable_fallback, "a device that fails would be left for the CPU in silence"
        session = FakeSession(self, path, sess_options, providers)
        if providers[0][0] != "CPUExecutionProvider":
            self.sessions.append(session)
        return session

    @property
    def shapes(self) -> list[list[int]]:
        """The inputs that sessions on devices were opened for, in turn."""
        return [session.get_inputs()[0].shape for session in self.sessions]


class FakeSession:
    def __init__(
        self, runtime: FakeRuntime, path: str, options: onnxruntime.SessionOptions, providers: Providers
    ) -> None:
        self.providers = providers
        self.memory_pattern = options.enable_mem_pattern
        self._runtime = runtime
        self._real = _REAL(path, sess_options=options, providers=["CPUExecutionProvider"])
        self._calls = 0
        self._counting = threading.Lock()

    def get_providers(self) -> list[str]:
        return [name for name, _ in self.providers] if self._runtime.starts else ["CPUExecutionProvider"]

    def get_inputs(self) -> Any:
        return self._real.get_inputs()

    def get_outputs(self) -> Any:
        return self._real.get_outputs()

    def get_modelmeta(self) -> Any:
        return self._real.get_modelmeta()

    def run(self, names: Sequence[str], feed: dict[str, NDArray[Any]], options: onnxruntime.RunOptions) -> Any:
        with self._called():
            if self._runtime.failure and self._runtime.calls > self._runtime.fails_after:
                raise self._runtime.failure
            if self._runtime.meeting:
                self._runtime.meeting.wait()
            return self._real.run(names, feed, options)

    @contextmanager
    def _called(self) -> Iterator[None]:
        with self._counting:
            self._calls += 1
            self._runtime.calls += 1
            self._runtime.most_calls = max(self._runtime.most_calls, self._calls)
        try:
            yield
        finally:
            with self._counting:
                self._calls -= 1
