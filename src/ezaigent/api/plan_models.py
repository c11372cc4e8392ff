"""What the plans' routes take and give, beside the plan of room chat."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ezaigent.api.models import Given, Line, Listing, PriorityName, Shown, TaskItem, Text
from ezaigent.chat import Plan, PlannedTask, checked

Name = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,47}$")]


class PlanText(Given):
    """A document that asks for work."""

    text: Annotated[Text, Field(min_length=1, max_length=200_000)]
    """Text or Markdown: requirements, an issue, a list of things to do. No line may have more than 5,000 characters."""
    repo: Line | None = None
    """Path on the server or URL of the repository; left out: the one that the document names, if any."""
    structure: bool = False
    """Read the document by its own structure, also where a model is configured (``[chat] profile``)."""


class PlanProposed(Shown):
    """A task graph to be edited; nothing is queued."""

    plan: Plan
    """As ``submit_plan`` takes it."""
    notes: list[str]
    """What could not be read from the document."""
    profile: str | None
    """The profile whose model has read the document; null: it was read by its structure."""


class PlanTask(Given):
    """One task of a plan."""

    name: Name
    """Short name, by which other tasks of the plan need it."""
    title: Annotated[Text, Field(max_length=500)] = ""
    prompt: Annotated[Text, Field(min_length=1, max_length=200_000)]
    needs: Annotated[tuple[Name, ...], Field(max_length=500)] = ()
    """Names of tasks of this plan that must be ready first."""
    scope: Annotated[tuple[Line, ...], Field(max_length=1000)] = ()
    """Globs of the files that the change may touch; empty: all."""
    checks: Annotated[tuple[Line, ...], Field(max_length=100)] = ()
    """Commands that must exit with 0 on the finished tree."""
    profile: Line | None = None
    """Kind of agent that must do it; left out: any that takes general work."""
    priority: PriorityName = "normal"


class PlanGiven(Given):
    """A plan to be queued whole, or not at all."""

    title: Annotated[Text, Field(max_length=4096)] = ""
    repo: Line
    """Path on the server or URL of the repository."""
    base: Line | None = None
    """Branch, tag or commit to start from; left out: the repository's default branch."""
    tasks: Annotated[list[PlanTask], Field(min_length=1, max_length=500)]

    def plan(self) -> Plan:
        """Return the plan. Raises ``UsageError`` for a circle of needs, an unknown need or a name given twice."""
        tasks = tuple(PlannedTask.model_validate(task.model_dump()) for task in self.tasks)
        return checked(tasks, title=self.title, repo=self.repo, base=self.base)


class PlanQueued(Listing[TaskItem]):
    """The tasks of a plan, in its order."""
