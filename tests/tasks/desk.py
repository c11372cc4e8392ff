"""A queue with a short hand: what nearly every test of this room does, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ezaigent.core.change import Change
from ezaigent.core.events import Event
from ezaigent.core.settings import QueueSettings
from ezaigent.store import Connection, Database, EventLog, Sql
from ezaigent.tasks import Claim, NewTask, Slot, State, Task, TaskQueue

_expire = Sql("UPDATE tasks SET lease_until = {now} - 1.0 WHERE state = 'running' AND id IN [$1]")
_due = Sql("UPDATE tasks SET wake_at = {now} - 1.0 WHERE wake_at IS NOT NULL AND id IN [$1]")
_runs = Sql("SELECT fence, agent, session, outcome, reason FROM runs WHERE task_id = $1 ORDER BY fence")

CHANGE = Change(branch="ezaigent/x", commit="c" * 40, tree="t" * 40, base="b" * 40, files=2, insertions=3, deletions=1)

STATE_AFTER = {
    "task.queued": State.QUEUED,
    "task.waiting": State.WAITING,
    "task.claimed": State.RUNNING,
    "task.review": State.REVIEW,
    "task.done": State.DONE,
    "task.blocked": State.BLOCKED,
    "task.retrying": State.WAITING,
    "task.failed": State.FAILED,
    "task.cancelled": State.CANCELLED,
    "task.requeued": State.QUEUED,
}
"""What each event says about its task's state; the others change none."""


class Desk:
    """One queue, and the database behind it for what no caller may do: to let time pass."""

    def __init__(self, db: Database, **settings: Any) -> None:
        self.db = db
        self.log = EventLog(db)
        self.settings = QueueSettings(**settings)
        self.queue = TaskQueue(db, self.settings)

    async def task(self, prompt: str = "do it", **fields: Any) -> Task:
        return await self.queue.submit(NewTask.model_validate({"prompt": prompt, "repo": "/srv/one", **fields}))

    async def claim_all(
        self, count: int = 1, *, worker: str = "w", profile: str = "claude", only: Collection[str] | None = None
    ) -> list[Claim]:
        return await self.queue.claim(worker, slots(count, profile), only=only)

    async def claim(self, *, worker: str = "w", profile: str = "claude", only: Collection[str] | None = None) -> Claim:
        claims = await self.claim_all(worker=worker, profile=profile, only=only)
        assert len(claims) == 1
        return claims[0]

    async def running(self, **fields: Any) -> Claim:
        task = await self.task(**fields)
        return await self.claim(only=[task.id], profile=fields.get("profile") or "claude")

    async def state(self, task: Task | Claim) -> State:
        return (await self.queue.get(task.task.id if isinstance(task, Claim) else task.id)).state

    async def expire(self, *tasks: str) -> None:
        """Let the leases of these tasks end."""
        await self.db.write(lambda conn: _expire.run(conn, list(tasks)))

    async def make_due(self, *tasks: str) -> None:
        """Let the time come that these tasks wait for."""
        await self.db.write(lambda conn: _due.run(conn, list(tasks)))

    async def runs(self, task_id: str) -> list[tuple[Any, ...]]:
        """Return fence, agent, session, outcome and reason of each run."""
        return await self.db.read(lambda conn: [tuple(row) for row in _runs.all(conn, task_id)])

    async def events(self, task_id: str | None = None) -> list[Event]:
        return await self.log.read(0, 100_000, task_id=task_id)

    async def kinds(self, task_id: str) -> list[str]:
        return [event.kind.removeprefix("task.") for event in await self.events(task_id)]


def slots(count: int, profile: str = "claude", *, general: bool = True) -> list[Slot]:
    return [Slot(agent=f"{profile}-{number}", profile=profile, general=general) for number in range(1, count + 1)]


def ids(claims: Sequence[Claim]) -> list[str]:
    return [claim.task.id for claim in claims]


def fold(events: Sequence[Event]) -> dict[str, State]:
    """Return the states that the events tell, without a look at the tasks."""
    states: dict[str, State] = {}
    for event in events:
        assert event.task_id is not None
        if event.kind == "task.submitted":
            states[event.task_id] = State(event.data["state"])
        elif event.kind in STATE_AFTER:
            states[event.task_id] = STATE_AFTER[event.kind]
    return states


def scalar(conn: Connection, text: str) -> Any:
    row = Sql(text).first(conn)
    return row[0] if row is not None else None
