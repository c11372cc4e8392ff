"""The policy ``threshold``: up above one queue depth, down below another, with a cooldown. The classic."""

from __future__ import annotations

import math
from dataclasses import replace

from ezaigent.core.scaling import PoolScaling
from ezaigent.fleet.scaling.models import Inner, PoolSnapshot, PoolState
from ezaigent.fleet.scaling.policies.plan import Plan

ERRORS = 0.1
"""Share of failed runs above which slow runs call for one more agent."""
SLOW = 1.5
"""Runs are slow when the last 20 took this many times the mean of the last 200."""


def threshold(pool: PoolSnapshot, state: PoolState, config: PoolScaling, at: float) -> Plan:
    """Want ``ceil((queued + running) / up_threshold)`` above ``up_threshold``, and min below ``down_threshold``.

    On the way up never less than there are; an empty pool gets one agent as soon as a task waits. Draining to min
    takes agents as they become idle and counts as one action, however long it takes. Slow runs together with many
    errors add an agent, unless the errors are provider limits. A change within ``cooldown`` seconds of the last one is
    refused, and the reason says so.
    """
    depth, running, size = pool.queued, len(pool.busy), pool.size
    shrinking = state.shrinking and depth < config.down_threshold
    cooling = _cooling(state, config, at)
    inner: Inner = {"depth": depth, "running": running, "cooldown_left": cooling, "failures": state.failures}
    if depth > config.up_threshold:
        wanted = max(size, math.ceil((depth + running) / config.up_threshold))
        cause = f"{_tasks(depth)}, more than {config.up_threshold}"
    elif depth > 0 and size == 0:
        wanted = 1
        cause = f"{_tasks(depth)} and nobody is there"
    elif depth < config.down_threshold:
        wanted = min(size, max(config.min, running + len(pool.starting)))
        cause = f"{_tasks(depth)}, fewer than {config.down_threshold}"
    else:
        wanted = size
        cause = f"{_tasks(depth)}, from {config.down_threshold} to {config.up_threshold}"
    if wanted <= size and _troubled(state):
        wanted = size + 1
        cause = f"runs are slow and {state.failures:.0%} of them fail, not by provider limits"
    continued = shrinking and wanted < size
    if cooling > 0 and not continued and _bounded(wanted, config) != _bounded(size, config):
        cause += f", but {cooling:.0f} s of the {config.cooldown:g} s cooldown are left"
        return Plan(size, replace(state, shrinking=shrinking), cause, inner, "cooldown")
    state = replace(state, shrinking=wanted < size or (shrinking and wanted == size))
    return Plan(wanted, state, cause, inner, continued=continued)


def _bounded(agents: int, config: PoolScaling) -> int:
    return min(max(agents, config.min), config.max)


def _cooling(state: PoolState, config: PoolScaling, at: float) -> float:
    """Return the seconds of cooldown that are left; none if the clock went back behind the last change."""
    if state.scaled_at is None or at < state.scaled_at:
        return 0.0
    return max(0.0, config.cooldown - (at - state.scaled_at))


def _troubled(state: PoolState) -> bool:
    if state.service_mean is None or state.service_recent is None or state.failures <= ERRORS:
        return False
    return state.service_recent > SLOW * state.service_mean and state.limits < state.failures / 2


def _tasks(count: int) -> str:
    return "1 task waits" if count == 1 else f"{count} tasks wait"
