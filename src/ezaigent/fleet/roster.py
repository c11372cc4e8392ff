"""Who is there: workers and their agents as their heartbeats tell. Status is derived, never stored."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from ezaigent.core.errors import NotFoundError
from ezaigent.fleet import queries
from ezaigent.fleet.models import WorkerInfo
from ezaigent.store import Database
from ezaigent.tasks import Slot

FRESH = 2.0
"""A worker counts as live for this many leases after its last heartbeat."""


class AgentView(BaseModel):
    """An agent with its derived status."""

    model_config = ConfigDict(frozen=True)

    name: str
    profile: str
    status: str
    """active (has a task with a live lease), idle, paused, offline."""
    task_id: str | None = None
    title: str | None = None
    sandbox: str | None = None
    worker: str | None = None
    seen_at: float | None = None


async def register(
    db: Database, info: WorkerInfo, wanted: Sequence[Slot], lease: float
) -> tuple[WorkerInfo, list[Slot]]:
    """Enter a worker and give its agents names that no live worker uses: ``claude-1``, ``claude-2``."""
    return await db.write(lambda conn: queries.register(conn, info, wanted, lease * FRESH))


async def live_workers(db: Database, lease: float) -> list[WorkerInfo]:
    """Return the workers that were heard of lately."""
    return await db.read(lambda conn: queries.workers(conn, lease * FRESH))


async def agents(db: Database, lease: float) -> list[AgentView]:
    """Return the agents of live workers, then paused ones that are nowhere."""
    live, busy, paused = await db.read(
        lambda conn: (queries.workers(conn, lease * FRESH), queries.busy(conn), queries.paused(conn))
    )
    views: list[AgentView] = []
    for worker in live:
        for name in worker.agents:
            task = busy.get(name)
            views.append(
                AgentView(
                    name=name,
                    profile=name.rpartition("-")[0],
                    status="paused" if name in paused else "active" if task else "idle",
                    task_id=task[0] if task else None,
                    title=task[1] if task else None,
                    sandbox=worker.sandbox,
                    worker=worker.id,
                    seen_at=worker.seen_at,
                )
            )
    known = {view.name for view in views}
    views += [
        AgentView(name=name, profile=name.rpartition("-")[0], status="paused")
        for name in sorted(paused)
        if name not in known
    ]
    return views


async def named(db: Database, lease: float, name: str) -> list[str]:
    """Return the agents that ``name`` means: one, a profile's, or all. Raises ``NotFoundError`` for none."""
    known = [view.name for view in await agents(db, lease)]
    found = [one for one in known if name in ("all", one, one.rpartition("-")[0])]
    if not found:
        raise NotFoundError(f"no agent {name!r}; there are: {', '.join(known) or 'none (start some with ezaigent up)'}")
    return found
