"""What keeps every policy from harm: each guard is a pure function from what is known to a limit.

A guard may remember something in the pool's memory. A limit is a number of agents; the lowest one binds.
"""

from __future__ import annotations

from ezaigent.core.scaling import PoolScaling
from ezaigent.fleet.scaling.guards.budget import budget
from ezaigent.fleet.scaling.guards.errors import errors, probed
from ezaigent.fleet.scaling.guards.limit import Limit
from ezaigent.fleet.scaling.guards.provider import provider
from ezaigent.fleet.scaling.guards.starts import starts
from ezaigent.fleet.scaling.models import PoolSnapshot, PoolState

STALE = 3
"""Periods after which metrics are too old to act on."""

__all__ = ["Limit", "guard", "probed", "stale"]


def stale(pool: PoolSnapshot, period: float) -> bool:
    """Say whether what is told of the pool is too old to act on, in whatever direction."""
    return pool.metrics_age > STALE * period


def guard(pool: PoolSnapshot, state: PoolState, config: PoolScaling, at: float) -> tuple[list[Limit], PoolState]:
    """Return the limits that hold for the pool now, and what the guards remember."""
    limits = [Limit("max", config.max, f"max = {config.max}", forced=True), *budget(pool, state, config, at)]
    if pool.ceilings.host is not None:
        limits.append(Limit("host", pool.ceilings.host, f"this host, which bears {pool.ceilings.host} now"))
    for one in (provider, errors, starts):
        found, state = one(pool, state, config, at)
        limits += found
    return limits, state
