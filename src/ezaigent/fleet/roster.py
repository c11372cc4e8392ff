"""Who is there: workers and their agents as their heartbeats tell. Status is derived, never stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ezaigent.core.errors import NotFoundError
from ezaigent.fleet import liveness, queries
from ezaigent.fleet.models import WorkerInfo
from ezaigent.store import Database
from ezaigent.tasks import Slot

Status = Literal["active", "idle", "paused", "offline"]


class AgentView(BaseModel):
    """An agent with its derived status."""

    model_config = ConfigDict(frozen=True)

    name: str
    profile: str
    status: Status
    """``active``: has a task with a live lease. ``offline``: paused, and no live worker hosts it."""
    paused: bool
    task_id: str | None = None
    title: str | None = None
    sandbox: str | None = None
    worker: str | None = None
    seen_at: float | None = None
    """Last heartbeat of its worker, seconds since 1970."""


class Roster:
    """The list of workers and agents."""

    def __init__(self, db: Database, lease: float, locks: Path | None) -> None:
        """A worker is live within one ``lease`` (seconds) of its heartbeat, and while its lock in ``locks`` is held."""
        self._db = db
        self._fresh = lease
        self._locks = locks

    async def register(self, info: WorkerInfo, wanted: Sequence[Slot]) -> tuple[WorkerInfo, list[Slot]]:
        """Enter a worker and give its agents names that no live worker uses: ``claude-1``, ``claude-2``."""
        alive = self._alive()
        return await self._db.write(lambda conn: queries.register(conn, info, wanted, self._fresh, alive))

    async def workers(self) -> list[WorkerInfo]:
        """Return the live workers."""
        alive = self._alive()
        return await self._db.read(lambda conn: queries.workers(conn, self._fresh, alive))

    async def agents(self) -> list[AgentView]:
        """Return the agents of live workers, then paused ones that none of them hosts."""
        alive = self._alive()
        live, busy, paused = await self._db.read(
            lambda conn: (queries.workers(conn, self._fresh, alive), queries.busy(conn), queries.paused(conn))
        )
        views = [
            self._view(worker, name, busy.get(name), paused=name in paused) for worker in live for name in worker.agents
        ]
        hosted = {view.name for view in views}
        return views + [
            AgentView(name=name, profile=profile_of(name), status="offline", paused=True)
            for name in sorted(paused - hosted)
        ]

    async def named(self, name: str) -> list[str]:
        """Return the agents that ``name`` means: one, a profile's, or ``all``. Raises ``NotFoundError`` for none."""
        known = [view.name for view in await self.agents()]
        found = [one for one in known if name in {"all", one, profile_of(one)}]
        if not found:
            listed = ", ".join(known) or "none (start some with: ezaigent up)"
            raise NotFoundError(f"no agent {name!r}; there are: {listed}")
        return found

    def _alive(self) -> frozenset[str] | None:
        return None if self._locks is None else liveness.alive(self._locks)

    def _view(self, worker: WorkerInfo, name: str, task: tuple[str, str] | None, *, paused: bool) -> AgentView:
        return AgentView(
            name=name,
            profile=profile_of(name),
            status="paused" if paused else "active" if task else "idle",
            paused=paused,
            task_id=task[0] if task else None,
            title=task[1] if task else None,
            sandbox=worker.sandbox,
            worker=worker.id,
            seen_at=worker.seen_at,
        )


def profile_of(agent: str) -> str:
    """Return the profile that an agent's name begins with."""
    return agent.rpartition("-")[0]
