"""Starts that fail back off: what cannot start is not started again at once."""

from __future__ import annotations

from dataclasses import replace

from ezaigent.core.scaling import PoolScaling
from ezaigent.fleet.scaling.guards.limit import Limit
from ezaigent.fleet.scaling.models import PoolSnapshot, PoolState

FIRST, CAP = 5.0, 300.0
"""Seconds before the next try after one failure; they double up to the cap."""


def starts(pool: PoolSnapshot, state: PoolState, _config: PoolScaling, at: float) -> tuple[list[Limit], PoolState]:
    """Hold the pool at its size after failed starts, ever longer until one succeeds. This holds below min too."""
    if pool.failed_starts:
        pause = min(FIRST * 2.0 ** min(state.start_failures, 10), CAP)
        state = replace(state, start_failures=state.start_failures + 1, start_after=at + pause)
    elif pool.startups:
        state = replace(state, start_failures=0, start_after=None)
    left = 0.0 if state.start_after is None else state.start_after - at
    if not 0 < left <= CAP:
        return [], state
    return [Limit("starts", pool.size, f"failed starts (the next try is in {left:.0f} s)")], state
