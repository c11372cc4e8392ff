"""What could be known only in hindsight: fixed sizes, and the least that no waiting at all can cost."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

from benchmarks.autoscaling.traces import Trace
from ezaigent.fleet.scaling.outcome import percentile

HOUR = 3600.0


@dataclass(frozen=True)
class Figures:
    """What is compared. Waits are in seconds; cost is agent-hours by busy-hours."""

    cost: float
    agent_hours: float
    p50: float
    p95: float
    p99: float
    late: float
    launches: int
    hits: int


def peak(trace: Trace) -> int:
    """Return the agents that are busy at the same time at most if nothing waits."""
    ends: list[float] = []
    most = 0
    for at, seconds in zip(trace.arrivals, trace.services, strict=True):
        while ends and ends[0] <= at:
            heapq.heappop(ends)
        heapq.heappush(ends, at + seconds)
        most = max(most, len(ends))
    return most


def fixed(trace: Trace, agents: int, target: float) -> Figures:
    """Return what ``agents`` agents make of the trace, all day long, first come first served."""
    free = [0.0] * agents
    waits: list[float] = []
    busy = 0.0
    for at, seconds in zip(trace.arrivals, trace.services, strict=True):
        begin = max(at, heapq.heappop(free))
        heapq.heappush(free, begin + seconds)
        waits.append(begin - at)
        busy += max(0.0, min(begin + seconds, trace.until) - min(begin, trace.until))
    return _figures(waits, target, (agents * trace.until, busy), 0)


def smallest_fixed(trace: Trace, target: float, share: float) -> int:
    """Return the least fixed number of agents with at most ``share`` of the tasks waiting longer than ``target``."""
    low, high = 1, peak(trace)
    while low < high:
        middle = (low + high) // 2
        if fixed(trace, middle, target).late <= share:
            high = middle
        else:
            low = middle + 1
    return low


def oracle(trace: Trace, startup: float, target: float) -> Figures:
    """Return the least that a fleet costs in which no task waits at all, with every arrival known beforehand.

    Each task takes the agent that became free last; an agent between two tasks is kept if the gap is shorter than a
    start-up, else stopped and replaced by one that is started just in time. That nested matching is the cheapest one,
    because the cost of a gap, min(gap, start-up), is concave.
    """
    ends: list[float] = []  # of running tasks
    free: list[float] = []  # since when agents are free, the latest last
    paid, busy, launches = 0.0, 0.0, 0
    for at, seconds in zip(trace.arrivals, trace.services, strict=True):
        while ends and ends[0] <= at:
            free.append(heapq.heappop(ends))
        gap = at - free.pop() if free else math.inf
        launches += gap >= startup
        paid += min(gap, startup)
        busy += min(at + seconds, trace.until) - at
        heapq.heappush(ends, at + seconds)
    return _figures([0.0] * len(trace.arrivals), target, (paid + busy, busy), launches)


def _figures(waits: list[float], target: float, seconds: tuple[float, float], launches: int) -> Figures:
    """Sum up; ``seconds`` are those of all agents and those of busy ones."""
    waits = sorted(waits)
    late = sum(wait > target for wait in waits) / len(waits)
    p50, p95, p99 = (percentile(waits, share) for share in (0.5, 0.95, 0.99))
    return Figures(seconds[0] / seconds[1], seconds[0] / HOUR, p50, p95, p99, late, launches, 0)
