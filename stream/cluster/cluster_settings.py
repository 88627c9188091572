"""Which cluster to run on; apart from `cluster`, as that needs Ray."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Which cluster, and what its workers are."""

    address: str  # "local", "auto", "HOST:PORT", "ray://HOST:PORT"; or "", for what $RAY_ADDRESS says or is here
    workers: int = 0  # 0 for as many as the cluster has room for
    cpus: int = 1  # of each
