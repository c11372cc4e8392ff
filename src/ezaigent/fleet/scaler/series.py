"""How a pool, or the whole fleet, fared over a span of time: everything from durable facts, on one time axis."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Final

import orjson
from pydantic import BaseModel, ConfigDict

from ezaigent.fleet import seats
from ezaigent.fleet.roster import profile_of
from ezaigent.store import Connection, Sql, now

MOST: Final = 200_000
"""Events read at most, the newest; where there were more, the series begins later."""

_first = Sql("SELECT at FROM events WHERE seq >= $1 ORDER BY seq LIMIT 1")
_ends = Sql("SELECT min(seq), max(seq) FROM events")
_told = Sql(
    """SELECT at, kind, agent, data FROM events WHERE seq >= $1 AND kind IN [$2]
    ORDER BY seq DESC LIMIT CAST($3 AS bigint)"""
)
_queued = Sql("SELECT pool, queued_at FROM tasks WHERE state = 'queued' AND queued_at IS NOT NULL")
_runs = Sql(
    """SELECT started_at, ended_at, outcome FROM runs WHERE (CAST($1 AS text) IS NULL OR profile = $1)
    AND started_at < CAST($3 AS double precision) AND (ended_at IS NULL OR ended_at >= CAST($2 AS double precision))"""
)
_USAGE: Final = """SELECT {slot}, coalesce(sum(cost_nusd), 0), sum(CASE WHEN cost_nusd IS NULL THEN 1 ELSE 0 END)
    FROM usage WHERE at >= CAST($1 AS double precision) AND at < CAST($2 AS double precision)
    AND (CAST($4 AS text) IS NULL OR profile = $4) GROUP BY 1"""
_usage = Sql(
    sqlite=_USAGE.replace("{slot}", "CAST((at - $1) / $3 AS INTEGER)"),
    postgresql=_USAGE.replace(
        "{slot}", "CAST(floor((at - CAST($1 AS double precision)) / CAST($3 AS double precision)) AS bigint)"
    ),
)
_BAD: Final = frozenset({"failed", "stuck", "stalled", "poison", "lost"})
"""Outcomes of runs that count as errors."""


class Moment(BaseModel):
    """One slice of time. Numbers of agents and tasks are those at its end, the rest is what happened in it."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

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

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    since: float
    until: float
    width: float
    """Seconds of a slice."""
    points: tuple[Moment, ...]


def series(conn: Connection, pool: str | None, seconds: float, slices: int) -> Series:
    """Return the last ``seconds`` of one pool, or of all, in ``slices``.

    The span is shorter where the event log begins later, or holds more than ``MOST`` events of interest.
    """
    until = now(conn)
    begin, place = _place(conn, until - seconds)
    told = _told.all(conn, place, ["task.claimed", "agent.ordered", "agent.left"], MOST)
    if len(told) == MOST:
        begin = max(begin, told[-1][0])
    width = max((until - begin) / slices, 0.001)
    claims = [
        (at, float(orjson.loads(data).get("waited", 0.0)))
        for at, kind, agent, data in told
        if kind == "task.claimed" and _of(pool, agent or "")
    ]
    still = [at for name, at in _queued.all(conn) if pool is None or name == pool]
    runs = _runs.all(conn, pool, begin, until)
    slots = _Slots(begin, width, slices)
    queued = slots.standing([*((at - wait, at) for at, wait in claims), *((at, None) for at in still)])
    busy = slots.standing((started, ended) for started, ended, _ in runs)
    here = sum(1 for seat in seats.all_seats(conn) if pool is None or seat.profile == pool)
    agents = slots.counted_back(
        here,
        [
            (at, 1 if kind == "agent.ordered" else -1)
            for at, kind, agent, _ in told
            if kind != "task.claimed" and _of(pool, agent or "")
        ],
    )
    waits = slots.largest(claims)
    errors = slots.count(ended for _, ended, outcome in runs if ended is not None and outcome in _BAD)
    spent = {
        int(slot): (int(cost), int(unknown)) for slot, cost, unknown in _usage.all(conn, begin, until, width, pool)
    }
    points = tuple(
        Moment(
            at=begin + slot * width,
            queued=queued[slot],
            wait=waits[slot],
            agents=agents[slot],
            busy=busy[slot],
            cost_usd=spent.get(slot, (0, 0))[0] / 1e9,
            unknown_calls=spent.get(slot, (0, 0))[1],
            errors=errors[slot],
        )
        for slot in range(slices)
    )
    return Series(since=begin, until=until, width=width, points=points)


def _of(pool: str | None, agent: str) -> bool:
    return pool is None or profile_of(agent) == pool


def _place(conn: Connection, since: float) -> tuple[float, int]:
    """Return when the series begins, and the number of the first event at or after ``since``, by bisection."""
    ends = _ends.first(conn)
    if ends is None or ends[0] is None:
        return since, 0
    low, high = int(ends[0]), int(ends[1]) + 1
    oldest = _first.first(conn, low)
    begin = max(since, oldest[0]) if oldest is not None else since
    while low < high:
        middle = (low + high) // 2
        found = _first.first(conn, middle)
        if found is None or found[0] >= since:
            high = middle
        else:
            low = middle + 1
    return begin, low


class _Slots:
    """Slices of time of the same width."""

    def __init__(self, begin: float, width: float, count: int) -> None:
        self._begin = begin
        self._width = width
        self._count = count

    def _slot(self, at: float) -> int:
        return int((at - self._begin) // self._width)

    def standing(self, spans: Iterable[tuple[float, float | None]]) -> list[int]:
        """Return how many spans hold the end of each slice; one that ends nowhere goes on."""
        steps = [0] * (self._count + 1)
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
