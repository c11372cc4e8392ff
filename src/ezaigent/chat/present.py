"""The fleet while one line is answered: who is there is asked once, which is most of what a short answer takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ezaigent.chat.ports import AgentFacts, CostFacts, FleetDoor
    from ezaigent.tasks import NewTask, Task


class Present:
    """A ``FleetDoor`` whose agents are those that were there when they were first asked for."""

    def __init__(self, fleet: FleetDoor) -> None:
        """Ask ``fleet``."""
        self._fleet = fleet
        self._agents: Sequence[AgentFacts] | None = None

    async def agents(self) -> Sequence[AgentFacts]:
        """See ``FleetDoor``."""
        if self._agents is None:
            self._agents = await self._fleet.agents()
        return self._agents

    def profiles(self) -> Mapping[str, Sequence[str]]:
        """See ``FleetDoor``."""
        return self._fleet.profiles()

    async def drain(self, agents: Sequence[str], *, by: str) -> Sequence[str]:
        """See ``FleetDoor``."""
        return await self._fleet.drain(agents, by=by)

    async def size(self, pool: str) -> int:
        """See ``FleetDoor``."""
        return await self._fleet.size(pool)

    async def scale(self, pool: str, count: int, *, by: str) -> str:
        """See ``FleetDoor``."""
        return await self._fleet.scale(pool, count, by=by)

    async def cost(self, since: float | None) -> CostFacts:
        """See ``FleetDoor``."""
        return await self._fleet.cost(since)

    async def task_cost(self, task_id: str) -> CostFacts:
        """See ``FleetDoor``."""
        return await self._fleet.task_cost(task_id)

    async def submit(self, new: Sequence[NewTask], *, by: str) -> Sequence[Task]:
        """See ``FleetDoor``."""
        return await self._fleet.submit(new, by=by)
