"""Fixtures of several modules: an untrained network and its export."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadmask.export.convert import export_model
from tests.support.untrained import save_untrained


@pytest.fixture(scope="session")
def checkpoint_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_untrained(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def float_path(checkpoint_path: Path) -> Path:
    path = checkpoint_path.with_name("model.onnx")
    export_model(checkpoint_path, path)
    return path
