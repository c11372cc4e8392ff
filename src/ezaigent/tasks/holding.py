"""Tasks leave the queue while one that changes the same files goes first, and come back when it has ended."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

import orjson

from ezaigent.store import Connection, NewEvent, Sql, emit_many, now
from ezaigent.tasks import moves, pausing, queries
from ezaigent.tasks.models import GENERAL, State
from ezaigent.tasks.overlap import Peer, active, goes_first, peer_of
from ezaigent.tasks.rows import FullRow, TaskRow

_LOCK_SPACE: Final = 0x455A_4F56
"""First half of our advisory locks ("EZOV"); the second is the project's checksum."""

_lock = Sql(
    sqlite="SELECT value FROM json_each($1)",
    postgresql=f"""SELECT pg_advisory_xact_lock({_LOCK_SPACE}, CAST(key AS int))
    FROM unnest(CAST($1 AS text[])) AS given(key)""",  # noqa: S608 - a constant
)
_try_lock = Sql(
    sqlite="SELECT value, 1 FROM json_each($1)",
    postgresql=f"""SELECT key, pg_try_advisory_xact_lock({_LOCK_SPACE}, CAST(key AS int))
    FROM unnest(CAST($1 AS text[])) AS given(key)""",  # noqa: S608 - a constant
)
_peers = Sql(
    """SELECT id, title, state, pool, priority, base, scope, predicted, held_by, agent FROM tasks
    WHERE project = $1 AND guarded = 1 AND state IN ('queued', 'running', 'waiting')
    AND (state <> 'waiting' OR held_by IS NOT NULL)"""
)
# Whoever ends a task locks its whole row, so this one cannot end before this transaction does; nobody is waited for.
_pin = Sql(
    sqlite="SELECT id, state, held_by FROM tasks WHERE id IN [$1]",
    postgresql="SELECT id, state, held_by FROM tasks WHERE id IN [$1] FOR KEY SHARE SKIP LOCKED",
)
_held = Sql("SELECT id FROM tasks WHERE held_by IN [$1] ORDER BY id {for_update}")
_held_free = Sql("SELECT id FROM tasks WHERE held_by IN [$1] ORDER BY id {skip_locked}")
_holding = Sql("SELECT id FROM tasks WHERE id IN [$1] AND held_by IS NOT NULL")
_first = Sql(
    """SELECT DISTINCT first.id, first.state, first.pool FROM tasks held JOIN tasks first ON first.id = held.held_by
    WHERE held.held_by IS NOT NULL AND first.state <> 'running' AND first.held_by IS NULL"""
)
_workers = Sql("SELECT info FROM workers WHERE seen_at > {now} - CAST($1 AS double precision)")


class Order:
    """The rule during one claim: locks the projects that it judges, so that no other claim judges them meanwhile."""

    def __init__(self, conn: Connection, staffed: Callable[[str], bool]) -> None:
        """Judge nothing yet."""
        self._conn = conn
        self._staffed = staffed
        self._peers: dict[str, dict[str, Peer]] = {}

    def judge(self, rows: Sequence[FullRow]) -> None:
        """Lock the projects of these guarded rows; where another claim has one, its rows cannot start in this one.

        The first time it waits for other claims, which wait for nothing but such locks, taken in the same order.
        """
        wanted: dict[str, set[str]] = defaultdict(set[str])
        for row in rows:
            if row.project not in self._peers:
                wanted[str(zlib.crc32(row.project.encode()) - 2**31)].add(row.project)
        if not wanted:
            return
        if not self._peers:
            _lock.all(self._conn, sorted(wanted))
        else:
            wanted = {key: wanted[key] for key, free in _try_lock.all(self._conn, sorted(wanted)) if free}
        for projects in wanted.values():
            self._peers |= {project: guarded(self._conn, project) for project in projects}

    def hold(self, row: FullRow, at: float) -> list[NewEvent] | None:
        """Return None when a guarded row may start; else let it wait and return the events that say so.

        Without an event it stays in the queue: who goes first has ended this moment, or another claim judges it.
        """
        peers = self._peers.get(row.project)
        if peers is None:
            return []
        first = goes_first(peer_of(row), peers, self._staffed)
        if first is None:
            return None
        found = _pin.first(self._conn, [first.id])
        if found is None or not active(found[1], found[2]):
            return []
        events = moves.hold(row, at, first.id)
        self.note(row)
        return events

    def note(self, row: FullRow) -> None:
        """Take in that a row was started or held."""
        if row.project in self._peers:  # one that was taken over was running all the time
            self._peers[row.project][row.id] = peer_of(row)


def guarded(conn: Connection, project: str) -> dict[str, Peer]:
    """Return the project's guarded tasks that run, are queued, or are held."""
    return {row[0]: Peer(*row) for row in _peers.all(conn, project)}


def first_of(conn: Connection, row: FullRow, fresh: float) -> Peer | None:
    """Return the task that a task which is held or queued has to wait for, now."""
    if not row.guarded or not (row.held_by or row.state == State.QUEUED):
        return None
    peers = guarded(conn, row.project)
    if row.held_by is not None:
        return peers.get(row.held_by)
    return goes_first(peer_of(row), peers, living(conn, (), fresh))


def free(
    conn: Connection, ended: Iterable[TaskRow], at: float, *, wait: bool = True, met: Collection[str] = ()
) -> tuple[list[TaskRow], list[NewEvent]]:
    """Let those go on that were held by tasks which are in nobody's way any more; they are judged again when claimed.

    ``wait`` says whether to wait for rows that another transaction has locked; else they are left for ``let_pass``.
    ``met`` are tasks whose end meets needs, and is not written yet.
    """
    gone = [row.id for row in ended if row.guarded and not active(row.state, row.held_by)]
    return free_from(conn, gone, at, "has ended", wait=wait, met=met) if gone else ([], [])


def free_from(
    conn: Connection, first: Sequence[str], at: float, why: str, *, wait: bool = True, met: Collection[str] = ()
) -> tuple[list[TaskRow], list[NewEvent]]:
    """Let those go on that were held by one of the tasks ``first``."""
    woken: list[TaskRow] = []
    events: list[NewEvent] = []
    while first:
        ids = [row[0] for row in (_held if wait else _held_free).all(conn, list(first))]
        ready, said, first = _go_on(conn, ids, at, why, met) if ids else ([], [], [])
        woken += ready
        events += said
    return woken, events


def free_one(conn: Connection, task_id: str, at: float, why: str) -> list[NewEvent]:
    """Let a task go on that is held itself; return the events."""
    held = [row[0] for row in _holding.all(conn, [task_id])]
    return _go_on(conn, held, at, why)[1] if held else []


def _go_on(
    conn: Connection, ids: Sequence[str], at: float, why: str, met: Collection[str] = ()
) -> tuple[list[TaskRow], list[NewEvent], list[str]]:
    """Return the tasks that are claimable again, the events, and those that wait for their needs now."""
    rows = queries.load(conn, ids)[1]
    unmet = queries.unmet(conn, ids, met)
    woken: list[TaskRow] = []
    events: list[NewEvent] = []
    for row in rows.values():
        reason = f"task {row.held_by}, which changes the same files, {why}"
        row.held_by = None
        if row.id not in unmet:
            events += moves.ready(row, at, needs_met=True, reason=reason)
            woken.append(row)
    queries.save(conn, rows.values())
    return woken, events, sorted(unmet)


def let_pass(conn: Connection, staffed: Callable[[str], bool]) -> bool:
    """Let tasks go on whose turn nobody would bring: what they wait for is over, or no living agent could take it.

    Return whether there were any.
    """
    found: Sequence[tuple[Any, ...]] = _first.all(conn)
    over = [task for task, state, _ in found if state != State.QUEUED]
    stuck = [task for task, state, pool in found if state == State.QUEUED and not staffed(pool)]
    if not over and not stuck:
        return False
    at = now(conn)
    events = free_from(conn, over, at, "is over", wait=False)[1] if over else []
    events += free_from(conn, stuck, at, "finds no agent", wait=False)[1] if stuck else []
    emit_many(conn, events)
    return bool(events)


def living(conn: Connection, own: Collection[str], fresh: float) -> Callable[[str], bool]:
    """Return a test whether some living agent could take tasks of a pool; ``own`` are pools known to have one.

    Workers heard of within ``fresh`` seconds are looked up when they are asked for the first time.
    """
    known: set[str] | None = None

    def staffed(pool: str) -> bool:
        nonlocal known
        if pool in own:
            return True
        if known is None:
            paused = pausing.pauses(conn)
            workers = [orjson.loads(row[0]) for row in _workers.all(conn, fresh)]
            taking = [worker for worker in workers if not worker.get("exclusive")]
            known = {
                pool
                for worker in taking
                for name in worker.get("agents", ())
                if name not in paused and (pool := name.rpartition("-")[0]) not in worker.get("parked", ())
            }
            known |= {profile for worker in taking for profile in worker.get("hosts", ())}
            known |= {GENERAL} if known else set()
        return pool in known

    return staffed
