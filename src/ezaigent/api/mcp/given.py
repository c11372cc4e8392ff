"""What the tools take and give, where that is not what a route takes and gives."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from ezaigent.api.models import Given, Shown, StateName, TaskDraft, Text
from ezaigent.costs import Totals
from ezaigent.fleet import AgentView, TaskView
from ezaigent.tasks import QueueStats

LONGEST_WAIT: Final = 25.0
"""Seconds: less than the patience of any client that is known."""

TaskId = Annotated[str, Field(pattern="^[0-9a-z]{1,32}$")]
Who = Annotated[str, Field(pattern="^[A-Za-z0-9._-]{1,100}$")]


class Nothing(Given):
    """A tool that takes nothing."""


class NewWork(TaskDraft):
    """Work to be queued."""

    key: Annotated[Text, Field(min_length=1, max_length=200)] | None = None
    """Idempotency key: the same key a hundred times is one task."""


class OneTask(Given):
    """A task."""

    task_id: TaskId
    """Task id, or a unique beginning of one."""


class WaitedTask(OneTask):
    """A task, and how long to wait for it."""

    wait_seconds: Annotated[float, Field(ge=0, le=LONGEST_WAIT)] = 0.0
    """Answer as soon as no agent will work on it any more, or a person must answer; at the latest after so long."""


class Wanted(Given):
    """Which tasks to list."""

    state: list[StateName] | None = None
    """Only these states."""
    profile: Annotated[Text, Field(max_length=200)] | None = None
    repo: Annotated[Text, Field(max_length=4096)] | None = None
    """Only tasks of this repository."""
    text: Annotated[Text, Field(max_length=200)] | None = None
    """Only tasks with this in title or prompt, in any case."""
    since: Annotated[float, Field(ge=0)] | None = None
    """Submitted at or after, seconds since 1970."""
    limit: Annotated[int, Field(ge=1, le=500)] = 20
    cursor: Annotated[str, Field(pattern="^[0-9a-z]{1,32}$")] | None = None
    """``next`` of the page before."""


class DiffPart(OneTask):
    """Which part of a change to return."""

    offset: Annotated[int, Field(ge=0, le=2**40)] = 0
    """``next`` of the part before."""
    limit: Annotated[int, Field(ge=1, le=1_000_000)] = 100_000
    """Characters."""


class SomeAgents(Given):
    """One agent or several."""

    agent: Who
    """Agent, such as claude-1; a profile for its agents; all."""


class Words(SomeAgents):
    """A message."""

    text: Annotated[Text, Field(min_length=1, max_length=20_000)]
    """Delivered before the next model request."""


class PoolSize(Given):
    """How many agents a pool shall have."""

    pool: Who
    """Profile, such as claude."""
    agents: Annotated[int, Field(ge=0, le=1000)]
    """How many of them; those that are too many go when they have finished their task."""


class Span(Given):
    """Which spending to report."""

    by: Literal["task", "agent", "profile", "model", "day"] = "day"
    since: Annotated[float, Field(ge=0, le=1e12)] = 0.0
    """Seconds since 1970; 0 for the beginning."""
    until: Annotated[float, Field(ge=0, le=1e12)] = 1e12
    """Seconds since 1970."""


# ---------------------------------------------------------------------------------------------- given back


class Submitted(Shown):
    """A task that was queued."""

    task: TaskView
    note: str = ""
    """What stands in its way now."""


class SeenTask(Shown):
    """A task, and what it waits for or what became of it."""

    task: TaskView
    why: str
    settled: bool
    """Whether no agent will work on it by itself any more: its change is there, or there will be none."""


class Patch(Shown):
    """A part of a change as a patch."""

    diff: str
    offset: int
    total: int
    """Characters of the whole patch."""
    next: int | None
    """Give it as ``offset`` to go on; null at the end."""


class Today(Shown):
    """What the present UTC day has cost."""

    cost_usd: float
    """Sum of the known prices: a lower bound while ``unknown_calls`` is not 0."""
    calls: int
    unknown_calls: int

    @classmethod
    def of(cls, totals: Totals) -> Today:
        """Show the sums."""
        return cls(cost_usd=totals.cost_nusd / 1e9, calls=totals.calls, unknown_calls=totals.unknown_calls)


class FleetStatus(Shown):
    """The fleet on one screen."""

    version: str
    agents: list[AgentView]
    queue: QueueStats
    today: Today


class Scaled(Shown):
    """What follows from a pool's new size."""

    said: str
