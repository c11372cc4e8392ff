"""How a pool, or the whole fleet, fared over a span of time: everything from durable facts, on one time axis."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import orjson
from pydantic import BaseModel, ConfigDict

from ezaigent.core.described import described
from ezaigent.fleet.roster import profile_of
from ezaigent.fleet.scaler.past import Past

_BAD: Final = frozenset({"failed", "stuck", "stalled", "poison", "lost"})
"""Outcomes of runs that count as errors."""


class Moment(BaseModel):
    """One slice of time. Numbers of agents and tasks are those at its end, the rest is what happened in it."""

    model_config = ConfigDict(frozen=True, json_schema_extra=described)

    at: float
    """Its beginning, seconds since 1970, database time."""
    queued: int
    """Tasks that could be claimed and were not; those that were cancelled before an agent took them are not counted."""
    wait: float | None
    """Longest wait, in seconds, of the tasks that began; null when none did."""
    agents: int
    """Agents that are there or on the way."""
    busy: int
    """Agents that run a task."""
    cost_usd: float
    """USD of the model calls whose price is known."""
    unknown_calls: int
    """Model calls whose price is unknown."""
    errors: int
    """Runs that failed, stood still, or died with their worker."""


class Series(BaseModel):
    """A span of time in slices of the same length."""

    model_config = ConfigDict(frozen=True, json_schema_extra=described)

    since: float
    until: float
    width: float
    """Seconds of a slice."""
    cut: bool
    """Whether it begins later than asked for because more happened than is told at once."""
    points: tuple[Moment, ...]


def series(past: Past) -> Series:
    """Return what happened in each slice of ``past``; pure, and busy for as long as it takes."""
    claims = [
        (at, float(orjson.loads(data).get("waited", 0.0)))
        for at, kind, agent, data in past.told
        if kind == "task.claimed" and _of(past.pool, agent)
    ]
    slots = _Slots(past.since, past.width, past.slices)
    queued = slots.standing(((at - wait, at) for at, wait in claims), past.queued)
    busy = slots.standing((started, ended) for started, ended, _ in past.runs)
    agents = slots.counted_back(
        past.here,
        [
            (at, 1 if kind == "agent.ordered" else -1)
            for at, kind, agent, _ in past.told
            if kind != "task.claimed" and _of(past.pool, agent)
        ],
    )
    waits = slots.largest(claims)
    errors = slots.count(ended for _, ended, outcome in past.runs if ended is not None and outcome in _BAD)
    points = tuple(
        Moment(
            at=past.since + slot * past.width,
            queued=queued[slot],
            wait=waits[slot],
            agents=agents[slot],
            busy=busy[slot],
            cost_usd=past.spent.get(slot, (0, 0))[0] / 1e9,
            unknown_calls=past.spent.get(slot, (0, 0))[1],
            errors=errors[slot],
        )
        for slot in range(past.slices)
    )
    return Series(since=past.since, until=past.until, width=past.width, cut=past.cut, points=points)


def _of(pool: str | None, agent: str) -> bool:
    return pool is None or profile_of(agent) == pool


class _Slots:
    """Slices of time of the same width."""

    def __init__(self, begin: float, width: float, count: int) -> None:
        self._begin = begin
        self._width = width
        self._count = count

    def _slot(self, at: float) -> int:
        return int((at - self._begin) // self._width)

    def standing(
        self, spans: Iterable[tuple[float, float | None]], since: Mapping[int, int] | None = None
    ) -> list[int]:
        """Return how many spans hold the end of each slice; one that ends nowhere goes on.

        ``since`` are more that go on: how many, by the slice that they begin in.
        """
        steps = [0] * (self._count + 1)
        for slot, count in (since or {}).items():
            steps[min(slot, self._count)] += count
        for begin, end in spans:
            first = max(0, self._slot(begin))
            last = self._count if end is None else min(self._count, self._slot(end))
            if first < last:
                steps[first] += 1
                steps[last] -= 1
        return list(itertools.accumulate(steps))[: self._count]

    def counted_back(self, here: int, changes: Sequence[tuple[float, int]]) -> list[int]:
        """Return a number at the end of each slice: ``here`` at the end of all, and what changed it before."""
        after = [0] * self._count
        for at, change in changes:
            after[max(0, min(self._count - 1, self._slot(at)))] += change
        later = 0
        found: list[int] = []
        for slot in range(self._count - 1, -1, -1):
            found.append(max(0, here - later))
            later += after[slot]
        return found[::-1]

    def largest(self, values: Iterable[tuple[float, float]]) -> list[float | None]:
        """Return the largest value of each slice, None where there is none."""
        found: list[float | None] = [None] * self._count
        for at, value in values:
            slot = self._slot(at)
            if 0 <= slot < self._count:
                before = found[slot]
                found[slot] = value if before is None else max(before, value)
        return found

    def count(self, times: Iterable[float]) -> list[int]:
        """Return how many times fall into each slice."""
        found = [0] * self._count
        for at in times:
            slot = self._slot(at)
            if 0 <= slot < self._count:
                found[slot] += 1
        return found
