"""The SQL of this room: the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ezaigent.store import Sql

if TYPE_CHECKING:
    from ezaigent.store import Connection


class Record(NamedTuple):
    """One journaled step."""

    seq: int
    name: str
    payload: bytes
    checkpoint: str | None


_insert = Sql(
    "INSERT INTO journal (task_id, session, seq, fence, name, payload, checkpoint, at)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, {now})"
)
_count_in_task = "UPDATE tasks SET steps = steps + 1 WHERE id = $1 AND fence = $2 AND state = 'running'"
_count_in_run = "UPDATE runs SET steps = steps + 1 WHERE id = $3"
_count_both = Sql(sqlite=_count_in_task, postgresql=f"WITH run AS ({_count_in_run}) {_count_in_task}")
_count_rest = Sql(_count_in_run.replace("$3", "$1"))
_load = Sql("SELECT seq, name, payload, checkpoint FROM journal WHERE task_id = $1 AND session = $2 ORDER BY seq")
_last_checkpoint = Sql(
    "SELECT checkpoint FROM journal WHERE task_id = $1 AND session = $2 AND checkpoint IS NOT NULL"
    " ORDER BY seq DESC LIMIT 1"
)
_discard = Sql("DELETE FROM journal WHERE task_id = $1 AND session = $2")


def count_step(conn: Connection, task_id: str, fence: int, run_id: str) -> bool:
    """Count one step in the run's task and in the run; False where the task is not the run's any more.

    The task's row stays locked until the transaction ends. Where it is False the transaction must be given up.
    """
    if not _count_both.run(conn, task_id, fence, *((run_id,) if conn.dialect.name == "postgresql" else ())):
        return False
    if conn.dialect.name != "postgresql":  # there it was the same statement: a round trip less
        _count_rest.run(conn, run_id)
    return True


def insert_step(
    conn: Connection,
    *,
    task_id: str,
    session: int,
    seq: int,
    fence: int,
    name: str,
    payload: bytes,
    checkpoint: str | None,
) -> None:
    """Append one step. The primary key refuses a second step in the same place."""
    _insert.run(conn, task_id, session, seq, fence, name, payload, checkpoint)


def load_steps(conn: Connection, task_id: str, session: int) -> list[Record]:
    """Return the journal of one session, in order."""
    return [Record(*row) for row in _load.all(conn, task_id, session)]


def last_checkpoint(conn: Connection, task_id: str, session: int) -> str | None:
    """Return the commit of the last journaled step that changed files."""
    row = _last_checkpoint.first(conn, task_id, session)
    return None if row is None else row[0]


def discard_steps(conn: Connection, task_id: str, session: int) -> None:
    """Forget the journal of one session."""
    _discard.run(conn, task_id, session)
