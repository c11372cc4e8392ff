"""Who is there: workers and their agents as their heartbeats tell. Status is derived, never stored."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ezaigent.core.errors import NotFoundError
from ezaigent.fleet import liveness, queries, seats
from ezaigent.fleet.models import WorkerInfo
from ezaigent.fleet.queries import Held
from ezaigent.fleet.seats import Seat
from ezaigent.store import Database
from ezaigent.tasks import pauses

Status = Literal["active", "idle", "paused", "offline", "starting", "draining"]


class AgentView(BaseModel):
    """An agent with its derived status."""

    model_config = ConfigDict(frozen=True)

    name: str
    profile: str
    status: Status
    """``active``: has a task with a live lease. ``draining``: takes no further task. ``starting``: cannot claim yet.

    ``offline``: paused and hosted by no live worker, or wanted while there is no worker at all.
    """
    paused: bool
    leaving: str | None = None
    """Why it takes no further task; null: it stays."""
    parked: str | None = None
    """Why it takes no task although it may: quota or money of its models is used up; null: that is not so."""
    task_id: str | None = None
    title: str | None = None
    model: str | None = None
    """``provider:model`` that its present run uses, after a failover too; null: its profile's first, if any."""
    sandbox: str | None = None
    worker: str | None = None
    seen_at: float | None = None
    """Last heartbeat of its worker, seconds since 1970."""


class Roster:
    """The list of workers and agents."""

    def __init__(self, db: Database, locks: Path | None) -> None:
        """A worker is live within one lease of its own after its heartbeat, and while its lock in ``locks`` is held."""
        self._db = db
        self._locks = locks

    async def workers(self) -> list[WorkerInfo]:
        """Return the live workers."""
        alive = self._alive()
        return await self._db.read(lambda conn: queries.workers(conn, alive, leases=1.0))

    async def agents(self) -> list[AgentView]:
        """Return the agents that exist, by worker, then paused ones that do not."""
        alive = self._alive()
        live, all_seats, busy, paused = await self._db.read(
            lambda conn: (
                {worker.id: worker for worker in queries.workers(conn, alive, leases=1.0)},
                seats.all_seats(conn, exclusive=True),
                queries.busy(conn),
                pauses(conn),
            )
        )
        places = {worker: place for place, worker in enumerate(live)}
        views = [
            _view(
                seat,
                live.get(seat.worker or ""),
                busy.get(seat.agent),
                paused=seat.agent in paused,
                working=bool(live),
            )
            for seat in sorted(all_seats, key=lambda seat: places.get(seat.worker or "", len(places)))
            if seat.worker is None or seat.worker in live
        ]
        there = {view.name for view in views}
        return views + [
            AgentView(name=name, profile=profile_of(name), status="offline", paused=True)
            for name in sorted(paused.named() - there)
        ]

    async def named(self, name: str, *, pools: Collection[str] = ()) -> list[str]:
        """Return the agents that ``name`` means: one, a profile's, or ``all``. Raises ``NotFoundError`` for none.

        One of ``pools``, or ``all`` where there are any, may have no agents now.
        """
        known = [view.name for view in await self.agents()]
        found = [one for one in known if name in {"all", one, profile_of(one)}]
        if not found and not (name in pools or (pools and name == "all")):
            listed = ", ".join(known) or "none (start some with: ezaigent up)"
            raise NotFoundError(f"no agent {name!r}; there are: {listed}")
        return found

    def _alive(self) -> frozenset[str] | None:
        return None if self._locks is None else liveness.alive(self._locks)


def _view(seat: Seat, worker: WorkerInfo | None, held: Held | None, *, paused: bool, working: bool) -> AgentView:
    return AgentView(
        name=seat.agent,
        profile=seat.profile,
        status=_status(seat, held, paused=paused, working=working),
        paused=paused,
        leaving=seat.leaving,
        parked=parked.words if worker is not None and (parked := worker.parked.get(seat.profile)) is not None else None,
        task_id=held.task_id if held else None,
        title=held.title if held else None,
        model=held.model if held else None,
        sandbox=worker.sandbox if worker else None,
        worker=worker.id if worker else None,
        seen_at=worker.seen_at if worker else None,
    )


def _status(seat: Seat, held: Held | None, *, paused: bool, working: bool) -> Status:
    if paused:
        return "paused"
    if seat.leaving is not None:
        return "draining"
    if held is not None:
        return "active"
    if seat.ready_at is not None:
        return "idle"
    return "starting" if working else "offline"


def profile_of(agent: str) -> str:
    """Return the profile that an agent's name begins with."""
    return agent.rpartition("-")[0]
