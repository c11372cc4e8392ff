"""The autoscaler as it runs: one process leads, decides at once when something happens, and sees to it that it is done.

A look reads the events after the cursor and the present state, the pure ``decide`` says what to do, and one transaction
under the leader's fence writes orders, record and memory. So each fact is told once, also over a change of leader.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from ezaigent.core.errors import EzAigentError, UnavailableError
from ezaigent.core.scaling import ScalingSettings
from ezaigent.fleet import liveness
from ezaigent.fleet.launchers import Launcher
from ezaigent.fleet.leader import LEASE, Election, Term, hold, recalled, remember
from ezaigent.fleet.scaler import overrides, queries
from ezaigent.fleet.scaler.carrying import carry_out
from ezaigent.fleet.scaler.facts import KINDS, Facts
from ezaigent.fleet.scaler.host import Host
from ezaigent.fleet.scaler.memory import Memory
from ezaigent.fleet.scaler.pools import Catalog
from ezaigent.fleet.scaler.snapshot import view
from ezaigent.fleet.scaling import decide
from ezaigent.store import Connection, Database, EventLog

log = structlog.get_logger(__name__)

OFFICE: Final = "scaler"
POLL: Final = 0.5
"""Seconds between looks at the event log when this process commits nothing."""
COALESCE: Final = 0.2
"""Seconds between two looks at least, so that a burst makes few decisions."""
PAGE: Final = 2000
"""Events read at a time."""
BEHIND: Final = 100_000
"""Events behind the log's head above which the past is given up: the loads of yesterday say little about now."""
UPKEEP: Final = 3600.0
"""Seconds between two clearings of old decisions."""


class Scaler:
    """One candidate for the autoscaler's office: leads when nobody else does, else stands by."""

    def __init__(
        self,
        *,
        db: Database,
        events: EventLog,
        holder: str,
        file: ScalingSettings,
        catalog: Catalog,
        launcher: Launcher,
        locks: Path | None = None,
        host: Host | None = None,
        spent: Callable[[], Awaitable[bool]] | None = None,
        lease: float = LEASE,
    ) -> None:
        """Size the pools of ``catalog`` by the settings in ``file`` and what was changed at run time.

        Workers count as live while they are heard of, and while their lock in ``locks`` is held.
        ``host`` guards this machine; ``spent`` says whether today's budget is used up.
        """
        self._db = db
        self._events = events
        self._election = Election(db, OFFICE, holder, lease)
        self._file = file
        self._catalog = catalog
        self._launcher = launcher
        self._locks = locks
        self._host = host
        self._spent = spent
        self._wake = asyncio.Event()
        self._upkeep = 0.0
        self._ensuring: asyncio.Task[None] | None = None
        self._problem = ""
        self.leading = False
        """Whether this one decides now."""
        self.decisions = 0
        """Decisions made by this one."""

    async def run(self) -> None:
        """Stand by, lead, stand by again; ends by being cancelled, and then leaves the office to the next one."""
        await self._election.stand(self._serve)

    async def _serve(self, term: Term) -> None:
        self.leading = True
        try:
            with self._db.on_commit(self._wake.set):
                await self._lead(term)
        except asyncio.CancelledError:
            with contextlib.suppress(EzAigentError):
                alive = self._alive()
                await self._election.resign(term, lambda conn: queries.clear_unhosted(conn, alive))
            raise
        finally:
            self.leading = False
            if self._ensuring is not None:
                self._ensuring.cancel()
                await asyncio.wait({self._ensuring})

    async def _lead(self, term: Term) -> None:
        memory = Memory.from_text(await self._db.read(lambda conn: recalled(conn, OFFICE)))
        facts, due, renewal = Facts(waking=True), 0.0, 0.0
        poll, coalesce = (min(seconds, term.lease / 6) for seconds in (POLL, COALESCE))
        while True:
            self._wake.clear()
            memory = await self._follow(memory, facts)
            now = time.monotonic()
            if facts.waking or now >= due:
                memory, facts, period = await self._tick(term, memory, facts)
                due, renewal = now + period, now + term.lease / 3
            elif now >= renewal:
                await self._election.renew(term)
                self._ensure()
                renewal = now + term.lease / 3
            await asyncio.sleep(max(0.0, coalesce - (time.monotonic() - now)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(poll):
                    await self._wake.wait()

    async def _follow(self, memory: Memory, facts: Facts) -> Memory:
        """Add to ``facts`` what the log says since the cursor; return the memory with the new one."""
        head = await self._events.head()
        cursor = memory.cursor
        if cursor is None or head - cursor > BEHIND:
            return memory.forgetting(head)
        while head > cursor:
            page = await self._events.read(cursor, PAGE, kinds=KINDS)
            facts.tell(page)
            last = page[-1].seq if page else head
            cursor = last if len(page) == PAGE else max(head, last)
        return memory if cursor == memory.cursor else replace(memory, cursor=cursor)

    async def _tick(self, term: Term, memory: Memory, facts: Facts) -> tuple[Memory, Facts, float]:
        """Look, decide and act; return the memory, the facts that are still to be told, and the period."""
        alive = self._alive()
        ends = [event.run_id for event in facts.ends if event.run_id]

        def read(conn: Connection) -> tuple[overrides.InForce, queries.Look, dict[str, queries.RunEnd]]:
            force = overrides.in_force(conn, self._file)
            spending = any(
                own.hour_usd is not None or own.day_usd is not None
                for own in (force.settings.pool(name) for name in self._catalog.pools)
            )
            look = queries.look(conn, alive=alive, spending=spending)
            return force, look, queries.run_ends(conn, ends)

        force, look, runs = await self._db.read(read)
        self._complain(force.problem)
        if force.stopped:
            memory = memory.forgetting(memory.cursor or 0)
            text = memory.to_text()
            await self._db.write(lambda conn: _keep(conn, term, text))
            self._ensure()
            return memory, Facts(), force.settings.period
        seen = view(
            look,
            facts,
            runs,
            memory,
            settings=force.settings,
            catalog=self._catalog,
            strained=self._strained(),
            spent=await self._spent() if self._spent is not None else False,
        )
        decision, after = await self._db.write(
            lambda conn: carry_out(conn, term, seen.snapshot, seen.memory, settings=seen.settings, decide=decide)
        )
        self.decisions += 1
        if any(made.binding == "stale" for made in decision.pools):
            facts.waking = False
            return memory, facts, force.settings.period
        self._ensure()
        await self._clear()
        return after, Facts(), force.settings.period

    def _ensure(self) -> None:
        """Let the launcher see the seats as they are after the decision, beside the next look."""
        if self._ensuring is None or self._ensuring.done():
            self._ensuring = asyncio.create_task(self._host_all(), name="launcher")

    async def _host_all(self) -> None:
        try:
            alive = self._alive()
            seats, workers = await self._db.read(lambda conn: queries.hosting(conn, alive))
            await self._launcher.ensure(seats, workers)
        except UnavailableError as error:
            log.warning("the launcher has to wait for the store", reason=str(error))
        except Exception:
            log.exception("the launcher broke; it is called again")

    def _alive(self) -> frozenset[str] | None:
        return None if self._locks is None else liveness.alive(self._locks)

    async def _clear(self) -> None:
        if time.monotonic() >= self._upkeep:
            self._upkeep = time.monotonic() + UPKEEP
            await self._db.write(queries.prune)

    def _strained(self) -> bool:
        return bool(self._host is not None and self._host.strained())

    def _complain(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.warning("settings changed at run time contradict the file and do not hold", reason=problem)
        self._problem = problem


def _keep(conn: Connection, term: Term, text: str) -> None:
    hold(conn, term)
    remember(conn, term, text)
