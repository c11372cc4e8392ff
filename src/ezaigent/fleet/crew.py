"""Keeps the agents that a person asked a launcher's fleet for, and lets the launcher find workers for all seats."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from ezaigent.core.errors import UnavailableError
from ezaigent.fleet import seats
from ezaigent.fleet.launchers import Launcher
from ezaigent.fleet.models import WorkerInfo
from ezaigent.fleet.roster import Roster
from ezaigent.fleet.seats import DRAINED, Seat
from ezaigent.store import Connection, Database, EventLog

log = structlog.get_logger(__name__)

PERIOD: Final = 1.0
"""Seconds between two looks."""


class Crew:
    """Orders seats until each profile has as many as ``asked``, and tells the ``launcher`` of all seats.

    Whom a person drains is not ordered again.
    """

    def __init__(self, db: Database, roster: Roster, launcher: Launcher, asked: Mapping[str, int]) -> None:
        """Nothing is ordered before ``look``."""
        self.launcher = launcher
        self._db = db
        self._roster = roster
        self._asked = dict(asked)
        self._events = EventLog(db)
        self._cursor: int | None = None
        self._pinned: dict[str, str] = {}
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on, until ``close``."""
        self._keeping = asyncio.create_task(self._keep(), name="launcher")

    async def _keep(self) -> None:
        while True:
            try:
                await self.look()
            except UnavailableError as error:
                log.warning("the launcher waits for the store", reason=str(error))
            except Exception:
                log.exception("the launcher broke; it goes on")
            await asyncio.sleep(PERIOD)

    async def look(self) -> None:
        """Order what is missing, then let the launcher see to it. Raises ``UnavailableError`` without the store."""
        workers = await self._roster.workers()
        there = await self._db.read(seats.all_seats)
        await self._note_drained(there)
        if self._missing(there, workers):
            there = await self._db.write(lambda conn: self._order(conn, workers))
        await self.launcher.ensure(there, workers)

    async def close(self) -> None:
        """Stop the launcher. Where its workers end with it, what was asked for here is no longer wanted."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        await self.launcher.close()
        if self.launcher.lasting:
            return
        try:
            await self._db.write(self._forget)
        except UnavailableError as error:
            log.warning("what was ordered cannot be taken back", reason=str(error))

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
