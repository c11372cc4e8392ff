"""The SQL of the queue. Nothing here decides anything: rows are loaded, moved elsewhere and saved."""

# ruff: noqa: S608 - what is put into the texts are the names of our own columns

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, Final, NamedTuple

import orjson

from ezaigent.core.errors import StaleFence
from ezaigent.store import Bulk, BulkInsert, BulkUpdate, Connection, Rows, Sql, tables
from ezaigent.tasks.models import Message, State
from ezaigent.tasks.rows import ALL_COLUMNS, COLUMNS, MUTABLE, STORED, FullRow, TaskRow, all_values, mutable_values

# A task that never ran has none: a claim of a hundred new ones need not look into the journal a hundred times.
_STEPS: Final = "CASE WHEN fence = 0 THEN 0 ELSE (SELECT count(*) FROM journal WHERE journal.task_id = tasks.id) END"


def _columns(names: Sequence[str]) -> str:
    return ", ".join(_STEPS if name == "steps" else f'"{name}"' for name in names)


_ROW: Final = _columns(COLUMNS)
_ALL: Final = _columns(ALL_COLUMNS)

# ---------------------------------------------------------------------------------------------- load and save

_load = Sql(f"SELECT {{now}}, {_ROW} FROM tasks WHERE id IN [$1] ORDER BY id {{for_update}}")
_load_free = Sql(f"SELECT {{now}}, {_ALL} FROM tasks WHERE id IN [$1] ORDER BY id {{skip_locked}}")
_by_key = Sql(f'SELECT {_ALL} FROM tasks WHERE "key" IN [$1]')
_resolve = Sql('SELECT id, "key" FROM tasks WHERE id IN [$1] OR "key" IN [$1]')
_by_ids = Sql(f"SELECT {_ALL} FROM tasks WHERE id IN [$1] ORDER BY id DESC")
# A range of the primary key: ~ sorts behind every character of an id.
_by_prefix = Sql(
    f"""SELECT {_ALL} FROM tasks WHERE id >= CAST($1 AS TEXT) AND id < CAST($1 AS TEXT) || '~' ORDER BY id LIMIT 4"""
)
_list = Sql(
    f"""SELECT {_ALL} FROM tasks
    WHERE (CAST($1 AS TEXT) IS NULL OR profile = $1) AND (CAST($2 AS TEXT) IS NULL OR id < $2)
    ORDER BY id DESC LIMIT $3"""
)
_list_states = Sql(
    f"""SELECT {_ALL} FROM tasks
    WHERE (CAST($1 AS TEXT) IS NULL OR profile = $1) AND (CAST($2 AS TEXT) IS NULL OR id < $2) AND state IN [$4]
    ORDER BY id DESC LIMIT $3"""
)
_insert_tasks = BulkInsert(tables.tasks, STORED, on_conflict="ON CONFLICT (key) WHERE key IS NOT NULL DO NOTHING")


@cache
def _saving(names: tuple[str, ...]) -> tuple[BulkUpdate, attrgetter[tuple[Any, ...]]]:
    """Return what writes these columns and what takes their values out of a row; there are few such sets."""
    return BulkUpdate(tables.tasks, "id", names), attrgetter("id", *names)


def load(conn: Connection, ids: Collection[str]) -> tuple[float, dict[str, TaskRow]]:
    """Return the database's time and the tasks with these ids, locked for this transaction."""
    found = _load.all(conn, list(ids))
    clock = float(found[0][0]) if found else 0.0
    return clock, {row[1]: TaskRow.loaded(row[1:]) for row in found}


def load_free(conn: Connection, ids: Collection[str]) -> tuple[float, dict[str, FullRow]]:
    """Like ``load``, whole rows, and without those that another transaction works on: it waits for nobody."""
    found = _load_free.all(conn, list(ids))
    clock = float(found[0][0]) if found else 0.0
    return clock, {row[1]: FullRow.loaded(row[1:]) for row in found}


def save(conn: Connection, rows: Collection[TaskRow]) -> None:
    """Write back what transitions have changed."""
    bulk, given = saving(rows)
    bulk(conn, given)


def saving(rows: Collection[TaskRow]) -> tuple[Bulk, Rows]:
    """Return what writes back what transitions have changed; the rows count as saved from now on."""
    before, after = [row.before for row in rows], [mutable_values(row) for row in rows]
    changed = zip(MUTABLE, zip(*before, strict=True), zip(*after, strict=True), strict=False)  # no rows: no columns
    names = tuple(name for name, old, new in changed if old != new)
    for row, present in zip(rows, after, strict=True):
        row.before = present
    update, values = _saving(names or MUTABLE)
    return update, [values(row) for row in rows] if names else ()


def insert(conn: Connection, rows: Sequence[FullRow]) -> int:
    """Insert new tasks and return how many; one whose key is taken already is left out."""
    return _insert_tasks(conn, [all_values(row) for row in rows])


def by_keys(conn: Connection, keys: Collection[str]) -> dict[str, FullRow]:
    """Return tasks by idempotency key."""
    rows = [FullRow(*row) for row in _by_key.all(conn, list(keys))] if keys else []
    return {row.key: row for row in rows if row.key is not None}


def resolve(conn: Connection, names: Collection[str]) -> dict[str, str]:
    """Return task ids by id or key."""
    found = _resolve.all(conn, list(names)) if names else ()
    return {str(name): task_id for task_id, key in found for name in (key, task_id) if name is not None}


def by_prefix(conn: Connection, prefix: str) -> list[FullRow]:
    """Return the first few tasks whose id begins with ``prefix``."""
    return [FullRow(*row) for row in _by_prefix.all(conn, prefix)]


def by_ids(conn: Connection, ids: Sequence[str]) -> list[FullRow]:
    """Return tasks, newest first."""
    return [FullRow(*row) for row in _by_ids.all(conn, list(ids))] if ids else []


def listed(
    conn: Connection, states: Sequence[str] | None, profile: str | None, limit: int, before: str | None
) -> list[FullRow]:
    """Return tasks, newest first."""
    if states is None:
        return [FullRow(*row) for row in _list.all(conn, profile, before, limit)]
    return [FullRow(*row) for row in _list_states.all(conn, profile, before, limit, list(states))]


# ---------------------------------------------------------------------------------------------- fence and lease

_fence = Sql("SELECT fence, state FROM tasks WHERE id = $1 {for_update}")
_renew = Sql(
    """UPDATE tasks SET lease_until = {now} + CAST($4 AS double precision)
    WHERE id IN [$2] AND run_id IN [$3] AND worker = $1 AND state = 'running'
    RETURNING run_id, fence, cancel_requested"""
)
_expire = Sql(
    """UPDATE tasks SET lease_until = {now}
    WHERE state = 'running' AND lease_until > {now} AND NOT (worker IN [$1])"""
)
_silent = Sql("SELECT 1 FROM workers WHERE id = $1 AND seen_at < {now} - CAST($2 AS double precision)")
_forget_workers = Sql("DELETE FROM workers WHERE NOT (id IN [$1])")


def guard(conn: Connection, task_id: str, fence: int) -> None:
    """Raise ``StaleFence`` unless this fence is the present one of a running task.

    The task's row stays locked until the transaction ends, so nobody can claim the task in between.
    """
    row = _fence.first(conn, task_id)
    present, state = row or (None, "gone")
    if present != fence or state != "running":
        raise stale(task_id, fence, present, state)


def stale(task_id: str, fence: int, present: int | None, state: str) -> StaleFence:
    """Return the error for a write that comes too late."""
    return StaleFence(f"run {fence} of task {task_id} may write nothing more: the task is {state} at run {present}")


def renew(
    conn: Connection, worker: str, ids: list[str], run_ids: list[str], lease: float
) -> dict[str, tuple[int, bool]]:
    """Prolong leases; return fence and cancel request of the runs that still hold theirs."""
    return {row[0]: (row[1], bool(row[2])) for row in _renew.all(conn, worker, ids, run_ids, lease)}


def silent(conn: Connection, worker: str, seconds: float) -> bool:
    """Return whether a worker of the list was not heard of for so long."""
    return _silent.first(conn, worker, seconds) is not None


def expire(conn: Connection, alive: Collection[str]) -> int:
    """End the leases of all workers but those ``alive`` now, and forget those workers."""
    _forget_workers.run(conn, list(alive))
    return _expire.run(conn, list(alive))


# ---------------------------------------------------------------------------------------------- runs

_insert_runs = BulkInsert(
    tables.runs, ("id", "task_id", "session", "fence", "agent", "profile", "worker", "started_at")
)
_stalls = Sql(
    """SELECT count(*) FROM runs
    WHERE id > $1 AND id < $2 AND outcome = 'stalled' AND session > CAST($3 AS integer)"""
)
_LATELY: Final = 20_000
"""Events that are looked through for deaths: there is no index by kind, and older ones say nothing."""
_other_deaths = Sql(
    f"""SELECT data FROM events WHERE seq > (SELECT coalesce(max(seq), 0) - {_LATELY} FROM events)
    AND kind IN ('worker.lost', 'task.lease_expired') AND at >= (SELECT min(ended_at) FROM runs
        WHERE id > $1 AND id < $2 AND outcome = 'lost' AND session = CAST($3 AS integer))"""
)
_lost_with = Sql("SELECT worker FROM runs WHERE id > $1 AND id < $2 AND outcome = 'lost'")
_progressed = Sql(
    """SELECT t.id FROM tasks t WHERE t.id IN [$1] AND EXISTS (
        SELECT 1 FROM journal j WHERE j.task_id = t.id AND j.session = t.session AND j.fence = t.fence)"""
)
_end_runs = BulkUpdate(tables.runs, "id", ("ended_at", "outcome", "reason"))


def stalls(conn: Connection, task_id: str, session: int) -> int:
    """Return how many runs of the task stood still in sessions after this one."""
    found = _stalls.first(conn, f"{task_id}-", f"{task_id}.", session)
    return int(found[0]) if found is not None else 0


def other_deaths(conn: Connection, row: TaskRow) -> int:
    """Return how many workers that did not have the task died since it first lost one in this attempt."""
    runs = (f"{row.id}-", f"{row.id}.")
    dead = {orjson.loads(data)["worker"] for (data,) in _other_deaths.all(conn, *runs, row.session)}
    return len(dead - {worker for (worker,) in _lost_with.all(conn, *runs)} - {row.worker})


def progressed(conn: Connection, ids: Collection[str]) -> set[str]:
    """Return which of these tasks have a step that their present run journaled."""
    return {row[0] for row in _progressed.all(conn, list(ids))} if ids else set()


def entering(rows: Rows) -> tuple[Bulk, Rows]:
    """Return what enters runs: id, task, session, fence, agent, profile, worker, start."""
    return _insert_runs, rows


def ending(rows: Sequence[tuple[str, float, str, str]]) -> tuple[Bulk, Rows]:
    """Return what closes runs: id, end, outcome, reason."""
    return _end_runs, rows


# ---------------------------------------------------------------------------------------------- needs

_insert_needs = BulkInsert(tables.needs, ("task_id", "needs_id"))
_insert_ledgers = BulkInsert(tables.ledgers, ("key", "limit_nusd"))
_dependents = Sql(
    """SELECT id FROM tasks WHERE state = 'waiting' AND id IN (SELECT task_id FROM needs WHERE needs_id IN [$1])
    ORDER BY id {for_update}"""
)
_unmet = Sql(
    """SELECT DISTINCT n.task_id FROM needs n JOIN tasks t ON t.id = n.needs_id
    WHERE n.task_id IN [$1] AND NOT (n.needs_id IN [$2]) AND t.state NOT IN ('review', 'done')"""
)
_needed = Sql(
    """SELECT t.id, t.title, t.state, t.reason FROM needs n JOIN tasks t ON t.id = n.needs_id
    WHERE n.task_id = $1 AND t.state NOT IN ('review', 'done') ORDER BY t.id"""
)
_lock_needed = Sql(
    "SELECT id FROM tasks WHERE id IN (SELECT needs_id FROM needs WHERE task_id = $1) ORDER BY id {for_update}"
)
_due = Sql(
    f"""SELECT {{now}}, {_ROW} FROM tasks WHERE wake_at IS NOT NULL AND wake_at <= {{now}}
    ORDER BY wake_at LIMIT 1000 {{skip_locked}}"""
)


class Needed(NamedTuple):
    """A task that another one waits for."""

    id: str
    title: str
    state: str
    reason: str


def insert_needs(conn: Connection, pairs: Sequence[tuple[str, str]]) -> None:
    """Enter which task needs which."""
    _insert_needs(conn, pairs)


def insert_ledgers(conn: Connection, limits: Sequence[tuple[str, int]]) -> None:
    """Open ledgers: key, cap in nano-USD."""
    _insert_ledgers(conn, limits)


def dependents(conn: Connection, ids: Collection[str]) -> list[str]:
    """Return the waiting tasks that need one of these, locked.

    Locked first and judged after: of two needs that end at the same time, the second one sees the first.
    """
    return [row[0] for row in _dependents.all(conn, list(ids))]


def unmet(conn: Connection, ids: Collection[str], met: Collection[str] = ()) -> set[str]:
    """Return which of these tasks wait for another task, other than those ``met`` by what is not written yet."""
    return {row[0] for row in _unmet.all(conn, list(ids), list(met))}


def lock_needed(conn: Connection, task_id: str) -> None:
    """Keep the tasks that this one needs from ending while it is decided whether it waits for them."""
    _lock_needed.run(conn, task_id)


def needed(conn: Connection, task_id: str) -> list[Needed]:
    """Return the unfinished tasks that this one needs."""
    return [Needed(*row) for row in _needed.all(conn, task_id)]


def due(conn: Connection) -> tuple[float, list[TaskRow]]:
    """Return the database's time and the waiting tasks whose time has come, locked."""
    found = _due.all(conn)
    return (float(found[0][0]) if found else 0.0), [TaskRow.loaded(row[1:]) for row in found]


# ---------------------------------------------------------------------------------------------- candidates

_LANES_SQLITE: Final = """
WITH RECURSIVE lane(pool, priority, project) AS (
    SELECT t.pool, t.priority, t.project FROM json_each($1) AS asked JOIN tasks t ON t.id = (
        SELECT q.id FROM tasks q WHERE q.state = 'queued' AND q.pool = asked.value
        ORDER BY q.priority, q.project, q.id LIMIT 1)
    UNION ALL
    SELECT t.pool, t.priority, t.project FROM lane l JOIN tasks t ON t.id = (
        SELECT q.id FROM tasks q
        WHERE q.state = 'queued' AND q.pool = l.pool AND (q.priority, q.project) > (l.priority, l.project)
        ORDER BY q.priority, q.project, q.id LIMIT 1))
SELECT 'queued', t.id, t.pool, t.priority, t.project FROM lane l JOIN tasks t ON t.id IN (
    SELECT q.id FROM tasks q
    WHERE q.state = 'queued' AND q.pool = l.pool AND q.priority = l.priority AND q.project = l.project
    AND q.id NOT IN [$3] ORDER BY q.id LIMIT $2)"""

_LANES_POSTGRESQL: Final = """
WITH RECURSIVE lane(pool, priority, project) AS (
    SELECT h.pool, h.priority, h.project FROM unnest(CAST($1 AS text[])) AS asked(pool) CROSS JOIN LATERAL (
        SELECT q.pool, q.priority, q.project FROM tasks q WHERE q.state = 'queued' AND q.pool = asked.pool
        ORDER BY q.priority, q.project, q.id LIMIT 1) AS h
    UNION ALL
    SELECT h.pool, h.priority, h.project FROM lane l CROSS JOIN LATERAL (
        SELECT q.pool, q.priority, q.project FROM tasks q
        WHERE q.state = 'queued' AND q.pool = l.pool AND (q.priority, q.project) > (l.priority, l.project)
        ORDER BY q.priority, q.project, q.id LIMIT 1) AS h)
SELECT 'queued', h.id, h.pool, h.priority, h.project FROM lane l CROSS JOIN LATERAL (
    SELECT q.id, q.pool, q.priority, q.project FROM tasks q
    WHERE q.state = 'queued' AND q.pool = l.pool AND q.priority = l.priority AND q.project = l.project
    AND NOT (q.id IN [$3]) ORDER BY q.id LIMIT CAST($2 AS bigint)) AS h"""

_REST: Final = """
UNION ALL SELECT * FROM (
    SELECT 'expired', id, pool, priority, project FROM tasks
    WHERE state = 'running' AND lease_until <= {now} AND pool IN [$1] AND NOT (id IN [$3])
    ORDER BY lease_until LIMIT CAST($2 AS bigint)) AS expired
UNION ALL SELECT 'due', '', '', 0, ''
    WHERE (SELECT min(wake_at) FROM tasks WHERE wake_at IS NOT NULL) <= {now}
UNION ALL SELECT 'held', '', '', 0, ''
    WHERE (SELECT min(held_by) FROM tasks WHERE held_by IS NOT NULL) IS NOT NULL
UNION ALL SELECT 'paused', target, '', CASE WHEN paused THEN 1 ELSE 0 END, '' FROM pauses"""

_candidates = Sql(sqlite=_LANES_SQLITE + _REST, postgresql=_LANES_POSTGRESQL + _REST)
_chosen = Sql(
    """SELECT CASE WHEN state = 'queued' THEN 'queued' ELSE 'expired' END, id, pool, priority, project FROM tasks
    WHERE id IN [$1] AND NOT (id IN [$2]) AND (state = 'queued' OR (state = 'running' AND lease_until <= {now}))
    UNION ALL SELECT 'due', '', '', 0, ''
    WHERE (SELECT min(wake_at) FROM tasks WHERE wake_at IS NOT NULL) <= {now}
    UNION ALL SELECT 'held', '', '', 0, ''
    WHERE (SELECT min(held_by) FROM tasks WHERE held_by IS NOT NULL) IS NOT NULL
    UNION ALL SELECT 'paused', target, '', CASE WHEN paused THEN 1 ELSE 0 END, '' FROM pauses"""
)
_running = Sql("SELECT project, count(*) FROM tasks WHERE state = 'running' GROUP BY project")


class Candidate(NamedTuple):
    """A task that may be claimed, not locked yet; or ``due``, ``held`` and ``paused`` as facts that the claim needs.

    ``paused`` gives a target as its id and whether it is held as its priority.
    """

    kind: str
    id: str
    pool: str
    priority: int
    project: str


def candidates(
    conn: Connection, pools: Collection[str], limit: int, lost: Collection[str], only: Collection[str] | None
) -> list[Candidate]:
    """Return what agents of these pools could take: the oldest ``limit`` of each lane (pool, priority, project).

    It jumps from lane to lane in the index, so the length of the queue does not matter.
    """
    if only is not None:
        return [Candidate(*row) for row in _chosen.all(conn, list(only), list(lost))]
    return [Candidate(*row) for row in _candidates.all(conn, list(pools), limit, list(lost))]


def running_by_project(conn: Connection) -> dict[str, int]:
    """Return how many tasks run, by project."""
    return {row[0]: row[1] for row in _running.all(conn)}


# ---------------------------------------------------------------------------------------------- messages

_MESSAGE: Final = 'id, to_agent, task_id, "text", "by", created_at, delivered_at, run_id'
_insert_message = BulkInsert(
    tables.messages, ("id", "to_agent", "task_id", "text", "by", "created_at", "delivered_at", "run_id")
)
_pending = f"""SELECT {_MESSAGE} FROM messages
    WHERE delivered_at IS NULL AND (task_id = $1 OR (task_id IS NULL AND to_agent = $2)) ORDER BY created_at, id"""
_see_messages = Sql(_pending)
_lock_messages = Sql(_pending + " {for_update}")
_deliver = Sql("UPDATE messages SET delivered_at = {now}, run_id = $2 WHERE id IN [$1] AND delivered_at IS NULL")


def insert_message(conn: Connection, message: Message) -> None:
    """Keep a message."""
    _insert_message(
        conn,
        [(message.id, message.to_agent, message.task_id, message.text, message.by, message.created_at, None, None)],
    )


def pending_messages(conn: Connection, agent: str, task_id: str, *, lock: bool = False) -> list[Message]:
    """Return undelivered messages for the task or the agent, oldest first."""
    names = ("id", "to_agent", "task_id", "text", "by", "created_at", "delivered_at", "run_id")
    found = (_lock_messages if lock else _see_messages).all(conn, task_id, agent)
    return [Message.model_construct(**dict(zip(names, row, strict=True))) for row in found]


def mark_delivered(conn: Connection, ids: Collection[str], run_id: str) -> None:
    """Note which run took the messages."""
    _deliver.run(conn, list(ids), run_id)


# ---------------------------------------------------------------------------------------------- overview

# Most tasks are done. SQLite counts a whole table by its pages, a state row by row, so those are what the others leave.
_OTHERS: Final = ", ".join(f"('{state}')" for state in State if state is not State.DONE)
_states = Sql(
    postgresql="SELECT state, count(*) FROM tasks GROUP BY state",
    sqlite=f"""WITH other AS MATERIALIZED (
        SELECT column1 AS name, (SELECT count(*) FROM tasks WHERE state = column1) AS found FROM (VALUES {_OTHERS}))
    SELECT name, found FROM other
    UNION ALL SELECT '{State.DONE}', (SELECT count(*) FROM tasks) - (SELECT sum(found) FROM other)""",
)
_pools = Sql("SELECT pool, count(*), {now} - min(queued_at) FROM tasks WHERE state = 'queued' GROUP BY pool")
_ahead = Sql(
    """SELECT count(*) FROM tasks WHERE state = 'queued' AND pool = $1
    AND (priority < CAST($2 AS smallint) OR (priority = CAST($2 AS smallint) AND id < $3))"""
)
_workers = Sql("SELECT info FROM workers WHERE seen_at > {now} - CAST($1 AS double precision)")
_busy = Sql("SELECT DISTINCT agent FROM tasks WHERE state = 'running' AND lease_until > {now} AND agent IS NOT NULL")


def depth(conn: Connection) -> tuple[dict[str, int], dict[str, int], float | None]:
    """Return tasks by state, queued tasks by pool, and the seconds that the oldest queued one has waited."""
    pools = _pools.all(conn)
    return (
        {row[0]: row[1] for row in _states.all(conn)},
        {row[0]: row[1] for row in pools},
        max((row[2] for row in pools if row[2] is not None), default=None),
    )


def ahead(conn: Connection, row: FullRow) -> int:
    """Return how many queued tasks of the same pool go first, fairness between projects aside."""
    found = _ahead.first(conn, row.pool, row.priority, row.id)
    return int(found[0]) if found is not None else 0


def living_agents(conn: Connection, fresh: float) -> tuple[list[str], set[str]]:
    """Return the agents of workers heard of within ``fresh`` seconds, and those of them that have a task."""
    names = [name for row in _workers.all(conn, fresh) for name in orjson.loads(row[0]).get("agents", ())]
    return sorted(names), {row[0] for row in _busy.all(conn)}
