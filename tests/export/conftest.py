"""Fixtures of several modules: an untrained network and its export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from roadmask.export.convert import export_model
from roadmask.training import encoder
from tests.support.untrained import save_untrained


@pytest.fixture(scope="module")
def shallow_encoder() -> Iterator[None]:
    """The usual encoder with half its blocks, each as wide as it is: all kinds of layers, and shortcuts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(encoder._WIDTH_AND_DEPTH, "lite0", (1, 1 / 3))
        yield


@pytest.fixture(scope="module")
def checkpoint_path(shallow_encoder: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    del shallow_encoder
    return save_untrained(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def float_path(checkpoint_path: Path) -> Path:
    path = checkpoint_path.with_name("model.onnx")
    export_model(checkpoint_path, path)
    return path
