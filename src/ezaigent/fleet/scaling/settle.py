"""From a wanted number to orders: min and the limits, and who comes and goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ezaigent.fleet.scaling.guards import Limit
from ezaigent.fleet.scaling.models import Orders, PoolSnapshot


@dataclass(frozen=True, slots=True)
class Settled:
    """The number of agents that it comes to."""

    target: int
    ceiling: int
    binding: Limit | None
    """What kept ``target`` from the wanted number."""


def settle(wanted: int, pool: PoolSnapshot, minimum: int, limits: Sequence[Limit]) -> Settled:
    """Return ``wanted`` between ``minimum`` and the lowest of ``limits``; where they contradict, the limit wins.

    Agents with a task, and those on the way, go only for a forced limit.
    """
    lowest = min(limits, key=lambda limit: _agents(limit, minimum))
    ceiling = _agents(lowest, minimum)
    binding = None
    target = wanted
    if target < minimum:
        target, binding = minimum, Limit("min", minimum, f"min = {minimum}")
    if target > ceiling:
        target, binding = ceiling, lowest
    engaged = len(pool.busy) + len(pool.starting)
    if target < engaged:
        forced = min((limit for limit in limits if limit.forced), key=lambda limit: limit.agents, default=None)
        kept = engaged if forced is None else min(engaged, forced.agents)
        if target < kept:
            target, binding = kept, Limit("busy", kept, "agents that have a task or are on the way")
    if target < pool.pinned:
        target, binding = pool.pinned, Limit("pinned", pool.pinned, f"the {pool.pinned} that a person asked for")
    return Settled(target, ceiling, binding)


def orders(pool: PoolSnapshot, target: int) -> Orders:
    """Return how to come from the pool's size to ``target``.

    Draining agents are taken back before new ones are started. The one idle for the longest goes first, then the one
    that began to start last, then (only if ``target`` leaves no other way) the one that has been busy for the longest,
    which drains. Pinned agents never go.
    """
    more = target - pool.size
    if more > 0:
        back = sorted((agent for agent in pool.draining if agent.recallable), key=lambda agent: -agent.since)[:more]
        return Orders(recall=tuple(agent.agent for agent in back), start=more - len(back))
    if more == 0:
        return Orders()
    free = [
        *sorted((seat for seat in pool.idle if not seat.pinned), key=lambda seat: seat.since),
        *sorted((seat for seat in pool.starting if not seat.pinned), key=lambda seat: -seat.since),
    ]
    busy = sorted((seat for seat in pool.busy if not seat.pinned), key=lambda seat: seat.since)
    return Orders(
        retire=tuple(seat.agent for seat in free[:-more]),
        drain=tuple(seat.agent for seat in busy[: max(0, -more - len(free))]),
    )


def _agents(limit: Limit, minimum: int) -> int:
    return max(limit.agents, minimum) if limit.above_min else limit.agents
