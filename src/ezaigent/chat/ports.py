"""What the chat needs from the rest of the product; wiring fills it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, ConfigDict

from ezaigent.tasks import NewTask, Task

if TYPE_CHECKING:
    from ezaigent.chat.commands import Command
    from ezaigent.chat.known import Known
    from ezaigent.chat.plans import Plan


class AgentFacts(BaseModel):
    """An agent as the roster derives it."""

    model_config = ConfigDict(frozen=True)

    name: str
    profile: str
    status: str
    """``active`` only where a fresh heartbeat and a lease say so; else idle, starting, paused, draining, offline."""
    task_id: str | None = None
    title: str | None = None
    specialties: tuple[str, ...] = ()
    seen_at: float | None = None
    """Last heartbeat of its worker, seconds since 1970."""


class CostFacts(BaseModel):
    """What model calls came to."""

    model_config = ConfigDict(frozen=True)

    cost_nusd: int = 0
    calls: int = 0
    unknown_calls: int = 0
    """Calls whose price is unknown; they are not in the sum."""


class FleetDoor(Protocol):
    """The fleet, as the chat sees it. Every method may raise the errors of ``core.errors``."""

    async def agents(self) -> Sequence[AgentFacts]:
        """Return the agents that exist, and paused ones that do not; whose worker is silent is offline."""
        ...

    def profiles(self) -> Mapping[str, Sequence[str]]:
        """Return the specialties of each profile."""
        ...

    async def drain(self, agents: Sequence[str], *, by: str) -> Sequence[str]:
        """Let these agents finish and take no more; return the names of those for which that is new."""
        ...

    async def size(self, pool: str) -> int:
        """Return how many agents the pool shall have now, those that are still to come included."""
        ...

    async def scale(self, pool: str, count: int, *, by: str) -> str:
        """Set how many agents the pool has; return a sentence on what follows."""
        ...

    async def cost(self, since: float | None) -> CostFacts:
        """Return what was spent since a time (seconds since 1970), or ever."""
        ...

    async def task_cost(self, task_id: str) -> CostFacts:
        """Return what a task has cost."""
        ...

    async def submit(self, new: Sequence[NewTask], *, by: str) -> Sequence[Task]:
        """Check and queue tasks, all or none."""
        ...


class Interpreter(Protocol):
    """A model that reads what templates could not. Without one the chat works all the same."""

    async def command(self, text: str, known: Known) -> Command | None:
        """Return the command that is meant; None for none. Raises ``EzAigentError`` when no model answers."""
        ...

    async def plan(self, text: str, known: Known) -> Plan:
        """Return the task graph that a document asks for. Raises ``EzAigentError`` when no model answers."""
        ...
