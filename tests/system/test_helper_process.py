"""A process beside this one, and what it says."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from roadmask.stream.system import helper_process
from roadmask.stream.system.helper_process import HelperProcess
from tests.support.waiting import LONG_S

SPEAKING = """
import os
from roadmask.stream.system.helper_process import say, take_orders
orders, _ = take_orders()
say(event="first", number=1)
print("a library was here")
os.write(1, b"\\xff\\xfe and again, without an end")
say(event="second", number=2)
print("7"); print("[1, 2]"); print('{"other": 1}'); print("{" * 100_000)
say(event="third", number=3)
"""


def test_what_a_library_prints_in_a_helper_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        helper_process,
        "_START",
        f"import sys; sys.path.append(sys.argv[1])\n#{{module}}\n{SPEAKING.replace('{', '{{').replace('}', '}}')}",
    )
    heard: list[dict[str, Any]] = []
    ended = threading.Event()
    with HelperProcess("nothing", {}, heard.append, on_end=ended.set) as process:
        process.start()
        assert ended.wait(LONG_S)
    assert [(words["event"], words["number"]) for words in heard] == [("first", 1), ("second", 2), ("third", 3)]
