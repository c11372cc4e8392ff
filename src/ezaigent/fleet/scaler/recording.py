"""What the fleet really had to do, as a trace for the simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ezaigent.store import Connection, Sql, now

MOST: Final = 200_000
"""Tasks of a trace at most, the newest."""

# The first claim ended the first wait; a task that was tried again counts with its last run only.
_tasks = Sql(
    """SELECT t.created_at, r.started_at, r.ended_at FROM tasks t JOIN runs r ON r.id = t.run_id
    WHERE t.created_at > CAST($1 AS double precision) AND r.ended_at IS NOT NULL AND r.outcome IS NOT NULL
    AND (CAST($2 AS text) IS NULL OR r.profile = $2) AND NOT (r.outcome IN [$4])
    ORDER BY t.created_at DESC LIMIT CAST($3 AS bigint)"""
)
_startups = Sql(
    """SELECT ready_at - ordered_at FROM seats WHERE ready_at IS NOT NULL AND (CAST($1 AS text) IS NULL OR profile = $1)
    ORDER BY ready_at - ordered_at"""
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """Tasks in order of arrival."""

    arrivals: tuple[float, ...]
    """Seconds since the first one."""
    services: tuple[float, ...]
    """Seconds from claim to settled of each."""
    startup: float | None
    """Seconds that a start takes: the median of the agents that are there; None where nobody knows."""


def recorded(conn: Connection, pool: str | None, seconds: float, *, most: int = MOST) -> Recorded:
    """Return the tasks that arrived within the last ``seconds`` and were worked, by one pool's agents or all.

    Of more than ``most`` tasks they are the newest.
    """
    rows = _tasks.all(conn, now(conn) - seconds, pool, most, ["lost", "released", "cancelled"])
    tasks = sorted((created, max(0.0, ended - started)) for created, started, ended in rows)
    startups = [row[0] for row in _startups.all(conn, pool)]
    first = tasks[0][0] if tasks else 0.0
    return Recorded(
        tuple(at - first for at, _ in tasks),
        tuple(length for _, length in tasks),
        max(0.0, startups[len(startups) // 2]) if startups else None,
    )
