"""The rows that a series is made of: one reading of the store, of a bounded size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ezaigent.fleet import seats
from ezaigent.store import Connection, Sql, now

MOST: Final = 20_000
"""Events, and runs, read at most, the newest: so many hold up the reading process for a moment only."""

_first = Sql("SELECT at FROM events WHERE seq >= $1 ORDER BY seq LIMIT 1")
_ends = Sql("SELECT min(seq), max(seq) FROM events")
_told = Sql(
    """SELECT at, kind, agent, data FROM events WHERE seq >= $1 AND kind IN [$2]
    ORDER BY seq DESC LIMIT CAST($3 AS bigint)"""
)
# Those that ended last come first, so what is left out ended before all that is read.
_runs = Sql(
    """SELECT started_at, ended_at, outcome FROM runs WHERE (CAST($1 AS text) IS NULL OR profile = $1)
    AND started_at < CAST($3 AS double precision) AND (ended_at IS NULL OR ended_at >= CAST($2 AS double precision))
    ORDER BY CASE WHEN ended_at IS NULL THEN 0 ELSE 1 END, ended_at DESC LIMIT CAST($4 AS bigint)"""
)
_QUEUED: Final = """SELECT {slot}, count(*) FROM tasks
    WHERE state = 'queued' AND queued_at < CAST($2 AS double precision)
    AND (CAST($4 AS text) IS NULL OR pool = $4) GROUP BY 1"""
_USAGE: Final = """SELECT {slot}, coalesce(sum(cost_nusd), 0), sum(CASE WHEN cost_nusd IS NULL THEN 1 ELSE 0 END)
    FROM usage WHERE at >= CAST($1 AS double precision) AND at < CAST($2 AS double precision)
    AND (CAST($4 AS text) IS NULL OR profile = $4) GROUP BY 1"""


def _sliced(text: str, time: str) -> Sql:
    """Return the statement with the number of the slice that the column ``time`` lies in; 0 for earlier ones."""
    lite = f"CASE WHEN {time} < $1 THEN 0 ELSE CAST(({time} - $1) / $3 AS INTEGER) END"
    post = (
        f"CASE WHEN {time} < CAST($1 AS double precision) THEN 0 ELSE "
        f"CAST(floor(({time} - CAST($1 AS double precision)) / CAST($3 AS double precision)) AS bigint) END"
    )
    return Sql(sqlite=text.replace("{slot}", lite), postgresql=text.replace("{slot}", post))


_queued = _sliced(_QUEUED, "queued_at")
_usage = _sliced(_USAGE, "at")


@dataclass(frozen=True, slots=True)
class Past:
    """What was read, newest first. Times are seconds since 1970, database time."""

    pool: str | None
    since: float
    until: float
    width: float
    """Seconds of a slice."""
    slices: int
    cut: bool
    """Whether it begins later than it could, because there is more than is read at once."""
    told: tuple[tuple[float, str, str, str], ...]
    """Time, kind, agent and data of events, those of other pools too."""
    runs: tuple[tuple[float, float | None, str | None], ...]
    """Beginning, end and outcome of the pool's runs."""
    queued: dict[int, int]
    """Tasks that wait now, by the slice since which they do."""
    here: int
    """Agents that are there or on the way now."""
    spent: dict[int, tuple[int, int]]
    """Known cost in nano-USD and calls of unknown price, by slice."""


def past(conn: Connection, pool: str | None, seconds: float, slices: int, *, most: int = MOST) -> Past:
    """Read the last ``seconds`` of one pool, or of all, for ``slices`` slices.

    The span is shorter where the event log begins later, and where there were more than ``most`` events of interest or
    runs in it.
    """
    until = now(conn)
    begin, place = _place(conn, until - seconds)
    told = _told.all(conn, place, ["task.claimed", "agent.ordered", "agent.left"], most + 1)
    runs = _runs.all(conn, pool, begin, until, most + 1)
    cut = False
    if len(told) > most:
        told = told[:most]
        cut, begin = True, max(begin, told[-1][0])
    if len(runs) > most:
        runs = runs[:most]
        last = runs[-1][1]
        cut, begin = True, max(begin, until if last is None else last)
    width = max((until - begin) / slices, 0.001)
    return Past(
        pool=pool,
        since=begin,
        until=until,
        width=width,
        slices=slices,
        cut=cut,
        told=tuple((at, kind, agent or "", data) for at, kind, agent, data in told),
        runs=tuple((started, ended, outcome) for started, ended, outcome in runs),
        queued={int(slot): int(count) for slot, count in _queued.all(conn, begin, until, width, pool)},
        here=sum(1 for seat in seats.all_seats(conn) if pool is None or seat.profile == pool),
        spent={
            int(slot): (int(cost), int(unknown)) for slot, cost, unknown in _usage.all(conn, begin, until, width, pool)
        },
    )


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
