"""Keeps the agents that a person asked a launcher's fleet for, and lets the launcher find workers for all seats."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from ezaigent.core.errors import EzAigentError, UnavailableError
from ezaigent.fleet import seats
from ezaigent.fleet.launchers import Launcher
from ezaigent.fleet.leader import LAUNCHING, LEASE, Election, Term, leader
from ezaigent.fleet.models import WorkerInfo
from ezaigent.fleet.roster import Roster
from ezaigent.fleet.seats import DRAINED, Seat
from ezaigent.store import Connection, Database, EventLog

log = structlog.get_logger(__name__)

OFFICE: Final = LAUNCHING
PERIOD: Final = 1.0
"""Seconds between two looks."""
_VACANT: Final = 3
"""Looks on which the office was vacant before somebody takes it that should not."""


class Crew:
    """Orders seats until each profile has as many as ``asked``, and tells the ``launcher`` of all seats.

    Whom a person drains is not ordered again. Of several crews on one store one holds the office: two launchers that
    see the same seats would each start workers for them. The launcher of another one only looks after what it has
    started already.
    """

    def __init__(
        self,
        db: Database,
        roster: Roster,
        launcher: Launcher,
        asked: Mapping[str, int],
        *,
        holder: str,
        lease: float = LEASE,
    ) -> None:
        """Nothing is ordered before ``look``. ``holder`` is this candidate's name, no other one's."""
        self.launcher = launcher
        self.should_lead: Callable[[], bool] = lambda: True
        """Whether the office is for it rather than others; beside an autoscaler: whether that one leads."""
        self._holder = holder
        self._election = Election(db, OFFICE, holder, lease)
        self._db = db
        self._roster = roster
        self._asked = dict(asked)
        self._events = EventLog(db)
        self._cursor: int | None = None
        self._pinned: dict[str, str] = {}
        self._elected = asyncio.Event()
        self._vacant = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Stand for the office and look, from now on, until ``close``."""
        standing = self._election.stand(self._hold, needed=self._wanted)
        self._tasks = {
            asyncio.create_task(standing, name="launcher's office"),
            asyncio.create_task(self._keep(), name="launcher"),
        }

    async def _wanted(self) -> bool:
        """Leave the office to whoever should have it, but not for long to nobody: that one may be draining."""
        if self.should_lead():
            return True
        vacant = await self._db.read(lambda conn: leader(conn, OFFICE)) is None
        self._vacant = self._vacant + 1 if vacant else 0
        return self._vacant > _VACANT

    async def _hold(self, term: Term) -> None:
        self._elected.set()
        self._vacant = 0
        should = False
        try:
            while not should or self.should_lead():
                should = self.should_lead()
                await asyncio.sleep(term.lease / 3)
                await self._election.renew(term)
        finally:
            with contextlib.suppress(EzAigentError):
                await self._election.resign(term)

    async def _keep(self) -> None:
        while True:
            try:
                await self.look()
            except UnavailableError as error:
                log.warning("the launcher waits for the store", reason=str(error))
            except Exception:
                log.exception("the launcher broke; it goes on")
            self._elected.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PERIOD):
                    await self._elected.wait()

    async def look(self) -> None:
        """Order what is missing, then let the launcher see to it. Raises ``UnavailableError`` without the store."""
        workers = await self._roster.workers()
        there = await self._db.read(seats.all_seats)
        await self._note_drained(there)
        if self._missing(there, workers):
            there = await self._db.write(lambda conn: self._order(conn, workers))
        if await self._db.read(self._leads):
            await self.launcher.ensure(there, workers)
        elif not self.launcher.lasting:  # what outlives its launcher is the business of the one that leads
            await self.launcher.ensure((), workers)

    async def close(self) -> None:
        """Stop the launcher. Where its workers end with it, what was asked for here is no longer wanted."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.launcher.close()
        if self.launcher.lasting:
            return
        try:
            await self._db.write(self._forget)
        except UnavailableError as error:
            log.warning("what was ordered cannot be taken back", reason=str(error))

    def _leads(self, conn: Connection) -> bool:
        """Ask the store, not what was true before this process slept."""
        found = leader(conn, OFFICE)
        return found is not None and found.holder == self._holder

    async def _note_drained(self, there: Sequence[Seat]) -> None:
        """Want one agent less for each that a person drained: by the log, for an idle one is gone before it is seen."""
        if self._cursor is None:
            self._cursor = await self._events.head()
        for event in await self._events.read(self._cursor, limit=1000, kinds=["agent.leaving"]):
            self._cursor = event.seq
            profile = self._pinned.pop(event.agent or "", None)
            if profile is not None and str(event.data["reason"]).startswith(DRAINED) and self._asked.get(profile):
                self._asked[profile] -= 1
        self._pinned = {seat.agent: seat.profile for seat in there if seat.pinned and seat.leaving is None}

    def _missing(self, there: Sequence[Seat], workers: Sequence[WorkerInfo]) -> dict[str, int]:
        """Return how many seats are to be ordered: those of workers that a person started elsewhere do not count."""
        elsewhere = {worker.id for worker in workers if not worker.hosts}
        have = Counter(seat.profile for seat in there if seat.pinned and seat.worker not in elsewhere)
        return {profile: count - have[profile] for profile, count in self._asked.items() if count > have[profile]}

    def _order(self, conn: Connection, workers: Sequence[WorkerInfo]) -> list[Seat]:
        for profile, count in self._missing(seats.all_seats(conn), workers).items():
            seats.order(conn, profile, count, pinned=True)
        return seats.all_seats(conn)

    def _forget(self, conn: Connection) -> None:
        waiting = [seat.agent for seat in seats.all_seats(conn) if seat.pinned and seat.worker is None]
        seats.leave(conn, waiting, "its launcher stops", recallable=False)
