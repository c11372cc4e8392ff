"""The fleet's SQL: the table of workers, and who works on what."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from ezaigent.fleet.models import WorkerInfo
from ezaigent.store import Connection, Sql, emit
from ezaigent.tasks import SETTLED, Slot

_lock = Sql(sqlite="SELECT 1", postgresql="LOCK TABLE workers IN SHARE ROW EXCLUSIVE MODE")
_live = Sql("SELECT info, seen_at FROM workers WHERE seen_at > {now} - $1 ORDER BY started_at, id")
_insert = Sql(
    """INSERT INTO workers (id, host, pid, version, started_at, seen_at, info)
    VALUES ($1, $2, $3, $4, {now}, {now}, $5)"""
)
_seen = Sql("UPDATE workers SET seen_at = {now} WHERE id = $1")
_delete = Sql("DELETE FROM workers WHERE id = $1")
_forget = Sql("DELETE FROM workers WHERE seen_at < {now} - $1")
_busy = Sql("SELECT agent, id, title FROM tasks WHERE state = 'running' AND lease_until > {now}")
_ended = Sql("SELECT id, finished_at FROM tasks WHERE state IN [$1]")
_ended_with_reservations = Sql(
    """SELECT DISTINCT tasks.id FROM reservations JOIN tasks ON tasks.id = reservations.task_id
    WHERE tasks.state IN [$1]"""
)
_paused = Sql("SELECT name FROM agents WHERE paused")

_KEPT = 86_400.0
"""Seconds that the row of a silent worker is kept."""


def register(
    conn: Connection, info: WorkerInfo, wanted: Sequence[Slot], fresh: float, alive: frozenset[str] | None
) -> tuple[WorkerInfo, list[Slot]]:
    """Enter the worker; its agents get the lowest numbers that no live worker's agents have."""
    if conn.dialect.name != "sqlite":  # two workers that start at once must not take the same names
        _lock.run(conn)
    _forget.run(conn, _KEPT)
    taken = {name for worker in workers(conn, fresh, alive) for name in worker.agents}
    slots: list[Slot] = []
    for slot in wanted:
        number = 1
        while f"{slot.profile}-{number}" in taken:
            number += 1
        name = f"{slot.profile}-{number}"
        taken.add(name)
        slots.append(slot.model_copy(update={"agent": name}))
    named = info.model_copy(update={"agents": tuple(slot.agent for slot in slots)})
    _insert.run(conn, info.id, info.host, info.pid, info.version, orjson.dumps(named.model_dump()).decode())
    emit(
        conn,
        "worker.started",
        data={"worker": info.id, "host": info.host, "pid": info.pid, "version": info.version}
        | {"sandbox": info.sandbox, "agents": named.agents},
    )
    return named, slots


def workers(conn: Connection, fresh: float, alive: frozenset[str] | None) -> list[WorkerInfo]:
    """Return the workers heard of within ``fresh`` seconds, and known to be ``alive`` where that can be known."""
    found = [
        WorkerInfo.model_validate({**orjson.loads(info), "seen_at": seen_at})
        for info, seen_at in _live.all(conn, fresh)
    ]
    return [worker for worker in found if alive is None or worker.id in alive]


def seen(conn: Connection, worker: str) -> None:
    """Note that the worker is alive."""
    _seen.run(conn, worker)


def leave(conn: Connection, worker: str, reason: str) -> None:
    """Take the worker off the list."""
    _delete.run(conn, worker)
    emit(conn, "worker.stopped", data={"worker": worker, "reason": reason})


def busy(conn: Connection) -> dict[str, tuple[str, str]]:
    """Return the task (id, title) of each agent that holds a live lease."""
    return {agent: (task, title) for agent, task, title in _busy.all(conn)}


def paused(conn: Connection) -> set[str]:
    """Return the names of paused agents."""
    return {row[0] for row in _paused.all(conn)}


def ended(conn: Connection) -> dict[str, float]:
    """Return when each settled task ended (seconds since 1970), by id."""
    return {task: at for task, at in _ended.all(conn, sorted(SETTLED)) if at is not None}


def ended_with_reservations(conn: Connection) -> list[str]:
    """Return the settled tasks for which money is still held."""
    return [row[0] for row in _ended_with_reservations.all(conn, sorted(SETTLED))]
