"""What a person may change of a task that no agent works on."""

from __future__ import annotations

from typing import Annotated, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field

from ezaigent.core.errors import ConflictError
from ezaigent.store import Connection, Sql, emit, emit_many, now
from ezaigent.tasks import history, holding
from ezaigent.tasks.models import GENERAL, Line, Priority, State, Text
from ezaigent.tasks.predicting import predict, stored
from ezaigent.tasks.rows import FullRow, as_task

EDITABLE: Final = frozenset(State) - {State.RUNNING, State.DONE}
_TOLD: Final = frozenset({"prompt", "checks", "scope"})
"""What an agent is told when it begins: a journal that began with other words cannot be gone on with."""

_lock = Sql("SELECT state, updated_at FROM tasks WHERE id = $1 {for_update}")
_change = Sql(
    """UPDATE tasks SET title = $2, prompt = $3, priority = CAST($4 AS smallint), updated_at = $5, profile = $6,
    pool = $7, checks = $8, scope = $9, budget_nusd = CAST($10 AS bigint) WHERE id = $1"""
)
_anew = Sql("UPDATE tasks SET fresh = 1, attempts = attempts - 1 WHERE id = $1 AND fresh = 0 AND attempts > 0")
_cap = Sql(
    """INSERT INTO ledgers (key, limit_nusd, spent_nusd, held_nusd) VALUES ($1, CAST($2 AS bigint), 0, 0)
    ON CONFLICT (key) DO UPDATE SET limit_nusd = excluded.limit_nusd"""
)
_predict = Sql("UPDATE tasks SET predicted = $2, guarded = CAST($3 AS smallint) WHERE id = $1")


class Edit(BaseModel):
    """Changes; what is None stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Text | None = None
    prompt: Annotated[Text, Field(min_length=1, max_length=200_000)] | None = None
    priority: Priority | None = None
    profile: Line | None = None
    """Kind of agent; ``*``: any that takes general work."""
    checks: tuple[Line, ...] | None = None
    scope: tuple[Line, ...] | None = None
    budget_nusd: Annotated[int, Field(ge=0)] | None = None
    """Hard cap in nano-USD over all attempts."""


def edit(conn: Connection, row: FullRow, wanted: Edit, *, by: str, seen: float | None) -> None:
    """Change a task; ``seen`` is the ``updated_at`` that the caller knows, None for any.

    What an agent has begun with other words begins anew. Raises ``ConflictError`` where an agent has the task, where
    it is done, and where it has changed since.
    """
    found = _lock.first(conn, row.id)
    assert found is not None
    if found[0] not in EDITABLE:
        raise ConflictError(f"task {row.id} is {found[0]}; only one that no agent has can be edited")
    if seen is not None and found[1] != seen:
        raise ConflictError(f"task {row.id} has changed meanwhile; look at it again")
    before = as_task(row).__dict__ | {"profile": row.pool}
    after = {name: before[name] if value is None else value for name, value in wanted}
    changed = sorted(name for name, value in after.items() if value != before[name])
    if not changed:
        return
    pool = after["profile"]
    _change.run(
        conn,
        row.id,
        after["title"],
        after["prompt"],
        int(after["priority"]),
        now(conn),
        None if pool == GENERAL else pool,
        pool,
        orjson.dumps(after["checks"]).decode(),
        orjson.dumps(after["scope"]).decode(),
        after["budget_nusd"],
    )
    if not _TOLD.isdisjoint(changed):
        _anew.run(conn, row.id)
    if "budget_nusd" in changed:
        _cap.run(conn, f"task:{row.id}", after["budget_nusd"])
    emit(conn, "task.edited", task_id=row.id, data={"by": by, "fields": changed})
    if row.overlap == "wait" and after["scope"]:
        _predict.run(conn, row.id, "[]", 1)
    if row.guarded or after["scope"]:  # its files or its turn may be others now: all that waits is judged again
        events = holding.free_from(conn, [row.id], now(conn), "was edited")[1]
        events += holding.free_one(conn, row.id, now(conn), "was edited")
        emit_many(conn, events)
    if row.overlap == "wait" and not after["scope"] and not _TOLD.isdisjoint(changed):
        guesses = predict(after["prompt"], wanted.title or "", row.repo, history.recall(conn, row.project))
        _predict.run(conn, row.id, stored(guesses), int(bool(guesses)))
