"""What `roadmask doctor` finds, by name, and what breaks in its way."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from roadmask.stream.doctor.doctor import Finding


def by_name(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def broken(*_: object, **__: object) -> Any:
    raise OSError(errno.EACCES, "Permission denied")
