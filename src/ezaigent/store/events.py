"""The event log: facts are written in the transaction that makes them true and read in order, none skipped.

On SQLite one transaction writes at a time, so numbers become visible in order. On PostgreSQL a transaction that took
number 5 may commit after the one that took number 6, and a reader that has seen 6 would never look for 5. So before
drawing numbers a transaction takes a shared advisory lock whose key is the number drawn last; the lock goes with the
transaction. Everything above the lowest such key may still be joined by smaller numbers and is held back; everything
up to it is settled. A transaction in flight that has written no event, or that belongs to another program, holds
nothing back, and nobody ever waits for a lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from sqlalchemy import Connection

from ezaigent.core.events import KINDS, Event
from ezaigent.store.sql import Bulk, BulkInsert, Rows, Sql, records, recordset
from ezaigent.store.tables import events

if TYPE_CHECKING:
    from ezaigent.store.database import Database

_COLUMNS: Final = ("at", "kind", "task_id", "run_id", "agent", "data")
_EMITTED: Final = "events emitted"  # keys of Connection.info
_FLOOR: Final = "event floor held"
CLOCK: Final = "clock"
"""Key of ``Connection.info``: what tells the time on SQLite."""

_LOCK_SPACE: Final = 0x455A << 48
"""Upper 16 bits of our advisory lock keys ("EZ"); the lower 48 are an event number."""


class NewEvent(NamedTuple):
    """An event to be written; ``at`` left out means now."""

    kind: str
    task_id: str | None = None
    run_id: str | None = None
    agent: str | None = None
    data: Mapping[str, Any] = {}
    at: float | None = None


_insert = BulkInsert(events, _COLUMNS)
_DRAW: Final = f"""SELECT nextval('events_seq_seq'), coalesce(at, extract(epoch FROM clock_timestamp())),
    {", ".join(_COLUMNS[1:])}"""  # noqa: S608 - our own columns
_ORDERED: Final = f"(SELECT * FROM {recordset(events, _COLUMNS, place='place')} ORDER BY place) AS ordered"  # noqa: S608
_INTO: Final = f"INSERT INTO events (seq, {', '.join(_COLUMNS)})"
# The lock is a row of the join, so it is held before the first number is drawn.
_FLOOR_CTE: Final = f"""floor AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(
        {_LOCK_SPACE} | CASE WHEN is_called THEN last_value ELSE last_value - 1 END)
    FROM events_seq_seq)"""  # noqa: S608 - constants
_FROM_TOLD: Final = f"FROM floor CROSS JOIN told CROSS JOIN {_ORDERED}"


@cache
def _writing(along: tuple[Bulk, ...], *, first: bool) -> Sql:
    """Return PostgreSQL's statement for events, the first of a transaction or more, and what is written along."""
    parts = [f"along{place} AS ({bulk.postgresql(f'${place}')})" for place, bulk in enumerate(along, 2)]
    parts += [_FLOOR_CTE] * first
    head = f"WITH {', '.join(parts)}" if parts else ""
    return Sql(postgresql=f"{head} {_INTO} {_DRAW} FROM {'floor CROSS JOIN ' * first}{_ORDERED}")


def emit(
    conn: Connection,
    kind: str,
    *,
    task_id: str | None = None,
    run_id: str | None = None,
    agent: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Write one event in the caller's transaction; ``kind`` must be listed in ``KINDS``."""
    emit_many(conn, [NewEvent(kind, task_id, run_id, agent, data or {})])


def emit_many(conn: Connection, rows: Sequence[NewEvent], along: Sequence[tuple[Bulk, Rows]] = ()) -> None:
    """Write events, in this order, in the caller's transaction; each kind must be listed in ``KINDS``.

    What they tell of may be written ``along`` with them, each table once: on PostgreSQL in the same statement.
    """
    along = [(bulk, given) for bulk, given in along if given]
    if conn.dialect.name == "sqlite" or not rows:
        for bulk, given in along:
            bulk(conn, given)
    if not rows:
        return
    values = _values(rows)
    conn.info[_EMITTED] = True
    if conn.dialect.name == "sqlite":
        clock = conn.info.get(CLOCK, time.time)()
        _insert(conn, [(clock, *value[1:]) if value[0] is None else value for value in values])
        return
    present = conn.get_transaction()
    first = present is None or conn.info.get(_FLOOR) is not present
    given = [records(bulk.columns, rows) for bulk, rows in along]
    _writing(tuple(bulk for bulk, _ in along), first=first).run(conn, records(_COLUMNS, values), *given)
    if first:
        conn.info[_FLOOR] = present


class ToldInsert:
    """An insertion of one row and the events that tell it: on PostgreSQL one statement, and so one round trip.

    Where the row is not inserted, nothing is told.
    """

    def __init__(self, text: str) -> None:
        """``text`` is an ``INSERT`` whose parameters begin at ``$2``."""
        self._insert = Sql(
            sqlite=text, postgresql=f"WITH {_FLOOR_CTE}, told AS ({text} RETURNING 1) {_INTO} {_DRAW} {_FROM_TOLD}"
        )

    def __call__(self, conn: Connection, rows: Sequence[NewEvent], *params: Any) -> bool:
        """Insert and tell ``rows``, at least one; return whether the row was inserted."""
        if conn.dialect.name == "sqlite":
            inserted = self._insert.run(conn, None, *params) > 0
            emit_many(conn, rows if inserted else ())
            return inserted
        inserted = self._insert.run(conn, records(_COLUMNS, _values(rows)), *params) > 0
        if inserted:
            conn.info[_EMITTED] = True
        return inserted


def _values(rows: Sequence[NewEvent]) -> list[tuple[Any, ...]]:
    for row in rows:
        if row.kind not in KINDS:
            raise ValueError(f"unknown event kind {row.kind!r}: list it in core/events.py")
    return [
        (row.at, row.kind, row.task_id, row.run_id, row.agent, orjson.dumps(row.data).decode() if row.data else "{}")
        for row in rows
    ]


def savepoint_lost(conn: Connection) -> None:
    """Take the lock anew with the next event: a rolled back savepoint may have taken it along."""
    conn.info.pop(_FLOOR, None)


def end_emitting(conn: Connection) -> bool:
    """Return whether events were emitted on this connection since the last call."""
    return bool(conn.info.pop(_EMITTED, False))


_select = "SELECT seq, at, kind, task_id, run_id, agent, data FROM events WHERE seq > $1"
_read_all = Sql(f"{_select} ORDER BY seq LIMIT $2")
_read_bound = Sql(
    f"""{_select} AND seq <= $2
    AND (CAST($3 AS TEXT) IS NULL OR task_id = $3) AND (CAST($4 AS TEXT) IS NULL OR agent = $4)
    ORDER BY seq LIMIT $5"""
)
_read_kinds = Sql(
    f"""{_select} AND seq <= $2
    AND (CAST($3 AS TEXT) IS NULL OR task_id = $3) AND (CAST($4 AS TEXT) IS NULL OR agent = $4)
    AND kind IN [$6] ORDER BY seq LIMIT $5"""
)
_back = f"""{_select[: _select.index(" WHERE")]} WHERE seq < $1 AND seq >= $2
    AND (CAST($3 AS TEXT) IS NULL OR task_id = $3) AND (CAST($4 AS TEXT) IS NULL OR agent = $4)
    AND (CAST($5 AS TEXT) IS NULL OR kind NOT LIKE $5)
    AND (CAST($6 AS TEXT) IS NULL OR {{place}}(data, $6) > 0)"""


def _backwards(tail: str) -> Sql:
    text = f"{_back} {tail}"
    return Sql(sqlite=text.format(place="instr"), postgresql=text.format(place="strpos"))


_read_back = _backwards("ORDER BY seq DESC LIMIT $7")
_read_back_kinds = _backwards("AND kind IN [$8] ORDER BY seq DESC LIMIT $7")
_NEAR: Final = 20_000
"""Numbers looked at for one page backwards that no index helps with."""
# The locks are looked at after the counter: the inner query refers to the outer row.
_settled = Sql(
    sqlite="SELECT coalesce(max(seq), 0) FROM events",
    postgresql=f"""
    SELECT coalesce(
        (SELECT min(((classid::bigint & 65535) << 32) | objid::bigint) FROM pg_locks
         WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = {_LOCK_SPACE >> 48}
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND drawn.top >= 0),
        drawn.top)
    FROM (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END AS top
          FROM events_seq_seq OFFSET 0) AS drawn""",  # noqa: S608 - constants
)


def settled(conn: Connection) -> int:
    """Return the highest number that no transaction in flight can still come below."""
    row = _settled.first(conn)
    assert row is not None
    return int(row[0])


class EventLog:
    """Reads the log, once or as it grows."""

    def __init__(self, db: Database) -> None:
        """Read from ``db``."""
        self._db = db

    async def head(self) -> int:
        """Return the number up to which the log is complete; 0 for an empty log."""
        return await self._db.read(settled)

    async def read(
        self,
        after: int,
        limit: int = 500,
        *,
        kinds: Sequence[str] | None = None,
        task_id: str | None = None,
        agent: str | None = None,
    ) -> list[Event]:
        """Return at most ``limit`` events with a number above ``after``, oldest first, with no gap left behind."""
        return (await self._page(after, limit, kinds, task_id, agent))[0]

    async def back(
        self,
        before: int | None = None,
        limit: int = 100,
        *,
        kinds: Sequence[str] | None = None,
        task_id: str | None = None,
        agent: str | None = None,
        by: str | None = None,
        hidden: str | None = None,
    ) -> tuple[list[Event], int | None]:
        """Return at most ``limit`` events with a number below ``before`` (None: the newest), newest first.

        ``by`` is who did it, as the event's data names them; ``hidden`` is the beginning of kinds that are left out.
        The number is the next ``before``; None at the beginning of the log. A page may be short, even empty, before
        that: one goes through 20,000 numbers, or one task's events.
        """

        def query(conn: Connection) -> tuple[Sequence[Any], int]:
            top = settled(conn) + 1
            below = top if before is None else min(before, top)
            floor = max(0, below - _NEAR) if task_id is None else 0
            # A quote within a text is written \", so this is found where it is a field and its value.
            doer = None if by is None else f'"by":{orjson.dumps(by).decode()}'
            given = (below, floor, task_id, agent, None if hidden is None else f"{hidden}%", doer, limit)
            if kinds is None:
                return _read_back.all(conn, *given), floor
            return (_read_back_kinds.all(conn, *given, list(kinds)) if kinds else []), floor

        rows, floor = await self._db.read(query)
        found = [_event(row) for row in rows]
        return found, found[-1].seq if len(found) == limit else floor or None

    async def follow(
        self,
        after: int,
        *,
        kinds: Sequence[str] | None = None,
        task_id: str | None = None,
        agent: str | None = None,
        poll: float = 0.25,
    ) -> AsyncGenerator[Event, None]:
        """Yield events above ``after``, then further ones as they are committed; never ends by itself.

        Commits of this process wake it at once, those of others within ``poll`` seconds.
        """
        committed = asyncio.Event()
        with self._db.on_commit(committed.set):
            while True:
                committed.clear()
                page, after = await self._page(after, 500, kinds, task_id, agent)
                for event in page:
                    yield event
                if not page:
                    # Not wait_for: on Python 3.11 it loses a cancellation that comes together with the result.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(poll):
                            await committed.wait()

    async def _page(
        self, after: int, limit: int, kinds: Sequence[str] | None, task_id: str | None, agent: str | None
    ) -> tuple[list[Event], int]:
        """Return a page and the number to go on from, which skips what the filters left out."""

        def query(conn: Connection) -> tuple[Sequence[Any], int]:
            if kinds is None and task_id is None and agent is None:
                rows = _read_all.all(conn, after, limit)
                if conn.dialect.name == "sqlite" or not rows or rows[-1][0] - after == len(rows):
                    return rows, rows[-1][0] if rows else after  # no number is missing
            top = settled(conn)
            if top <= after:
                return [], after
            if kinds is None:
                rows = _read_bound.all(conn, after, top, task_id, agent, limit)
            else:
                rows = _read_kinds.all(conn, after, top, task_id, agent, limit, list(kinds))
            return rows, rows[-1][0] if len(rows) == limit else top

        rows, position = await self._db.read(query)
        return [_event(row) for row in rows], position


def _event(row: Any) -> Event:
    seq, at, kind, task, run, name, data = row
    return Event.model_construct(
        seq=seq, at=at, kind=kind, task_id=task, run_id=run, agent=name, data=orjson.loads(data)
    )
