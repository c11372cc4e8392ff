"""The autoscaler's SQL: what a look reads, and what is written down of a decision."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ezaigent.fleet import queries, seats
from ezaigent.fleet.models import WorkerInfo
from ezaigent.fleet.scaler.facts import RunEnd, is_limit
from ezaigent.fleet.scaler.memory import DAY, HOUR
from ezaigent.fleet.seats import Seat
from ezaigent.store import Connection, Sql, now
from ezaigent.tasks import Pauses, pauses

KEPT: Final = 30 * DAY
"""Seconds that decisions are kept."""

_queued = Sql("SELECT pool, count(*) FROM tasks WHERE state = 'queued' GROUP BY pool")
_busy = Sql(
    """SELECT t.agent, coalesce(r.started_at, t.updated_at) FROM tasks t LEFT JOIN runs r ON r.id = t.run_id
    WHERE t.state = 'running' AND t.lease_until > {now} AND t.agent IS NOT NULL"""
)
_runs = Sql("SELECT id, profile, started_at, ended_at, outcome, task_id FROM runs WHERE id IN [$1] AND ended_at > 0")
_trouble = Sql(
    """SELECT data FROM events WHERE task_id = $1 AND run_id = $2 AND kind = 'run.provider_error'
    ORDER BY seq DESC LIMIT 1"""
)
_answers = Sql(
    "SELECT profile, count(*) FROM usage WHERE at > CAST($1 AS double precision) AND outcome = 'ok' GROUP BY profile"
)
# What the providers' meters count; what was read from a cache is no input to most of them.
_metered = Sql(
    """SELECT provider, model, count(*), sum(input_tokens - cache_read_tokens), sum(output_tokens),
    sum(input_tokens - cache_read_tokens + output_tokens)
    FROM usage WHERE at > CAST($1 AS double precision) AND outcome <> 'refused' GROUP BY provider, model"""
)
_spent = Sql(
    """SELECT profile, coalesce(sum(CASE WHEN at >= CAST($2 AS double precision) THEN cost_nusd ELSE 0 END), 0),
    coalesce(sum(cost_nusd), 0) FROM usage WHERE at >= CAST($1 AS double precision) GROUP BY profile"""
)
_record = Sql("INSERT INTO decisions (at, pool, data) VALUES ($1, $2, $3)")
_prune = Sql("DELETE FROM decisions WHERE at < CAST($1 AS double precision)")
_history = Sql(
    """SELECT id, at, pool, data FROM decisions WHERE (CAST($1 AS text) IS NULL OR pool = $1)
    AND (CAST($3 AS bigint) IS NULL OR id < $3) ORDER BY id DESC LIMIT CAST($2 AS bigint)"""
)


@dataclass(frozen=True, slots=True)
class Look:
    """What the store says at one moment."""

    at: float
    seats: Sequence[Seat]
    workers: Mapping[str, WorkerInfo]
    """Live workers by id."""
    busy: Mapping[str, float]
    """Agents with a task under a live lease, and since when."""
    queued: Mapping[str, int]
    paused: Pauses
    answers: Mapping[str, int]
    """Model calls of the last minute that were answered, by profile."""
    metered: Mapping[str, Mapping[str, float]]
    """What was used of each model (``provider:name``) in the last minute, by meter."""
    spent: Mapping[str, tuple[int, int]]
    """Nano-USD of the present hour and day (UTC) by profile; empty where it was not asked for."""


def look(conn: Connection, *, alive: frozenset[str] | None, spending: bool) -> Look:
    """Read what a decision needs. Workers count as live while they are heard of, and only those ``alive``."""
    at = now(conn)
    return Look(
        at=at,
        seats=seats.all_seats(conn),
        workers={worker.id: worker for worker in queries.workers(conn, alive)},
        busy=_pairs(_busy.all(conn)),
        queued=_pairs(_queued.all(conn)),
        paused=pauses(conn),
        answers=_pairs(_answers.all(conn, at - 60.0)),
        metered={
            f"{provider}:{model}": {
                "requests": float(calls),
                "input_tokens": float(inward),
                "output_tokens": float(outward),
                "tokens": float(both),
            }
            for provider, model, calls, inward, outward, both in _metered.all(conn, at - 60.0)
        },
        spent={
            pool: (int(hour), int(day))
            for pool, hour, day in (_spent.all(conn, at // DAY * DAY, at // HOUR * HOUR) if spending else ())
        },
    )


def _pairs(rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    return {row[0]: row[1] for row in rows}


def hosting(conn: Connection, alive: frozenset[str] | None) -> tuple[list[Seat], list[WorkerInfo]]:
    """Return all seats and the live workers."""
    return seats.all_seats(conn), queries.workers(conn, alive)


def clear_unhosted(conn: Connection, alive: frozenset[str] | None) -> None:
    """Give up the seats that nobody hosts and no live worker could: whoever ordered them goes."""
    all_seats, workers = hosting(conn, alive)
    hosts = {profile for worker in workers for profile in worker.hosts}
    waiting = [seat for seat in all_seats if seat.worker is None and not seat.pinned and seat.profile not in hosts]
    seats.leave(conn, [seat.agent for seat in waiting], "the autoscaler ends", recallable=False)


def run_ends(conn: Connection, ids: Collection[str]) -> dict[str, RunEnd]:
    """Return how these runs ended, those that did."""
    found: dict[str, RunEnd] = {}
    for run, pool, started, ended, outcome, task in _runs.all(conn, sorted(ids)) if ids else ():
        trouble = _trouble.first(conn, task, run) if outcome == "failed" else None
        limited = trouble is not None and is_limit(orjson.loads(trouble[0]).get("kind"))
        found[run] = RunEnd(pool, started, ended, outcome, limited)
    return found


def record(conn: Connection, at: float, pool: str, data: Mapping[str, Any]) -> None:
    """Keep a decision."""
    _record.run(conn, at, pool, orjson.dumps(data).decode())


def prune(conn: Connection) -> None:
    """Forget old decisions."""
    _prune.run(conn, now(conn) - KEPT)


def history(conn: Connection, pool: str | None, limit: int, before: int | None) -> list[dict[str, Any]]:
    """Return decisions with their number and time, newest first."""
    return [
        {"id": number, "at": at, **orjson.loads(data), "pool": name}
        for number, at, name, data in _history.all(conn, pool, limit, before)
    ]
