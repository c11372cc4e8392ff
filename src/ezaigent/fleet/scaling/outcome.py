"""What a simulated pool did and cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """The pool at one moment."""

    at: float
    queued: int
    busy: int
    agents: int
    """All that cost: starting and draining ones too."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulated pool did and cost."""

    tasks: int
    agent_hours: float
    busy_hours: float
    wait_p50: float
    wait_p95: float
    wait_p99: float
    wait_mean: float
    late_share: float
    """Share of tasks that waited longer than the wait target; those never started are late."""
    unserved: int
    launches: int
    """Agents started, those at the beginning not counted."""
    actions: int
    """Looks that changed something."""
    busy_hit: int
    """Agents that were told to leave in the middle of a task."""
    peak: int
    """Agents at most at one time."""
    waits: tuple[float, ...]
    series: tuple[Point, ...]

    @property
    def cost(self) -> float:
        """Agent-hours by busy-hours: 1 is the least possible; not a number when nothing ran."""
        return self.agent_hours / self.busy_hours if self.busy_hours else math.nan


def percentile(ascending: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of the values do not exceed (nearest rank); 0 if there are none."""
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)] if ascending else 0.0
