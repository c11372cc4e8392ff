"""What is learned from every look, whatever the policy: arrival rates, service times, start-ups, failures."""

from __future__ import annotations

import math
from dataclasses import replace

from ezaigent.fleet.scaling.models import PoolSnapshot, PoolState

FAST, SLOW = 60.0, 600.0
"""Seconds of the two windows of the arrival rate."""
RUNS, STARTUPS = 200, 50
"""How many of the last runs and start-ups are remembered."""
RECENT = 1 / 20
"""Weight of one run in what is called recent."""


def learn(pool: PoolSnapshot, state: PoolState, at: float) -> PoolState:
    """Return ``state`` with what ``pool`` tells. Two looks in a row learn the same as one look at the end of both."""
    elapsed = 0.0 if state.looked_at is None else max(0.0, at - state.looked_at)
    state = replace(
        state,
        looked_at=at,
        fast=_decayed(state.fast, pool.arrivals, elapsed, FAST),
        slow=_decayed(state.slow, pool.arrivals, elapsed, SLOW),
    )
    if pool.finishes:
        state = _runs(pool, state)
    if pool.startups:
        startups = (*state.startups, *pool.startups)[-STARTUPS:]
        state = replace(state, startups=startups, startup_p90=sorted(startups)[math.ceil(0.9 * len(startups)) - 1])
    return state


def _decayed(rate: float, arrivals: int, elapsed: float, window: float) -> float:
    """Return the exponentially weighted rate after ``arrivals`` spread over ``elapsed`` seconds."""
    if elapsed <= 0:
        return rate + arrivals / window
    left = math.exp(-elapsed / window)
    return rate * left + arrivals * (1 - left) / elapsed


def _runs(pool: PoolSnapshot, state: PoolState) -> PoolState:
    recent, failures, limits = state.service_recent, state.failures, state.limits
    for run in pool.finishes:
        recent = run.seconds if recent is None else recent + RECENT * (run.seconds - recent)
        failures += RECENT * (run.failed - failures)
        limits += RECENT * ((run.failed and run.limited) - limits)
    services = (*state.services, *(run.seconds for run in pool.finishes))[-RUNS:]
    return replace(
        state,
        services=services,
        service_mean=math.fsum(services) / len(services),
        service_recent=recent,
        failures=failures,
        limits=limits,
    )
