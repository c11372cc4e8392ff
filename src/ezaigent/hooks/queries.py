"""The SQL of targets and deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from ezaigent.core.events import Event
from ezaigent.hooks.models import Delivery, DeliveryState, Webhook
from ezaigent.store import BulkInsert, BulkUpdate, Connection, Sql, now, tables

MOST: Final = 50
"""Targets that there may be."""
BACKLOG: Final = 1000
"""Deliveries of one target that wait at most; further ones stay in the event log until there is room."""
KEPT_SENT: Final = 200
KEPT_DEAD: Final = 1000
"""Ended deliveries of one target that are kept."""

_COLUMNS: Final = "w.id, w.url, w.kinds, w.enabled, w.created_at, w.by, w.error"
_COUNTS: Final = """(SELECT count(*) FROM deliveries d WHERE d.webhook = w.id AND d.state = 'pending'),
    (SELECT count(*) FROM deliveries d WHERE d.webhook = w.id AND d.state = 'dead')"""
_list = Sql(f"SELECT {_COLUMNS}, {_COUNTS} FROM webhooks w ORDER BY w.id")  # noqa: S608 - constants
_get = Sql(f"SELECT {_COLUMNS}, {_COUNTS} FROM webhooks w WHERE w.id = $1")  # noqa: S608
_secret = Sql("SELECT url, secret FROM webhooks WHERE id = $1")
_count = Sql("SELECT count(*) FROM webhooks")
_add = BulkInsert(tables.webhooks, ("id", "url", "kinds", "secret", "enabled", "cursor", "error", "by", "created_at"))
_change = Sql("UPDATE webhooks SET url = $2, kinds = $3, enabled = $4, cursor = coalesce($5, cursor) WHERE id = $1")
_remove = Sql("DELETE FROM webhooks WHERE id = $1")
_remove_deliveries = Sql("DELETE FROM deliveries WHERE webhook = $1")

_lines = Sql(
    """SELECT w.id, w.url, w.kinds, w.secret, w.cursor,
    (SELECT count(*) FROM deliveries d WHERE d.webhook = w.id AND d.state = 'pending'),
    EXISTS (SELECT 1 FROM deliveries d WHERE d.webhook = w.id AND d.state = 'pending' AND d.next_at <= {now})
    FROM webhooks w WHERE w.enabled ORDER BY w.id"""
)
_any = Sql("SELECT 1 FROM webhooks LIMIT 1")
_move = Sql("UPDATE webhooks SET cursor = $3 WHERE id = $1 AND enabled AND cursor = $2")
_plan = BulkInsert(
    tables.deliveries,
    ("id", "webhook", "seq", "state", "attempts", "next_at", "error", "created_at", "updated_at"),
    on_conflict="ON CONFLICT (webhook, seq) DO NOTHING",
)
_due = Sql(
    """SELECT d.id, d.attempts, e.seq, e.at, e.kind, e.task_id, e.run_id, e.agent, e.data
    FROM deliveries d JOIN events e ON e.seq = d.seq
    WHERE d.webhook = $1 AND d.state = 'pending' AND d.next_at <= {now} ORDER BY d.seq LIMIT $2"""
)
_begin = BulkUpdate(tables.deliveries, "id", ("attempts", "next_at", "error", "updated_at"))
_end = Sql(
    """UPDATE deliveries SET state = $3, status = $4, error = $5, next_at = {now} + CAST($6 AS double precision),
    updated_at = {now} WHERE id = $1 AND state = 'pending' AND attempts = $2 RETURNING seq"""
)
_say = Sql("UPDATE webhooks SET error = $2 WHERE id = $1 AND error <> $2")
_prune = Sql(
    """DELETE FROM deliveries WHERE webhook = $1 AND state = $2 AND id NOT IN (
    SELECT id FROM deliveries WHERE webhook = $1 AND state = $2 ORDER BY seq DESC LIMIT $3)"""
)
_deliveries = Sql(
    """SELECT d.id, d.webhook, d.seq, e.kind, d.state, d.attempts, d.next_at, d.status, d.error, d.created_at,
    d.updated_at FROM deliveries d LEFT JOIN events e ON e.seq = d.seq
    WHERE d.webhook = $1 AND (CAST($2 AS TEXT) IS NULL OR d.state = $2) AND d.seq < $3 ORDER BY d.seq DESC LIMIT $4"""
)
_again = Sql(
    """UPDATE deliveries SET state = 'pending', attempts = 0, next_at = {now}, updated_at = {now}
    WHERE webhook = $1 AND (CAST($2 AS TEXT) IS NULL OR id = $2)
    AND (state = 'dead' OR (state = 'pending' AND attempts > 0 AND error <> '')
    OR (CAST($2 AS TEXT) IS NOT NULL AND state = 'sent'))"""
)


class Line(NamedTuple):
    """A target that is on, as the sender sees it."""

    id: str
    url: str
    kinds: tuple[str, ...]
    secret: str
    cursor: int
    pending: int
    due: bool


class Due(NamedTuple):
    """A delivery whose attempt begins now."""

    id: str
    attempts: int
    """This one included."""
    event: Event


def webhooks(conn: Connection) -> list[Webhook]:
    """Return all targets."""
    return [_view(row) for row in _list.all(conn)]


def webhook(conn: Connection, key: str) -> Webhook | None:
    """Return a target."""
    row = _get.first(conn, key)
    return None if row is None else _view(row)


def secret(conn: Connection, key: str) -> tuple[str, str] | None:
    """Return a target's URL and secret."""
    row = _secret.first(conn, key)
    return None if row is None else (str(row[0]), str(row[1]))


def count(conn: Connection) -> int:
    """Return how many targets there are."""
    row = _count.first(conn)
    assert row is not None
    return int(row[0])


def any_webhook(conn: Connection) -> bool:
    """Return whether there is a target."""
    return _any.first(conn) is not None


def add(conn: Connection, view: Webhook, secret: str, cursor: int) -> None:
    """Enter a target, which gets the events behind ``cursor``."""
    kinds = orjson.dumps(view.kinds).decode()
    _add(conn, [(view.id, view.url, kinds, secret, view.enabled, cursor, "", view.by, view.created_at)])


def change(conn: Connection, view: Webhook, cursor: int | None) -> None:
    """Set URL, kinds and switch; a ``cursor`` lets it go on from there."""
    _change.run(conn, view.id, view.url, orjson.dumps(view.kinds).decode(), view.enabled, cursor)


def remove(conn: Connection, key: str) -> bool:
    """Remove a target with its deliveries; return whether there was one."""
    _remove_deliveries.run(conn, key)
    return _remove.run(conn, key) == 1


def lines(conn: Connection) -> list[Line]:
    """Return the targets that are on."""
    return [
        Line(key, url, tuple(orjson.loads(kinds)), secret, cursor, pending, bool(due))
        for key, url, kinds, secret, cursor, pending, due in _lines.all(conn)
    ]


def plan(conn: Connection, line: Line, found: Sequence[tuple[str, int]], cursor: int) -> bool:
    """Make deliveries of events (id, number) and move the target's cursor; False when somebody moved it meanwhile."""
    if not _move.run(conn, line.id, line.cursor, cursor):
        return False
    at = now(conn)
    _plan(conn, [(key, line.id, seq, "pending", 0, at, "", at, at) for key, seq in found])
    return True


def begin(conn: Connection, key: str, limit: int, hold: float) -> list[Due]:
    """Begin the next attempts of a target; one of which nothing is heard is begun anew after ``hold`` seconds.

    While an attempt is under way its delivery has no error: so ``again`` can tell it.
    """
    rows = _due.all(conn, key, limit)
    at = now(conn)
    _begin(conn, [(row[0], row[1] + 1, at + hold, "", at) for row in rows])
    return [Due(row[0], row[1] + 1, _event(row[2:])) for row in rows]


def end(
    conn: Connection, due: Due, state: DeliveryState, *, status: int | None, error: str = "", wait: float = 0.0
) -> bool:
    """Write down how an attempt ended, unless another one was begun meanwhile; return whether that is new."""
    return _end.first(conn, due.id, due.attempts, state, status, error, wait) is not None


def say(conn: Connection, key: str, error: str) -> None:
    """Remember why a target's last attempt failed; empty for one that did not."""
    _say.run(conn, key, error)


def prune(conn: Connection, key: str) -> None:
    """Forget ended deliveries of a target above what is kept."""
    _prune.run(conn, key, "sent", KEPT_SENT)
    _prune.run(conn, key, "dead", KEPT_DEAD)


def deliveries(conn: Connection, key: str, state: str | None, before: int | None, limit: int) -> list[Delivery]:
    """Return a target's deliveries, newest event first."""
    rows = _deliveries.all(conn, key, state, 2**62 if before is None else before, limit)
    names = tuple(Delivery.model_fields)
    made: list[Delivery] = []
    for row in rows:
        values = dict(zip(names, row, strict=True))
        values["kind"] = values["kind"] or "?"
        values["next_at"] = values["next_at"] if values["state"] == "pending" else None
        made.append(Delivery.model_validate(values))
    return made


def again(conn: Connection, key: str, delivery: str | None) -> int:
    """Let one delivery, or all that failed, be tried anew now; return how many. What is on its way is left alone."""
    return _again.run(conn, key, delivery)


def _view(row: tuple[Any, ...]) -> Webhook:
    return Webhook(
        id=row[0],
        url=row[1],
        kinds=tuple(orjson.loads(row[2])),
        enabled=bool(row[3]),
        created_at=row[4],
        by=row[5],
        error=row[6],
        pending=row[7],
        dead=row[8],
    )


def _event(row: tuple[Any, ...]) -> Event:
    seq, at, kind, task, run, agent, data = row
    return Event.model_construct(
        seq=seq, at=at, kind=kind, task_id=task, run_id=run, agent=agent, data=orjson.loads(data)
    )
