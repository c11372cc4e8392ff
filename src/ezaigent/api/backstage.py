"""What the API works with: the services of the rooms below, and what wiring puts together of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal, Protocol, Self

from fastapi import Depends, Request

from ezaigent.api.access import Principal
from ezaigent.api.accounts import Accounts
from ezaigent.api.gate import client
from ezaigent.api.hearing import Hearing
from ezaigent.api.stream import Fanout
from ezaigent.chat import Chat, Draft, Plan
from ezaigent.core.settings import Settings
from ezaigent.costs import CostBook
from ezaigent.fleet import Roster, ScalerControl
from ezaigent.hooks import Intake, Webhooks
from ezaigent.live import LiveBus
from ezaigent.push import Notifications
from ezaigent.store import Database, EventLog
from ezaigent.tasks import NewTask, Task, TaskQueue


class Steer(Protocol):
    """Pauses or resumes an agent, a profile's agents, or ``all``; returns their names."""

    async def __call__(self, verb: Literal["pause", "resume"], agent: str, *, by: str) -> list[str]:
        """Do it."""
        ...


class Tell(Protocol):
    """Writes to running agents; returns their names."""

    async def __call__(self, agent: str, text: str, *, by: str, key: str | None = None) -> list[str]:
        """Do it, once for a ``key``."""
        ...


class Drain(Protocol):
    """Lets agents finish what they do and then go; returns their names."""

    async def __call__(self, agent: str, *, by: str) -> list[str]:
        """Do it."""
        ...


class Scale(Protocol):
    """Sets how many agents a pool has; returns a sentence on what follows."""

    async def __call__(self, pool: str, count: int, *, by: str) -> str:
        """Do it."""
        ...


class Merge(Protocol):
    """Merges a task's change onto its base branch."""

    async def __call__(self, task_id: str, *, by: str) -> Task:
        """Do it."""
        ...


class DraftPlan(Protocol):
    """Reads a document into a task graph, by the configured model unless told ``structure``; and names its profile."""

    async def __call__(self, text: str, *, repo: str | None, structure: bool) -> tuple[Draft, str | None]:
        """Do it; the profile is None where the document's own structure was read."""
        ...


class SubmitPlan(Protocol):
    """Queues a plan whole, or not at all."""

    async def __call__(self, plan: Plan, *, key: str | None, by: str) -> list[Task]:
        """Do it, once for a ``key``; the tasks are in the plan's order."""
        ...


@dataclass(frozen=True, kw_only=True)
class Backstage:
    """The services behind the routes."""

    version: str
    settings: Settings
    db: Database
    events: EventLog
    queue: TaskQueue
    costs: CostBook
    roster: Roster
    admit: Callable[[NewTask], Awaitable[NewTask]]
    """Refuses what cannot be worked: an unknown profile, a repository that is none."""
    diff: Callable[[str], Awaitable[str]]
    """Returns a task's change as a patch."""
    merge: Merge
    steer: Steer
    tell: Tell
    drain: Drain
    scale: Scale
    settled: Callable[[str, float], Awaitable[Task]]
    """Returns a task when no agent works on it by itself any more, or a person must answer; at the latest after so many
    seconds."""
    manned: Callable[[str | None], Awaitable[bool]]
    """Whether a live worker would take a task of this profile (None: of any)."""
    chat: Chat
    draft: DraftPlan
    submit_plan: SubmitPlan
    bus: LiveBus
    webhooks: Webhooks
    intake: Intake
    """Takes what code hosts send."""
    push: Notifications
    scaler: Callable[[], ScalerControl]
    """Returns what looks at the autoscaler and steers it."""


@dataclass(frozen=True, kw_only=True)
class Stage(Backstage):
    """The same with what the API itself keeps."""

    accounts: Accounts
    fanout: Fanout
    hearing: Hearing
    pasts: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """Held by what reads and works through much of the fleet's past."""

    @classmethod
    def over(cls, back: Backstage, fanout: Fanout) -> Self:
        """Add what the API keeps; ``fanout`` may be one that nobody has started, where nobody follows events."""
        given = {one.name: getattr(back, one.name) for one in fields(Backstage)}
        return cls(**given, accounts=Accounts(back.db), fanout=fanout, hearing=Hearing(back.bus))


def _stage(request: Request) -> Stage:
    stage = request.app.state.stage
    assert isinstance(stage, Stage)
    return stage


def _caller(request: Request) -> Principal:
    """Return the caller, whom the gate has let in."""
    principal = request.state.principal
    assert isinstance(principal, Principal)
    return principal


def _address(request: Request) -> str:
    return client(request.scope)


On = Annotated[Stage, Depends(_stage)]
Caller = Annotated[Principal, Depends(_caller)]
Address = Annotated[str, Depends(_address)]
