"""The policies: from a pool and a memory to a number of agents. Each is a pure function."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ezaigent.core.scaling import PoolScaling
from ezaigent.fleet.scaling.models import PoolSnapshot, PoolState
from ezaigent.fleet.scaling.policies.plan import Plan
from ezaigent.fleet.scaling.policies.slo import slo
from ezaigent.fleet.scaling.policies.static import static
from ezaigent.fleet.scaling.policies.threshold import threshold

Policy = Callable[[PoolSnapshot, PoolState, PoolScaling, float], Plan]
"""Pool, memory (what was learned from this look included), settings, time."""

POLICIES: Mapping[str, Policy] = {"slo": slo, "threshold": threshold, "static": static}

__all__ = ["POLICIES", "Plan", "Policy"]
