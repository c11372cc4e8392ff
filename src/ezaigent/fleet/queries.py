"""The fleet's SQL: the table of workers, and who works on what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import orjson

from ezaigent.fleet import seats
from ezaigent.fleet.models import WorkerInfo
from ezaigent.store import Connection, Sql, emit
from ezaigent.tasks import SETTLED


def _by_lease(text: str) -> Sql:
    """Return a statement in which ``{lease}`` is the lease that a worker announced, not that of whoever looks."""
    return Sql(
        sqlite=text.replace("{lease}", "coalesce(json_extract(info, '$.lease'), 30.0)"),
        postgresql=text.replace("{lease}", "coalesce((info::json->>'lease')::float8, 30.0)"),
    )


class Held(NamedTuple):
    """A task that an agent holds."""

    task_id: str
    title: str
    model: str | None
    """``provider:model`` that the run uses; None while it has asked none, or the first one did not answer yet."""


SILENCE: Final = 1.5
"""Leases of its own after which a worker that said nothing is no longer counted on: its tasks are free after one."""

_live = _by_lease(
    """SELECT info, seen_at FROM workers WHERE seen_at > {now} - CAST($1 AS double precision) * {lease}
    ORDER BY started_at, id"""
)
_insert = Sql(
    """INSERT INTO workers (id, host, pid, version, started_at, seen_at, info)
    VALUES ($1, $2, $3, $4, {now}, {now} - CAST($6 AS double precision), $5) ON CONFLICT (id) DO NOTHING"""
)
_note = Sql("UPDATE workers SET info = $2 WHERE id = $1")
_ids = Sql("SELECT id FROM workers ORDER BY id")
_silent = _by_lease("SELECT id FROM workers WHERE seen_at < {now} - CAST($1 AS double precision) * {lease} ORDER BY id")
_ahead = Sql("SELECT id FROM workers WHERE seen_at > {now} + 1 ORDER BY id")
_lose = _by_lease(
    """DELETE FROM workers WHERE id IN [$1]
    AND (CAST($2 AS double precision) IS NULL OR seen_at < {now} - CAST($2 AS double precision))
    AND (CAST($5 AS double precision) IS NULL OR seen_at < {now} - CAST($5 AS double precision) * {lease}
        OR seen_at > {now} + 1)
    AND (CAST($3 AS double precision) IS NULL OR EXISTS (
        SELECT 1 FROM workers AS judge WHERE judge.id = $4 AND judge.seen_at >= {now} - CAST($3 AS double precision)))
    RETURNING id, host, pid, {now} - seen_at"""
)
_end_leases = Sql(
    """UPDATE tasks SET lease_until = {now} WHERE state = 'running' AND lease_until > {now} AND worker = $1"""
)
_end_unknown_leases = Sql(
    """UPDATE tasks SET lease_until = {now} WHERE state = 'running' AND lease_until > {now}
    AND NOT EXISTS (SELECT 1 FROM workers WHERE workers.id = tasks.worker)"""
)
_seen = Sql("UPDATE workers SET seen_at = {now} - CAST($2 AS double precision) WHERE id = $1")
_heard = "SELECT 1 FROM workers WHERE id = $1 AND seen_at > {now} - CAST($2 AS double precision)"
_known = Sql(sqlite=_heard, postgresql=f"{_heard} FOR KEY SHARE SKIP LOCKED")
_delete = Sql("DELETE FROM workers WHERE id = $1")
# The model that answered last, unless a newer call failed: then the one that the run went on with, if it did.
_CALLS: Final = "FROM usage WHERE usage.task_id = tasks.id AND usage.run_id = tasks.run_id"
_MOVED: Final = 100
"""Newest events of a task among which a change of the model is looked for: no answer came since."""
_busy_with = f"""SELECT agent, id, title, COALESCE(
    (SELECT CASE WHEN outcome = 'ok' THEN provider || ':' || model END {_CALLS} ORDER BY usage.id DESC LIMIT 1),
    (SELECT {{moved}} FROM (SELECT seq, kind, run_id, data FROM events WHERE events.task_id = tasks.id
        ORDER BY seq DESC LIMIT {_MOVED}) AS newest
        WHERE newest.kind = 'run.failover' AND newest.run_id = tasks.run_id ORDER BY newest.seq DESC LIMIT 1),
    (SELECT provider || ':' || model {_CALLS} AND outcome = 'ok' ORDER BY usage.id DESC LIMIT 1))
    FROM tasks WHERE state = 'running' AND lease_until > {{now}}"""  # noqa: S608 - our own text
_busy = Sql(
    sqlite=_busy_with.replace("{moved}", "json_extract(newest.data, '$.to')"),
    postgresql=_busy_with.replace("{moved}", "newest.data::json->>'to'"),
)
_ended = Sql("SELECT id, finished_at FROM tasks WHERE state IN [$1]")
_ended_with_reservations = Sql(
    """SELECT DISTINCT tasks.id FROM reservations JOIN tasks ON tasks.id = reservations.task_id
    WHERE tasks.state IN [$1]"""
)


def register(conn: Connection, info: WorkerInfo, asked: Mapping[str, int], behind: float = 0.0) -> WorkerInfo:
    """Enter the worker with the agents that a person asked it for, by profile; return it with their names.

    It is noted as heard of ``behind`` seconds ago.
    """
    enter(conn, info, behind)
    named = agents_of(conn, info, asked)
    emit(
        conn,
        "worker.started",
        data={"worker": info.id, "host": info.host, "pid": info.pid, "version": info.version}
        | {"sandbox": info.sandbox, "agents": named.agents},
    )
    return named


def enter(conn: Connection, info: WorkerInfo, behind: float = 0.0) -> bool:
    """Put the worker on the list, as heard of ``behind`` seconds ago; return whether it was not there."""
    return bool(_insert.run(conn, info.id, info.host, info.pid, info.version, _text(info), behind))


def agents_of(conn: Connection, info: WorkerInfo, asked: Mapping[str, int]) -> WorkerInfo:
    """Order what the worker lacks of the agents ``asked`` for, and return it with the names of all it hosts."""
    have = Counter(seat.profile for seat in seats.hosted(conn, info.id) if seat.pinned)
    for profile, count in asked.items():
        seats.order(conn, profile, max(0, count - have[profile]), pinned=True, worker=info.id)
    return note(conn, info, [seat.agent for seat in seats.hosted(conn, info.id)])


def note(conn: Connection, info: WorkerInfo, agents: Sequence[str]) -> WorkerInfo:
    """Keep which agents the worker hosts; return it with them."""
    named = info.model_copy(update={"agents": tuple(agents)})
    _note.run(conn, info.id, _text(named))
    return named


def _text(info: WorkerInfo) -> str:
    return orjson.dumps(info.model_dump(exclude={"seen_at"})).decode()


def workers(conn: Connection, alive: frozenset[str] | None, *, leases: float = SILENCE) -> list[WorkerInfo]:
    """Return the workers heard of within so many of their own ``leases``, and ``alive`` where that can be known."""
    found = [
        WorkerInfo.model_validate({**orjson.loads(info), "seen_at": seen_at})
        for info, seen_at in _live.all(conn, leases)
    ]
    return [worker for worker in found if alive is None or worker.id in alive]


def ids(conn: Connection) -> list[str]:
    """Return the ids of all workers on the list."""
    return [row[0] for row in _ids.all(conn)]


def silent(conn: Connection, leases: float) -> list[str]:
    """Return the ids of the workers that were not heard of for so many of their own leases."""
    return [row[0] for row in _silent.all(conn, leases)]


def ahead(conn: Connection) -> list[str]:
    """Return the ids of the workers whose last word is in the future: they said nothing since the clock went back."""
    return [row[0] for row in _ahead.all(conn)]


def seen(conn: Connection, worker: str, behind: float = 0.0) -> bool:
    """Note that the worker was alive ``behind`` seconds ago; return whether it is on the list, and not lost."""
    return bool(_seen.run(conn, worker, behind))


def known(conn: Connection, worker: str, fresh: float) -> bool:
    """Return whether the worker is on the list and was heard of within ``fresh`` seconds.

    Until the transaction ends nobody counts it as lost; where somebody is just doing that, it is not known.
    """
    return _known.first(conn, worker, fresh) is not None


def leave(conn: Connection, worker: str, reason: str) -> None:
    """Take the worker off the list; its seats wait for another one or are gone."""
    _delete.run(conn, worker)
    seats.orphans(conn, ids(conn), f"its worker {reason}")
    emit(conn, "worker.stopped", data={"worker": worker, "reason": reason})


def lose(
    conn: Connection,
    dead: Sequence[str],
    reason: str,
    *,
    by: str,
    silent_for: float | None = None,
    leases: float | None = None,
    heard_for: float | None = None,
) -> list[str]:
    """Take workers that died off the list, end their leases now, and free their seats; return their ids.

    Of several peers that find it out, one does it. Whoever was heard of within ``silent_for`` seconds, or so many of
    its own ``leases`` and not in the future, stays; None: they are known to be dead. Nobody is lost where ``by`` itself
    was not heard of within ``heard_for`` seconds: a store that stood still makes all look silent.
    """
    lost = _lose.all(conn, list(dead), silent_for, heard_for, by, leases)
    for worker, host, pid, silence in lost:
        tasks = _end_leases.run(conn, worker)
        data = {"worker": worker, "host": host, "pid": pid, "reason": reason, "by": by}
        emit(conn, "worker.lost", data={**data, "silent": round(silence, 3), "tasks": tasks})
    if lost:
        seats.orphans(conn, ids(conn), "its worker was lost")
    return [row[0] for row in lost]


def end_unknown_leases(conn: Connection) -> int:
    """End the leases of workers that are not on the list and free their seats; return how many leases."""
    seats.orphans(conn, ids(conn), "its worker is unknown")
    return _end_unknown_leases.run(conn)


def busy(conn: Connection) -> dict[str, Held]:
    """Return the task of each agent that holds a live lease."""
    return {agent: Held(*held) for agent, *held in _busy.all(conn)}


def ended(conn: Connection) -> dict[str, float]:
    """Return when each settled task ended (seconds since 1970), by id."""
    return {task: at for task, at in _ended.all(conn, sorted(SETTLED)) if at is not None}


def ended_with_reservations(conn: Connection) -> list[str]:
    """Return the settled tasks for which money is still held."""
    return [row[0] for row in _ended_with_reservations.all(conn, sorted(SETTLED))]
