"""Offices of which the fleet has one holder at a time: elected by a row of the store, with a lease and a fence.

The lease goes by the database's time. Each new holder raises the fence, and whatever a holder writes names its fence in
the same transaction: one that was replaced while it slept finds that out with its first write and becomes a standby.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from ezaigent.core.errors import StaleFence, UnavailableError
from ezaigent.store import Connection, Database, Sql, emit, now

log = structlog.get_logger(__name__)

LAUNCHING: Final = "launcher"
"""The office of who starts workers for agents that have none."""
LEASE: Final = 6.0
"""Seconds after its last word before another one takes over: three missed renewals, and short against a start-up."""

# An end that is further away than any lease was written before the clock was set back.
_take = Sql(
    """INSERT INTO leaders (office, holder, fence, until, state)
    VALUES ($1, $2, 1, {now} + CAST($3 AS double precision), '')
    ON CONFLICT (office) DO UPDATE SET holder = excluded.holder, fence = leaders.fence + 1, until = excluded.until
    WHERE leaders.holder IS NULL OR leaders.until <= {now} OR leaders.until > {now} + 2 * CAST($3 AS double precision)
    RETURNING fence, state"""
)
_free = Sql(
    """SELECT 1 FROM leaders WHERE office = $1 AND holder IS NOT NULL
    AND until > {now} AND until <= {now} + 2 * CAST($2 AS double precision)"""
)
_hold = Sql(
    """UPDATE leaders SET until = {now} + CAST($4 AS double precision)
    WHERE office = $1 AND holder = $2 AND fence = $3"""
)
_remember = Sql("UPDATE leaders SET state = $4 WHERE office = $1 AND holder = $2 AND fence = $3")
_recall = Sql("SELECT state FROM leaders WHERE office = $1")
_resign = Sql("UPDATE leaders SET holder = NULL, until = {now} WHERE office = $1 AND holder = $2 AND fence = $3")
_see = Sql("SELECT holder, fence, until FROM leaders WHERE office = $1 AND holder IS NOT NULL AND until > {now}")


@dataclass(frozen=True, slots=True)
class Term:
    """One holder's time in an office."""

    office: str
    holder: str
    fence: int
    """Grows with each holder."""
    lease: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Leader:
    """Who holds an office now."""

    holder: str
    fence: int
    until: float
    """End of the lease, database time."""


class Election:
    """One candidate for an office. Any number of them stand by."""

    def __init__(self, db: Database, office: str, holder: str, lease: float = LEASE) -> None:
        """``holder`` is this candidate's name, no other one's; all candidates have the same ``lease`` (seconds)."""
        self._db = db
        self._office = office
        self._holder = holder
        self.lease = lease

    async def stand(
        self, serve: Callable[[Term], Awaitable[None]], *, needed: Callable[[], Awaitable[bool]] | None = None
    ) -> None:
        """Stand by, ``serve`` a term, stand by again, without end: it ends by being cancelled.

        Nobody stands for an office that is not ``needed``. A store that cannot be reached is told once; whatever else
        goes wrong ends the term only.
        """
        away = False
        while True:
            try:
                term = await self.campaign() if needed is None or await needed() else None
                if term is not None:
                    log.info("this process holds the office", office=term.office, holder=term.holder, fence=term.fence)
                    await serve(term)
                away = False
            except StaleFence as error:
                log.warning("this process was replaced; it stands by", office=self._office, reason=str(error))
            except UnavailableError as error:
                if not away:
                    log.warning("the store cannot be reached; the office waits", office=self._office, reason=str(error))
                away = True
            except Exception:
                log.exception("the office broke; it begins anew", office=self._office)
            await asyncio.sleep(self.lease / 3 * random.uniform(0.5, 1))  # noqa: S311 - spreads load

    async def campaign(self) -> Term | None:
        """Take the office if nobody holds it; call it every third of a lease. Never waits."""
        if await self._db.read(lambda conn: _free.first(conn, self._office, self.lease)) is not None:
            return None
        return await self._db.write(self._take)

    async def renew(self, term: Term) -> None:
        """Hold the office for one more lease. Raises ``StaleFence`` when another one has it."""
        await self._db.write(lambda conn: hold(conn, term))

    async def resign(self, term: Term, last: Callable[[Connection], None] | None = None) -> None:
        """Leave the office to the next one, at once, with ``last`` in the same transaction.

        Raises ``StaleFence`` when it is lost already; then ``last`` is not done either.
        """

        def resign(conn: Connection) -> None:
            hold(conn, term)
            if last is not None:
                last(conn)
            _resign.run(conn, term.office, term.holder, term.fence)

        await self._db.write(resign)

    def _take(self, conn: Connection) -> Term | None:
        won = _take.first(conn, self._office, self._holder, self.lease)
        if won is None:
            return None
        emit(conn, "leader.elected", data={"office": self._office, "holder": self._holder, "fence": won[0]})
        return Term(self._office, self._holder, won[0], self.lease)


def hold(conn: Connection, term: Term) -> float:
    """Renew the lease within the caller's transaction, and return the database's time.

    Raises ``StaleFence`` unless ``term`` is the present one; until the transaction ends nobody can take over.
    """
    if not _hold.run(conn, term.office, term.holder, term.fence, term.lease):
        raise StaleFence(f"{term.holder} holds the office {term.office!r} no longer: another one has a later fence")
    return now(conn)


def remember(conn: Connection, term: Term, state: str) -> None:
    """Keep what the office knows for the next transaction, or the next holder; call ``hold`` first."""
    if not _remember.run(conn, term.office, term.holder, term.fence, state):
        raise StaleFence(f"{term.holder} holds the office {term.office!r} no longer: another one has a later fence")


def recalled(conn: Connection, office: str) -> str:
    """Return what the office knows; empty before anybody held it."""
    row = _recall.first(conn, office)
    return str(row[0]) if row is not None else ""


def leader(conn: Connection, office: str) -> Leader | None:
    """Return who holds the office now."""
    row = _see.first(conn, office)
    return None if row is None else Leader(row[0], row[1], row[2])
