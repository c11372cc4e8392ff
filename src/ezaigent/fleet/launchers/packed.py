"""Start single workers, packed with agents; start again what died, later each time; replace what does not get ready."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from ezaigent.core.errors import LauncherError
from ezaigent.core.ids import new_id
from ezaigent.fleet.launchers.packing import without_room, workers_for
from ezaigent.fleet.launchers.ports import Site
from ezaigent.fleet.models import WorkerInfo
from ezaigent.fleet.seats import Seat
from ezaigent.store import Database, emit

log = structlog.get_logger(__name__)

_TOO_LONG: Final = 3.0
"""A start may take so many times the usual."""
_SHORTEST: Final = 5.0
"""Seconds that every start is given, however fast the others were."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a launcher waits; all in seconds."""

    startup: float = 10.0
    """The usual start, until starts were measured."""
    silence: float = 45.0
    """A worker that was ready and is not heard of for so long is replaced."""
    idle: float = 30.0
    """A worker without any agent is stopped after this."""
    steady: float = 60.0
    """A worker that was ready for so long did not fail at starting: after its death there is no long wait."""
    backoff: float = 1.0
    """Wait before a new start after the first failure; doubles each time."""
    backoff_cap: float = 60.0
    close: float = 90.0
    """Time to end in order."""


@dataclass
class _Started:
    at: float
    ready_at: float | None = None
    missed_since: float | None = None
    empty_since: float | None = None
    stopping: bool = False


class PackedLauncher:
    """A ``Launcher`` that starts workers of ``room`` agents each at a ``Site``, at most ``most`` of them."""

    def __init__(
        self,
        db: Database,
        site: Site,
        *,
        room: int,
        most: int,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock`` counts seconds."""
        self._db = db
        self._site = site
        self._room = room
        self._most = most
        self._patience = patience or Patience()
        self._clock = clock
        self._units: dict[str, _Started] = {}
        self._starts: deque[float] = deque(maxlen=20)
        self._failures = 0
        self._not_before = 0.0
        self._closed = False
        self._one_at_a_time = asyncio.Lock()

    @property
    def usual_start(self) -> float:
        """Seconds that a start usually takes: the median of the last ones."""
        return statistics.median(self._starts) if self._starts else self._patience.startup

    @property
    def lasting(self) -> bool:
        """See ``Launcher.lasting``."""
        return self._site.lasting

    async def ensure(self, seats: Sequence[Seat], workers: Sequence[WorkerInfo]) -> None:
        """See ``Launcher.ensure``."""
        async with self._one_at_a_time:
            if self._closed:
                return
            try:
                await self._count()
                for name, unit in list(self._units.items()):
                    await self._judge(name, unit, workers)
                await self._fill(without_room(seats, workers))
            except LauncherError as error:
                await self._failed("", str(error))

    def hurry(self) -> None:
        """See ``Launcher.hurry``."""
        self._site.hurry()

    async def close(self) -> None:
        """See ``Launcher.close``."""
        async with self._one_at_a_time:
            self._closed = True
            await self._site.close(patience=self._patience.close)

    async def _count(self) -> None:
        """Find out which workers have ended, and which an earlier launcher left here."""
        running = await self._site.running()
        now = self._clock()
        for name in running - self._units.keys():
            self._units[name] = _Started(now)
        for name in self._units.keys() - running:
            unit = self._units.pop(name)
            if not unit.stopping:
                await self._failed(name, "it ended", unit)

    async def _judge(self, name: str, unit: _Started, workers: Sequence[WorkerInfo]) -> None:
        now = self._clock()
        worker = next((one for one in workers if self._site.is_it(name, one)), None)
        if worker is not None:
            unit.missed_since = None
            if unit.ready_at is None:
                unit.ready_at = now
                self._starts.append(now - unit.at)
            unit.empty_since = (unit.empty_since or now) if not worker.agents else None
            return
        unit.missed_since = unit.missed_since or now
        if unit.stopping:
            return  # it has left the list, and cleans up
        if unit.ready_at is None:
            limit = max(_SHORTEST, _TOO_LONG * self.usual_start)
            if now - unit.at > limit:
                await self._replace(name, f"it was not ready after {limit:.0f} s")
        elif now - unit.missed_since > self._patience.silence:
            await self._replace(name, f"it was not heard of for {self._patience.silence:.0f} s")

    async def _fill(self, lacking: int) -> None:
        """Start what ``lacking`` seats need beside what is starting already, or stop what nobody needs."""
        now = self._clock()
        units = [unit for unit in self._units.values() if not unit.stopping]
        starting = sum(unit.ready_at is None for unit in units)
        number = min(workers_for(lacking, self._room) - starting, self._most - len(units))
        if number > 0 and now >= self._not_before:
            for _ in range(number):
                await self._start()
        for name, unit in self._units.items():
            empty = unit.empty_since is not None and now - unit.empty_since >= self._patience.idle
            if not lacking and empty and not unit.stopping:
                unit.stopping = True
                await self._site.stop(name)
                await self._tell("launcher.stopped", name, {"reason": "it has no agents"})

    async def _start(self) -> None:
        name = f"ezaigent-{new_id()[-10:].lower()}"
        self._units[name] = _Started(self._clock())
        try:
            await self._site.start(name, self._room)
        except LauncherError:
            del self._units[name]
            raise
        await self._tell("launcher.started", name, {"room": self._room})

    async def _replace(self, name: str, reason: str) -> None:
        unit = self._units[name]
        await self._site.kill(name)
        del self._units[name]
        await self._failed(name, reason, unit)

    async def _failed(self, name: str, reason: str, unit: _Started | None = None) -> None:
        ready_at = None if unit is None else unit.ready_at
        lived = 0.0 if ready_at is None else self._clock() - ready_at
        self._failures = 1 if lived >= self._patience.steady else self._failures + 1
        longest = min(self._patience.backoff_cap, self._patience.backoff * 2.0 ** min(self._failures - 1, 30))
        wait = longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, keeps no secret
        self._not_before = self._clock() + wait
        log.warning("a started worker failed", launcher=self._site.kind, worker=name, reason=reason, wait=wait)
        told = {"reason": reason, "ready": ready_at is not None, "failures": self._failures, "wait": wait}
        await self._tell("launcher.failed", name, told)

    async def _tell(self, kind: str, name: str, data: Mapping[str, object]) -> None:
        said = {"launcher": self._site.kind, "name": name, **data}
        await self._db.write(lambda conn: emit(conn, kind, data=said))
