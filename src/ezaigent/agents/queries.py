"""The SQL of this room: the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ezaigent.store import Sql, ToldInsert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ezaigent.store import Connection, NewEvent


class Record(NamedTuple):
    """One journaled step."""

    seq: int
    name: str
    payload: bytes
    checkpoint: str | None


# The task's row stays locked until the transaction ends, so nobody can claim the task in between.
_owned = "SELECT 1 FROM tasks WHERE id = $2 AND fence = $5 AND state = 'running' {for_update}"
_insert = ToldInsert(
    "INSERT INTO journal (task_id, session, seq, fence, name, payload, checkpoint, at)"  # noqa: S608 - our own text
    " SELECT $2, CAST($3 AS integer), CAST($4 AS integer), CAST($5 AS bigint), $6, $7, $8, {now}"
    f" FROM ({_owned}) AS owned WHERE true ON CONFLICT DO NOTHING"
)
_recorded = Sql("SELECT fence FROM journal WHERE task_id = $1 AND session = $2 AND seq = $3")
_load = Sql("SELECT seq, name, payload, checkpoint FROM journal WHERE task_id = $1 AND session = $2 ORDER BY seq")
_last_checkpoint = Sql(
    "SELECT checkpoint FROM journal WHERE task_id = $1 AND session = $2 AND checkpoint IS NOT NULL"
    " ORDER BY seq DESC LIMIT 1"
)
_discard = Sql("DELETE FROM journal WHERE task_id = $1 AND session = $2")


def append_step(
    conn: Connection,
    *,
    task_id: str,
    session: int,
    seq: int,
    fence: int,
    name: str,
    payload: bytes,
    checkpoint: str | None,
    events: Sequence[NewEvent],
) -> bool:
    """Append one step and tell ``events``; False where the task is not the run's any more or the step is there."""
    return _insert(conn, events, task_id, session, seq, fence, name, payload, checkpoint)


def recorded_by(conn: Connection, task_id: str, session: int, seq: int) -> int | None:
    """Return the fence of the run that wrote this step; None where nobody did."""
    row = _recorded.first(conn, task_id, session, seq)
    return None if row is None else row[0]


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
