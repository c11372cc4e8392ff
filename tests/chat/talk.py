"""A chat on a real queue, with a fleet that is told what it looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ezaigent.chat import AgentFacts, Chat, CostFacts, FleetDoor, Interpreter, Reply
from ezaigent.core.settings import QueueSettings
from ezaigent.store import Database, EventLog
from ezaigent.tasks import Claim, NewTask, Slot, Task, TaskQueue

PROFILES: Mapping[str, Sequence[str]] = {
    "claude": ("architecture", "refactoring"),
    "gpt": ("backend logic",),
    "deepseek": ("testing",),
}


@dataclass
class Door(FleetDoor):
    """A fleet of which the tests know everything."""

    queue: TaskQueue
    present: list[AgentFacts] = field(default_factory=list[AgentFacts])
    drained: list[str] = field(default_factory=list[str])
    sizes: dict[str, int] = field(default_factory=dict[str, int])

    async def agents(self) -> Sequence[AgentFacts]:
        pauses = await self.queue.pauses()
        return [one.model_copy(update={"status": "paused"}) if one.name in pauses else one for one in self.present]

    def profiles(self) -> Mapping[str, Sequence[str]]:
        return PROFILES

    async def drain(self, agents: Sequence[str], *, by: str) -> Sequence[str]:
        self.drained += agents
        return agents

    async def size(self, pool: str) -> int:
        return self.sizes.get(pool, sum(one.profile == pool for one in self.present))

    async def scale(self, pool: str, count: int, *, by: str) -> str:
        self.sizes[pool] = count
        return f"{pool} will have {count}"

    async def cost(self, since: float | None) -> CostFacts:
        return CostFacts(cost_nusd=1_500_000_000, calls=3, unknown_calls=1 if since is None else 0)

    async def task_cost(self, task_id: str) -> CostFacts:
        return CostFacts(cost_nusd=20_000_000, calls=2)

    async def submit(self, new: Sequence[NewTask], *, by: str) -> Sequence[Task]:
        return await self.queue.submit_many(new, by=by)


class Talk:
    """One person's view of the chat."""

    def __init__(self, db: Database, interpreter: Interpreter | None = None) -> None:
        self.db = db
        self.queue = TaskQueue(db, QueueSettings())
        self.door = Door(self.queue)
        self.chat = Chat(db, self.queue, self.door, interpreter)
        for name in ("claude-1", "claude-2", "gpt-1"):
            profile = name.partition("-")[0]
            self.door.present.append(
                AgentFacts(name=name, profile=profile, status="idle", specialties=tuple(PROFILES[profile]))
            )

    async def __call__(self, text: str, *, by: str = "ada", to: str = "fleet", may_change: bool = True) -> Reply:
        return await self.chat.say(text, by=by, to=to, may_change=may_change)

    async def task(self, prompt: str = "Do it.", **fields: object) -> Task:
        """Queue a task."""
        return await self.queue.submit(NewTask.model_validate({"prompt": prompt, "repo": "/tmp/shop", **fields}))

    async def begin(self, agent: str = "claude-1") -> Claim:
        """Let an agent claim a task."""
        profile = agent.partition("-")[0]
        claim = (await self.queue.claim("worker", [Slot(agent=agent, profile=profile)]))[0]
        for place, one in enumerate(self.door.present):
            if one.name == agent:
                busy = {"status": "active", "task_id": claim.task.id, "title": claim.task.prompt}
                self.door.present[place] = one.model_copy(update=busy)
        return claim

    async def paused(self) -> list[str]:
        """Return the agents that are held."""
        pauses = await self.queue.pauses()
        return [one.name for one in self.door.present if one.name in pauses]

    async def events(self, *kinds: str) -> int:
        """Return how many events of these kinds there are."""
        return len(await EventLog(self.db).read(0, limit=10_000, kinds=list(kinds)))
