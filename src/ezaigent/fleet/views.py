"""What the outside sees of a task: the one shape that the command line and every other door print."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict

from ezaigent.core.logins import without_login
from ezaigent.core.money import usd
from ezaigent.costs import Totals
from ezaigent.tasks import Task


class CheckView(BaseModel):
    """A check command and how it ended."""

    command: str
    ok: bool
    exit_code: int


class UsageView(BaseModel):
    """Tokens of all model calls of the task, over all attempts."""

    input_tokens: int = 0
    """Tokens sent, cached ones included."""
    cache_read_tokens: int = 0
    """Of these, read from the provider's cache."""
    output_tokens: int = 0
    """Tokens received, reasoning included."""


class TaskView(BaseModel):
    """A task with its derived numbers."""

    model_config = ConfigDict(frozen=True)

    id: str
    state: str
    title: str
    prompt: str
    repo: str
    base: str | None
    priority: str
    needs: tuple[str, ...]
    scope: tuple[str, ...]
    """Globs of the files that the change may touch; empty: all."""
    wanted_checks: tuple[str, ...]
    """Commands that must succeed on the finished work."""
    profile: str | None
    agent: str | None
    branch: str | None
    commit: str | None
    published: bool
    note: str
    reason: str
    attempts: int
    steps: int
    checks: tuple[CheckView, ...]
    """How the checks ended on the present change."""
    usage: UsageView
    cost_usd: float | None
    """USD spent so far; null when the price of a call is unknown."""
    budget_usd: float | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    seconds: float | None
    """From the first claim to the end."""

    @classmethod
    def of(cls, task: Task, totals: Totals) -> Self:
        """Join a task with what it cost."""
        change = task.change
        ended = task.finished_at if task.state.settled else None
        return cls(
            id=task.id,
            state=task.state.value,
            title=task.title,
            prompt=task.prompt,
            repo=without_login(task.repo),
            base=task.base,
            priority=task.priority.name.lower(),
            needs=task.needs,
            scope=task.scope,
            wanted_checks=task.checks,
            profile=task.profile,
            agent=task.agent,
            branch=change.branch if change else None,
            commit=change.commit if change else None,
            published=change.published if change else False,
            note=change.note if change else "",
            reason=task.reason,
            attempts=task.attempts,
            steps=task.steps,
            checks=tuple(
                CheckView(command=check.command, ok=check.ok, exit_code=check.exit_code)
                for check in (change.checks if change else ())
            ),
            usage=UsageView(
                input_tokens=totals.input_tokens,
                cache_read_tokens=totals.cache_read_tokens,
                output_tokens=totals.output_tokens,
            ),
            cost_usd=usd(totals.cost_nusd) if not totals.unknown_calls else None,
            budget_usd=usd(task.budget_nusd),
            created_at=task.created_at,
            started_at=task.started_at,
            finished_at=ended,
            seconds=ended - task.started_at if ended and task.started_at else None,
        )
