"""What a person may change of a task that no agent works on."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

from ezaigent.core.errors import ConflictError
from ezaigent.store import Connection, Sql, emit, emit_many, now
from ezaigent.tasks import history, holding
from ezaigent.tasks.models import Priority, State
from ezaigent.tasks.predicting import predict, stored
from ezaigent.tasks.rows import FullRow

EDITABLE: Final = frozenset({State.WAITING, State.QUEUED, State.BLOCKED})

_lock = Sql("SELECT state, updated_at FROM tasks WHERE id = $1 {for_update}")
_change = Sql("UPDATE tasks SET title = $2, prompt = $3, priority = $4, updated_at = $5 WHERE id = $1")
_predict = Sql("UPDATE tasks SET predicted = $2, guarded = CAST($3 AS smallint) WHERE id = $1")


class Edit(BaseModel):
    """Changes; what is None stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str | None = None
    prompt: str | None = None
    priority: Priority | None = None


def edit(conn: Connection, row: FullRow, wanted: Edit, *, by: str, seen: float | None) -> None:
    """Change a task; ``seen`` is the ``updated_at`` that the caller knows, None for any.

    Raises ``ConflictError`` where an agent has the task, where it has ended, and where it has changed since.
    """
    found = _lock.first(conn, row.id)
    assert found is not None
    if found[0] not in EDITABLE:
        raise ConflictError(f"task {row.id} is {found[0]}; only a waiting, queued or blocked one can be edited")
    if seen is not None and found[1] != seen:
        raise ConflictError(f"task {row.id} has changed meanwhile; look at it again")
    changed = sorted(name for name, value in wanted if value is not None and value != getattr(row, name))
    if not changed:
        return
    _change.run(
        conn,
        row.id,
        row.title if wanted.title is None else wanted.title,
        row.prompt if wanted.prompt is None else wanted.prompt,
        row.priority if wanted.priority is None else int(wanted.priority),
        now(conn),
    )
    emit(conn, "task.edited", task_id=row.id, data={"by": by, "fields": changed})
    if row.guarded:  # its files or its turn may be others now: those that waited, and itself, are judged again
        events = holding.free_from(conn, [row.id], now(conn), "was edited")[1]
        events += holding.free_one(conn, row.id, now(conn), "was edited")
        emit_many(conn, events)
    if row.overlap == "wait" and row.scope == "[]" and wanted.prompt is not None:
        guesses = predict(wanted.prompt, wanted.title or "", row.repo, history.recall(conn, row.project))
        _predict.run(conn, row.id, stored(guesses), int(bool(guesses)))
