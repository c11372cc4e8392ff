"""Who is there: workers and their agents as their heartbeats tell. Status is derived, never stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from ezaigent.core.errors import NotFoundError
from ezaigent.fleet import liveness, queries, seats
from ezaigent.fleet.leader import LAUNCHING, leader
from ezaigent.fleet.models import WorkerInfo
from ezaigent.fleet.queries import Held
from ezaigent.fleet.seats import Seat
from ezaigent.store import Connection, Database
from ezaigent.tasks import Pauses, pauses

Status = Literal["active", "idle", "paused", "offline", "starting", "draining"]
_EVER: Final = 1e9
"""Leases: as many as no worker is silent for."""


class AgentView(BaseModel):
    """An agent with its derived status."""

    model_config = ConfigDict(frozen=True)

    name: str
    profile: str
    status: Status
    """``active``: has a task with a live lease. ``idle``: could take one. ``draining``: takes no further task.

    ``starting``: cannot claim yet; a worker has it, or one that is there, or is to be started, takes its profile.
    ``offline``: its worker is not heard of any more, or it has none, and none is there that could have it.
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


@dataclass(frozen=True)
class _Found:
    """What the store says of everybody."""

    live: Mapping[str, WorkerInfo]
    silent: Mapping[str, WorkerInfo]
    """Workers that are still on the list although they are not heard of any more."""
    launching: bool
    """Whether somebody starts workers for the agents that have none."""
    seats: Sequence[Seat]
    busy: Mapping[str, Held]
    pauses: Pauses

    def hosted(self, seat: Seat) -> bool:
        """Return whether a live worker has the agent, or could get it."""
        if seat.worker is not None:
            return seat.worker in self.live
        return self.launching or any(seat.profile in worker.hosts for worker in self.live.values())


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
        """Return the agents that exist, by worker, those of live ones first, then paused ones that do not exist."""
        alive = self._alive()
        found = await self._db.read(lambda conn: _look(conn, alive))
        workers = {**found.live, **found.silent}
        places = {worker: place for place, worker in enumerate(workers)}
        views = [
            _view(
                seat,
                workers.get(seat.worker or ""),
                found.busy.get(seat.agent),
                paused=seat.agent in found.pauses,
                hosted=found.hosted(seat),
            )
            for seat in sorted(found.seats, key=lambda seat: places.get(seat.worker or "", len(places)))
        ]
        there = {view.name for view in views}
        return views + [
            AgentView(name=name, profile=profile_of(name), status="offline", paused=True)
            for name in sorted(found.pauses.named() - there)
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


def _look(conn: Connection, alive: frozenset[str] | None) -> _Found:
    live = {worker.id: worker for worker in queries.workers(conn, alive, leases=1.0)}
    found = seats.all_seats(conn, exclusive=True)
    silent: dict[str, WorkerInfo] = {}
    if any(seat.worker is not None and seat.worker not in live for seat in found):
        silent = {one.id: one for one in queries.workers(conn, None, leases=_EVER) if one.id not in live}
    launching = any(seat.worker is None for seat in found) and leader(conn, LAUNCHING) is not None
    return _Found(live, silent, launching, found, queries.busy(conn), pauses(conn))


def _view(seat: Seat, worker: WorkerInfo | None, held: Held | None, *, paused: bool, hosted: bool) -> AgentView:
    return AgentView(
        name=seat.agent,
        profile=seat.profile,
        status=_status(seat, held, paused=paused, hosted=hosted),
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


def _status(seat: Seat, held: Held | None, *, paused: bool, hosted: bool) -> Status:
    if not hosted:
        return "offline"
    if paused:
        return "paused"
    if seat.leaving is not None:
        return "draining"
    if held is not None:
        return "active"
    return "starting" if seat.ready_at is None else "idle"


def profile_of(agent: str) -> str:
    """Return the profile that an agent's name begins with."""
    return agent.rpartition("-")[0]
