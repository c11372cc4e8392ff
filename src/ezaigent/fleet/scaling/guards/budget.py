"""Ceilings on agent-seconds and USD by the hour and by the day (UTC).

While something is left, no more agents are allowed than could use it up in one mean service time (a minute at least),
so that the pool lands softly. When nothing is left, it is a budget stop: busy agents drain, whatever min says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ezaigent.core.money import NANO
from ezaigent.core.scaling import PoolScaling
from ezaigent.fleet.scaling.guards.limit import Limit
from ezaigent.fleet.scaling.models import PoolSnapshot, PoolState

HOUR, DAY = 3600.0, 86_400.0
LANDING = 60.0
"""Seconds over which what is left is spread at least."""
ROUNDING = 1e-9


def budget(pool: PoolSnapshot, state: PoolState, config: PoolScaling, at: float) -> list[Limit]:
    """Return what the budgets leave, the pool's own and those kept elsewhere."""
    limits: list[Limit] = []
    outside = pool.ceilings.budget
    if outside is not None:
        text = "the budget, which is used up" if outside <= 0 else f"the budget, which leaves {outside}"
        limits.append(Limit("budget", max(outside, 0), text, forced=outside <= 0))
    for what, window, left, per_second in _left(pool, config):
        agents = 0
        if left > 0:
            if per_second <= 0:
                continue  # nothing was used yet, so what is left cannot be told in agents
            horizon = min(window - at % window, max(state.service_mean or 0.0, LANDING))
            agents = math.floor(left / (per_second * horizon) + ROUNDING)
        limits.append(Limit("budget", agents, f"the {what} for this {_name(window)}", forced=left <= 0))
    return limits


def _left(pool: PoolSnapshot, config: PoolScaling) -> Iterator[tuple[str, float, float, float]]:
    """Yield for each ceiling: what it is of, its window, what is left, and how much of it one agent-second takes."""
    spent = pool.spending
    for window, seconds, nano, allowed, usd in (
        (HOUR, spent.hour_agent_seconds, spent.hour_nano_usd, config.hour_agent_seconds, config.hour_usd),
        (DAY, spent.day_agent_seconds, spent.day_nano_usd, config.day_agent_seconds, config.day_usd),
    ):
        if allowed is not None:
            yield "agent-seconds", window, allowed - seconds, 1.0
        if usd is not None:
            yield "USD", window, usd - nano / NANO, nano / NANO / seconds if seconds > 0 else 0.0


def _name(window: float) -> str:
    return "hour" if window == HOUR else "day"
