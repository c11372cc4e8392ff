"""A task as the queries load it: plain, mutable while a transaction works on it, and cheap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final, Self, TypeVar

import orjson

from ezaigent.core.change import Change
from ezaigent.tasks.models import Claim, Priority, State, Task


class _Loaded:
    """Remembers what a row was when it was loaded or saved, so that only what changed since is written."""

    __slots__ = ("before",)
    before: tuple[Any, ...]
    """The values of ``MUTABLE``."""


@dataclass(slots=True)
class TaskRow(_Loaded):
    """What transitions look at and change: enough to move a task, without its prompt."""

    id: str
    pool: str
    max_attempts: int | None
    not_before: float | None
    steps: int
    guarded: int
    """1: does not run beside a task that changes the same files, and it is known which ones it changes."""
    held_by: str | None
    """The task that changes the same files and goes first."""
    state: str
    attempts: int
    crashes: int
    session: int
    fresh: int
    """1: the next claim begins a new attempt with a new journal."""
    fence: int
    agent: str | None
    run_id: str | None
    worker: str | None
    lease_until: float | None
    wake_at: float | None
    queued_at: float | None
    cancel_requested: bool
    reason: str
    change: str | None
    updated_at: float
    started_at: float | None
    finished_at: float | None

    @classmethod
    def loaded(cls, values: Sequence[Any]) -> Self:
        """Return the row with these values, in the order of its columns, as one that can be moved and saved."""
        row = cls(*values)
        row.before = mutable_values(row)
        return row


@dataclass(slots=True)
class FullRow(TaskRow):
    """A whole row of ``tasks``."""

    key: str | None
    title: str
    prompt: str
    repo: str
    base: str | None
    project: str
    profile: str | None
    priority: int
    scope: str
    checks: str
    needs: str
    overlap: str
    predicted: str
    budget_nusd: int | None
    created_at: float


COLUMNS: Final = tuple(field.name for field in fields(TaskRow))
ALL_COLUMNS: Final = tuple(field.name for field in fields(FullRow))
STORED: Final = tuple(name for name in ALL_COLUMNS if name != "steps")
"""The columns of the table. The steps of a task are counted in its journal."""
MUTABLE: Final = COLUMNS[COLUMNS.index("held_by") :]
"""What transitions change."""

mutable_values: attrgetter[tuple[Any, ...]] = attrgetter(*MUTABLE)
all_values: attrgetter[tuple[Any, ...]] = attrgetter(*STORED)

_Model = TypeVar("_Model", Task, Claim)
_FIELDS: Final = frozenset(Task.model_fields)
_CLAIM_FIELDS: Final = frozenset(Claim.model_fields)
_PRIORITIES: Final = {priority.value: priority for priority in Priority}
_STATES: Final = {state.value: state for state in State}


def as_task(row: FullRow) -> Task:
    """Return the row as a task."""
    values = {
        "prompt": row.prompt,
        "repo": row.repo,
        "base": row.base,
        "title": row.title,
        "profile": row.profile,
        "priority": _PRIORITIES[row.priority],
        "needs": _texts(row.needs),
        "scope": _texts(row.scope),
        "overlap": row.overlap,
        "predicted": tuple(glob for glob, _ in orjson.loads(row.predicted)) if row.predicted != "[]" else (),
        "checks": _texts(row.checks),
        "budget_nusd": row.budget_nusd,
        "not_before": row.not_before,
        "max_attempts": row.max_attempts,
        "key": row.key,
        "id": row.id,
        "project": row.project,
        "created_at": row.created_at,
    }
    return _filled(Task, values | _moving(row), _FIELDS)


def renewed(task: Task, row: TaskRow) -> Task:
    """Return the task as its row says now."""
    return _filled(Task, task.__dict__ | _moving(row), _FIELDS)


def as_claim(row: FullRow, *, profile: str, resumed: bool, alone: bool) -> Claim:
    """Return the claim that the row's present run has."""
    values = {
        "task": as_task(row),
        "run_id": row.run_id,
        "fence": row.fence,
        "agent": row.agent,
        "profile": profile,
        "worker": row.worker,
        "resumed": resumed,
        "alone": alone,
    }
    return _filled(Claim, values, _CLAIM_FIELDS)


def _moving(row: TaskRow) -> dict[str, Any]:
    return {
        "state": _STATES[row.state],
        "attempts": row.attempts,
        "crashes": row.crashes,
        "session": row.session,
        "fence": row.fence,
        "agent": row.agent,
        "run_id": row.run_id,
        "worker": row.worker,
        "lease_until": row.lease_until,
        "wake_at": row.wake_at,
        "held_by": row.held_by,
        "cancel_requested": bool(row.cancel_requested),
        "reason": row.reason,
        "steps": row.steps,
        "change": Change.model_validate_json(row.change) if row.change else None,
        "updated_at": row.updated_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }


def _texts(json: str) -> tuple[str, ...]:
    return tuple(orjson.loads(json)) if json != "[]" else ()


def _filled(kind: type[_Model], values: dict[str, Any], names: frozenset[str]) -> _Model:
    """Do what ``model_construct`` does, without its walk over every field.

    The values come from our own database, so nothing is validated again: batches of claims and finishes would spend
    most of their time there.
    """
    model = kind.__new__(kind)
    put = object.__setattr__
    put(model, "__dict__", values)
    put(model, "__pydantic_fields_set__", names)
    put(model, "__pydantic_extra__", None)
    put(model, "__pydantic_private__", None)
    return model
