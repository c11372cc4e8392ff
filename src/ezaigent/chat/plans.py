"""A proposed task graph: what a person edits before anything is queued."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ezaigent.core.errors import UsageError

_NAME: Final = re.compile(r"[^a-z0-9]+")
_LONGEST: Final = 32
MOST: Final = 500
"""Tasks of one plan."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]


class PlannedTask(BaseModel):
    """One task of a plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    """Short name, by which other tasks of the plan need it."""
    title: str = ""
    prompt: Annotated[str, Field(min_length=1, max_length=200_000)]
    needs: tuple[Name, ...] = ()
    """Names of tasks of this plan that must be ready first."""
    scope: tuple[str, ...] = ()
    """Globs of the files that the change may touch; empty: all."""
    checks: tuple[str, ...] = ()
    """Commands that must pass on the result."""
    profile: str | None = None
    priority: Literal["critical", "high", "normal", "low"] = "normal"


class Plan(BaseModel):
    """Tasks that belong together, each named once, their needs without a circle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = ""
    repo: str | None = None
    """Path or URL of the repository that the tasks are for."""
    base: str | None = None
    tasks: Annotated[tuple[PlannedTask, ...], Field(max_length=MOST)] = ()

    @model_validator(mode="after")
    def _sound(self) -> Plan:
        problem = trouble(self.tasks)
        if problem:
            raise ValueError(problem)
        return self

    def ordered(self) -> list[PlannedTask]:
        """Return the tasks, each after those it needs, otherwise in their order."""
        done: dict[str, PlannedTask] = {}
        left = list(self.tasks)
        while left:
            ready = [task for task in left if all(need in done for need in task.needs)]
            done.update((task.name, task) for task in ready)
            left = [task for task in left if task.name not in done]
        return list(done.values())


def trouble(tasks: tuple[PlannedTask, ...]) -> str | None:
    """Return in one line what is wrong with the names and needs; None where they are sound."""
    names: set[str] = set()
    for task in tasks:
        if task.name in names:
            return f"two tasks are named {task.name!r}; give each its own name"
        names.add(task.name)
    for task in tasks:
        unknown = next((need for need in task.needs if need not in names), None)
        if unknown is not None:
            return f"task {task.name!r} needs {unknown!r}, which is not in the plan"
    circle = find_circle({task.name: task.needs for task in tasks})
    return f"the needs go in a circle: {' → '.join(circle)}; take one of them out" if circle else None


def find_circle(needs: dict[str, tuple[str, ...]]) -> list[str] | None:
    """Return the names of a circle, first name again at its end; None where there is none."""
    finished: set[str] = set()
    for start in needs:
        path: dict[str, None] = {}  # in the order of the walk
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, at = stack.pop()
            if at == 0:
                if name in path:
                    walked = list(path)
                    return [*walked[walked.index(name) :], name]
                if name in finished:
                    continue
                path[name] = None
            if at < len(needs.get(name, ())):
                stack.append((name, at + 1))
                stack.append((needs[name][at], 0))
            else:
                finished.add(name)
                path.popitem()
    return None


def name_for(title: str, taken: set[str]) -> str:
    """Return a short name that is not taken, and take it."""
    words = _NAME.sub("-", title.casefold()).strip("-")
    base = words[:_LONGEST].rsplit("-", 1)[0] if len(words) > _LONGEST and "-" in words[:_LONGEST] else words[:_LONGEST]
    base = base.strip("-") or "task"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    return name


def checked(
    tasks: tuple[PlannedTask, ...], *, title: str = "", repo: str | None = None, base: str | None = None
) -> Plan:
    """Return the plan of these tasks. Raises ``UsageError`` with the circle, or what else is wrong, by name."""
    if len(tasks) > MOST:
        raise UsageError(f"{len(tasks)} tasks in one plan; split it, {MOST} are the most")
    problem = trouble(tasks)
    if problem:
        raise UsageError(problem)
    return Plan(title=title, repo=repo, base=base, tasks=tasks)
