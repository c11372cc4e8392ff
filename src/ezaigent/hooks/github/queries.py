"""The SQL of issues that came in."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from ezaigent.store import BulkInsert, Connection, Sql, now, tables

_COLUMNS: Final = (
    *("delivery", "digest", "state", "repository", "number", "sender", "title", "body", "attempts", "next_at", "note"),
    *("created_at", "updated_at"),
)
_take = BulkInsert(tables.issues, _COLUMNS, on_conflict="ON CONFLICT DO NOTHING")
_open = Sql("SELECT 1 FROM issues WHERE repository = $1 AND number = $2 AND state IN ('received', 'working') LIMIT 1")
_any = Sql("SELECT 1 FROM issues WHERE state IN ('received', 'working') LIMIT 1")
_due = Sql(
    """SELECT i.delivery, i.digest, i.state, i.repository, i.number, i.sender, i.title, i.body, i.task_id, i.attempts,
    i.created_at FROM issues i LEFT JOIN tasks t ON t.id = i.task_id
    WHERE i.next_at <= {now} AND (i.state = 'received'
    OR (i.state = 'working' AND t.state IN ('review', 'done', 'failed', 'cancelled')))
    ORDER BY i.created_at LIMIT $1"""
)
_begin = Sql(
    """UPDATE issues SET attempts = $2, next_at = {now} + CAST($3 AS double precision), updated_at = {now}
    WHERE delivery = $1"""
)
_beat = Sql(
    """UPDATE issues SET next_at = {now} + CAST($3 AS double precision)
    WHERE delivery = $1 AND attempts = $2 AND state IN ('received', 'working')"""
)
_end = Sql(
    """UPDATE issues SET state = $3, task_id = $4, note = $5, attempts = $6, body = $7,
    next_at = {now} + CAST($8 AS double precision), updated_at = {now}
    WHERE delivery = $1 AND attempts = $2 RETURNING delivery"""
)


class Issue(NamedTuple):
    """An issue that is to become a task, or whose task has ended."""

    delivery: str
    digest: str
    state: str
    repository: str
    number: int
    sender: str
    title: str
    body: str
    task_id: str | None
    attempts: int
    created_at: float


def take(
    conn: Connection, *, delivery: str, digest: str, repository: str, number: int, sender: str, title: str, body: str
) -> bool | None:
    """Keep an issue; None for a message that was kept before, False for an issue that is being worked already."""
    busy = _open.first(conn, repository, number) is not None
    state, note = ("refused", "it is being worked already") if busy else ("received", "")
    at = now(conn)
    row: tuple[Any, ...] = (delivery, digest, state, repository, number, sender, title, "" if busy else body)
    if not _take(conn, [(*row, 0, at, note, at, at)]):
        return None
    return not busy


def any_open(conn: Connection) -> bool:
    """Tell whether an issue waits for something."""
    return _any.first(conn) is not None


def begin(conn: Connection, limit: int, hold: float) -> list[Issue]:
    """Begin the next step of issues; one of which nothing is heard is begun anew after ``hold`` seconds."""
    found = [Issue(*row) for row in _due.all(conn, limit)]
    begun = [issue._replace(attempts=issue.attempts + 1) for issue in found]
    for issue in begun:
        _begin.run(conn, issue.delivery, issue.attempts, hold)
    return begun


def beat(conn: Connection, issue: Issue, hold: float) -> None:
    """Say that the step goes on."""
    _beat.run(conn, issue.delivery, issue.attempts, hold)


def wait(conn: Connection, issue: Issue, note: str, seconds: float) -> bool:
    """Try the same step again later."""
    return _moved(conn, issue, state=issue.state, note=note, attempts=issue.attempts, body=issue.body, wait=seconds)


def work(conn: Connection, issue: Issue, task_id: str) -> bool:
    """The issue has become a task."""
    return _moved(conn, issue._replace(task_id=task_id), state="working")


def close(conn: Connection, issue: Issue, state: str, note: str) -> bool:
    """Nothing more is done about the issue: ``reported``, ``refused`` or ``failed``."""
    return _moved(conn, issue, state=state, note=note, attempts=issue.attempts)


def _moved(
    conn: Connection,
    issue: Issue,
    *,
    state: str,
    note: str = "",
    attempts: int = 0,
    body: str = "",
    wait: float = 0.0,
) -> bool:
    given = (state, issue.task_id, note, attempts, body, wait)
    return _end.first(conn, issue.delivery, issue.attempts, *given) is not None
