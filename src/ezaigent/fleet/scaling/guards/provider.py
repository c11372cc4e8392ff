"""What the provider sustains: additive increase, multiplicative decrease, as TCP finds its rate."""

from __future__ import annotations

import math
from dataclasses import replace

from ezaigent.core.scaling import PoolScaling
from ezaigent.fleet.scaling.guards.limit import Limit
from ezaigent.fleet.scaling.models import PoolSnapshot, PoolState

STEP = 30.0
"""Seconds between two changes of the belief."""
DECREASE = 0.7
INCREASES = 50
"""Steps in which the ceiling rises from nothing to max, at most."""


def provider(pool: PoolSnapshot, state: PoolState, config: PoolScaling, at: float) -> tuple[list[Limit], PoolState]:
    """Return the provider's ceiling, the one told and the one learned.

    While the share of 429s or the remaining quota is bad, the pool does not grow and its ceiling shrinks by 0.7 every
    30 s, but not below the agents whose calls get through; when it is good again, the ceiling rises step by step. It
    never falls below min or 1: something must go on asking.
    """
    told = pool.ceilings.provider
    limits = [] if told is None else [Limit("provider", max(told, 0), f"the provider, which sustains {told}")]
    bad = pool.limited_share > config.limited_share or (
        pool.quota_left is not None and pool.quota_left < config.quota_floor
    )
    if state.provider is None and not bad:
        return limits, state
    due = state.provider_at is None or not 0 <= at - state.provider_at < STEP
    ceiling = float(pool.size) if state.provider is None else state.provider
    floor = max(1, config.min)
    if bad:
        ceiling = min(ceiling, pool.size)
        if due:
            through = len(pool.busy) * (1 - pool.limited_share)
            ceiling = max(DECREASE * ceiling, min(through, ceiling))
        ceiling = max(ceiling, floor)
    elif due:
        ceiling += max(1.0, config.max / INCREASES)
    changed = replace(state, provider=ceiling, provider_at=at if due else state.provider_at)
    if not bad and ceiling >= config.max:
        return limits, replace(changed, provider=None)
    agents = math.floor(ceiling)
    why = f"{pool.limited_share:.0%} of calls get a 429"
    if pool.quota_left is not None and pool.quota_left < config.quota_floor:
        why += f", {pool.quota_left:.0%} of the quota is left"
    text = f"the provider ({why}), believed to sustain {agents}"
    return [*limits, Limit("provider", agents, text)], changed
