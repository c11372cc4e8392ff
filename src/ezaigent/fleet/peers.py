"""Workers that watch over each other: who is there, and whose work must be taken over.

How a death is known, the surest way that the deployment has:

- one data folder on one machine: the kernel has let go of the worker's lock file (``liveness``);
- Redis: the worker announced itself there, and was missing on two looks one after the other;
- otherwise: it said nothing to the store for one and a half of its leases (its tasks are free after one), on two looks.

Redis may forget everything (a flush, a restart) or be away. So whoever looks keeps a mark of its own there: when that,
or its own announcement, is missing, nothing is concluded, and only a worker that was seen after that can be missed. A
worker that cannot reach Redis tells the store every second, and who was heard of there just now is not lost.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from ezaigent.fleet import liveness, queries
from ezaigent.fleet.models import WorkerInfo
from ezaigent.fleet.queries import SILENCE
from ezaigent.live import LiveBus
from ezaigent.store import Connection, Database

log = structlog.get_logger(__name__)

GROUP: Final = "workers"
"""Group on the live bus in which workers announce themselves."""
PERIOD: Final = 1.0
"""Seconds between two announcements, and between two looks."""
_TTL: Final = 2.5
_MARK_TTL: Final = 60.0
_LOOKS: Final = 2
_LOOKS_AHEAD: Final = 10
"""Looks on which a worker's last word must be in the future, because the database's clock was set back meanwhile."""
_HEARD: Final = 2.0
"""Seconds since a worker told the store that it is alive, within which it is not lost, whatever Redis says."""
_AWAKE: Final = 0.4
"""Leases within which whoever judges by silence must have been heard of itself."""
_HELD_UP: Final = 2.0
"""Whoever could not look for so long, in seconds, was held up itself, and so may have been the others."""


class Peers:
    """One worker's view of the others, and what it tells them of itself."""

    def __init__(
        self,
        *,
        db: Database,
        bus: LiveBus,
        worker: str,
        lease: float,
        locks: Path | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``locks`` is the folder of lock files where all workers share a machine; ``clock`` counts seconds."""
        self._db = db
        self._bus = bus
        self._me = worker
        self._lease = lease
        self._locks = locks
        self._clock = clock
        self._seen: set[str] = set()
        self._missed: Counter[str] = Counter()
        self._silent: Counter[str] = Counter()
        self._ahead: Counter[str] = Counter()
        self._looked = clock()
        self._marked = False
        self._silence_due = clock() + self._silence

    @property
    def _silence(self) -> float:
        return SILENCE * self._lease

    async def clear(self) -> None:
        """Before a worker starts on this machine: end what the dead ones held."""
        await self._by_lock()
        if self._locks is not None:
            await self._db.write(queries.end_unknown_leases)

    async def announce(self, info: WorkerInfo, *, busy: int) -> None:
        """Be present on the live bus for a moment."""
        await self._bus.announce(GROUP, self._me, _said(info, busy), _TTL)

    async def leave(self) -> None:
        """Be gone from the live bus."""
        await self._bus.leave(GROUP, self._me)
        await self._bus.leave(f"{GROUP}:{self._me}", "mark")

    async def look(self) -> list[str]:
        """Take over from workers that have died; return their ids. Call it every ``PERIOD``, after ``announce``."""
        if self._locks is not None:
            return await self._by_lock()
        lost = await self._by_presence()
        now = self._clock()
        if now >= self._silence_due:
            self._silence_due = now + max(PERIOD, self._lease / 6)
            lost += await self._by_silence()
        return lost

    def held_up(self) -> None:
        """Conclude nothing from silence for a while: the store was away for this worker, and so for the others."""
        self._silence_due = self._clock() + self._silence

    async def _by_lock(self) -> list[str]:
        if self._locks is None:
            return []
        # The list first: a worker holds its lock before it enters the list.
        listed = await self._db.read(queries.ids)
        alive = liveness.alive(self._locks)
        dead = [worker for worker in listed if worker not in alive and worker != self._me]
        return await self._lose(dead, "its process has ended")

    async def _by_silence(self) -> list[str]:
        if self._locks is not None:
            return []
        # Of workers whose words wait for a store that stood still, the first one to be heard must not judge the rest.
        silent, ahead, mute = await self._db.read(
            lambda conn: (queries.silent(conn, SILENCE), queries.ahead(conn), queries.silent(conn, _AWAKE))
        )
        if self._me in mute or self._me in ahead:
            self._silent.clear()
            self._ahead.clear()
            return []
        self._silent = Counter({worker: self._silent[worker] + 1 for worker in silent if worker != self._me})
        self._ahead = Counter({worker: self._ahead[worker] + 1 for worker in ahead})
        dead = [worker for worker, times in self._silent.items() if times >= _LOOKS]
        dead += [worker for worker, times in self._ahead.items() if times >= _LOOKS_AHEAD]
        reason = f"no heartbeat for {SILENCE:g} of its leases"
        return await self._lose(dead, reason, leases=SILENCE, heard_for=_AWAKE * self._lease)

    async def _by_presence(self) -> list[str]:
        now = self._clock()
        held_up, self._looked = now - self._looked > _HELD_UP, now
        present = await self._bus.present(GROUP)
        marked = await self._bus.present(f"{GROUP}:{self._me}")
        if not self._bus.up or held_up or self._me not in present or not (marked and self._marked):
            self._seen.clear()
            self._missed.clear()
            present = {}
        self._marked = self._bus.up
        await self._bus.announce(f"{GROUP}:{self._me}", "mark", {}, _MARK_TTL)
        self._seen |= present.keys()
        self._missed = Counter({worker: self._missed[worker] + 1 for worker in self._seen - present.keys()})
        dead = [worker for worker, times in self._missed.items() if times >= _LOOKS]
        lost = await self._lose(dead, "it is gone from the live bus", silent_for=_HEARD, looked=now)
        self._seen -= set(lost)
        return lost

    async def _lose(
        self,
        dead: list[str],
        reason: str,
        *,
        silent_for: float | None = None,
        leases: float | None = None,
        heard_for: float | None = None,
        looked: float | None = None,
    ) -> list[str]:
        """Count workers as lost; not where that had to wait since they were ``looked`` for: so may their words have."""

        def judge(conn: Connection) -> list[str]:
            if looked is not None and self._clock() - looked > _HELD_UP:
                return []
            return queries.lose(
                *(conn, sorted(dead), reason), by=self._me, silent_for=silent_for, leases=leases, heard_for=heard_for
            )

        if not dead:
            return []
        lost = await self._db.write(judge)
        for worker in lost:
            log.warning("a worker is lost; its tasks are taken over", worker=worker, reason=reason)
        return lost


def _said(info: WorkerInfo, busy: int) -> Mapping[str, Any]:
    return {
        "host": info.host,
        "pid": info.pid,
        "version": info.version,
        "sandbox": info.sandbox,
        "agents": len(info.agents),
        "busy": busy,
        "free": info.free,
        "load": round(os.getloadavg()[0], 2),
        "cpu": round(time.process_time(), 3),
    }
