"""A task as the queries load it: plain, mutable while a transaction works on it, and cheap."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final

import orjson

from ezaigent.core.change import Change
from ezaigent.tasks.models import Priority, State, Task


@dataclass(slots=True)
class TaskRow:
    """One row of ``tasks``; the fields stand in the order of the table's columns."""

    id: str
    key: str | None
    title: str
    prompt: str
    repo: str
    base: str | None
    project: str
    profile: str | None
    pool: str
    priority: int
    scope: str
    checks: str
    needs: str
    budget_nusd: int | None
    not_before: float | None
    max_attempts: int | None
    state: str
    attempts: int
    crashes: int
    session: int
    fresh: int
    fence: int
    agent: str | None
    run_id: str | None
    worker: str | None
    lease_until: float | None
    wake_at: float | None
    queued_at: float | None
    cancel_requested: bool
    reason: str
    steps: int
    change: str | None
    created_at: float
    updated_at: float
    started_at: float | None
    finished_at: float | None


COLUMNS: Final = tuple(field.name for field in fields(TaskRow))
MUTABLE: Final = (
    "state",
    "attempts",
    "crashes",
    "session",
    "fresh",
    "fence",
    "agent",
    "run_id",
    "worker",
    "lease_until",
    "wake_at",
    "queued_at",
    "cancel_requested",
    "reason",
    "change",
    "updated_at",
    "started_at",
    "finished_at",
)
"""What transitions change. ``steps`` is not among them: runs count it up in their own writes."""

saved_values: attrgetter[tuple[Any, ...]] = attrgetter("id", *MUTABLE)
all_values: attrgetter[tuple[Any, ...]] = attrgetter(*COLUMNS)

_FIELDS: Final = frozenset(Task.model_fields)
_PRIORITIES: Final = {priority.value: priority for priority in Priority}
_STATES: Final = {state.value: state for state in State}


def texts(json: str) -> tuple[str, ...]:
    """Return the texts of a JSON list."""
    return tuple(orjson.loads(json)) if json != "[]" else ()


def as_task(row: TaskRow) -> Task:
    """Return the row as a task.

    It came from our own database, so nothing is validated again: a batch of claims would spend most of its time there.
    """
    values = {
        "prompt": row.prompt,
        "repo": row.repo,
        "base": row.base,
        "title": row.title,
        "profile": row.profile,
        "priority": _PRIORITIES[row.priority],
        "needs": texts(row.needs),
        "scope": texts(row.scope),
        "checks": texts(row.checks),
        "budget_nusd": row.budget_nusd,
        "not_before": row.not_before,
        "max_attempts": row.max_attempts,
        "key": row.key,
        "id": row.id,
        "state": _STATES[row.state],
        "project": row.project,
        "attempts": row.attempts,
        "crashes": row.crashes,
        "session": row.session,
        "fence": row.fence,
        "agent": row.agent,
        "run_id": row.run_id,
        "worker": row.worker,
        "lease_until": row.lease_until,
        "wake_at": row.wake_at,
        "cancel_requested": bool(row.cancel_requested),
        "reason": row.reason,
        "steps": row.steps,
        "change": Change.model_validate_json(row.change) if row.change else None,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }
    # What model_construct() does, without its walk over every field.
    task = Task.__new__(Task)
    object.__setattr__(task, "__dict__", values)
    object.__setattr__(task, "__pydantic_fields_set__", _FIELDS)
    object.__setattr__(task, "__pydantic_extra__", None)
    object.__setattr__(task, "__pydantic_private__", None)
    return task
