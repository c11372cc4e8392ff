"""More agents do not mend runs that fail: growth is held, and one canary at a time is tried."""

from __future__ import annotations

from dataclasses import replace

from ezaigent.core.scaling import PoolScaling
from ezaigent.fleet.scaling.guards.limit import Limit
from ezaigent.fleet.scaling.learning import RECENT, RUNS
from ezaigent.fleet.scaling.models import PoolSnapshot, PoolState

TIMES_USUAL = 3
"""The guard trips at this many times the baseline, but not below ``error_share``."""
CANARY, CANARY_CAP = 60.0, 960.0
"""Seconds before the first canary; they double up to the cap."""


def errors(pool: PoolSnapshot, state: PoolState, config: PoolScaling, at: float) -> tuple[list[Limit], PoolState]:
    """Hold the pool at its size while runs fail far more often than usual; let one more agent try now and then.

    Failures at provider limits do not count: they have a guard of their own. The guard ends when the share of failures
    has fallen to half of what tripped it.
    """
    if not (pool.finishes or state.guarding):
        return [], state
    recent, usual = state.errors, state.errors_usual
    for run in pool.finishes:
        bad = run.failed and not run.limited
        recent += RECENT * (bad - recent)
        if not state.guarding:
            usual += (bad - usual) / RUNS
    trip = min(max(config.error_share, TIMES_USUAL * usual), 0.9)
    state = replace(state, errors=recent, errors_usual=usual)
    if state.guarding and recent < trip / 2:
        state = replace(state, guarding=False, canary_at=None, canary_wait=0.0)
    elif not state.guarding and recent > trip:
        state = replace(state, guarding=True, canary_at=at, canary_wait=CANARY)
    if not state.guarding:
        return [], state
    canary = _due(state, at)
    text = f"the error guard ({recent:.0%} of runs fail, {usual:.0%} is usual)"
    return [Limit("errors", pool.size + canary, text + (", which tries one" if canary else ""), above_min=True)], state


def probed(state: PoolState, at: float, *, grew: bool) -> PoolState:
    """Return the memory after a decision: a canary that was started makes the next one wait twice as long."""
    if not (state.guarding and grew and _due(state, at)):
        return state
    return replace(state, canary_at=at, canary_wait=min(2 * state.canary_wait, CANARY_CAP))


def _due(state: PoolState, at: float) -> bool:
    return state.canary_at is None or not 0 <= at - state.canary_at < state.canary_wait
