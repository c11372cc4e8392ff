"""Find out that this worker claims nothing although it is alive and could: it begins to claim anew, a few times.

The store is asked, not the worker's own memory, which may be what is wrong: is there a task that has waited for long,
and an agent of this worker that could take it? Like stalls, time is counted by looks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final

import structlog

from ezaigent.core.settings import RecoverySettings
from ezaigent.store import Connection, Database, Sql, emit
from ezaigent.tasks import GENERAL, pauses

log = structlog.get_logger(__name__)

TIMES: Final = 3
"""Times in a row that a worker begins anew."""
ANEW: Final = "it begins to claim anew"
OTHERS: Final = "it ends, and its agents are left to other workers"
NOTHING: Final = "nothing more is tried: restart the worker"

_idle = Sql(
    """SELECT agent, profile FROM seats WHERE worker = $1 AND ready_at IS NOT NULL AND leaving IS NULL
    AND NOT EXISTS (SELECT 1 FROM tasks WHERE state = 'running' AND tasks.worker = $1 AND tasks.agent = seats.agent)
    ORDER BY agent"""
)
_waiting = Sql(
    """SELECT id, {now} - queued_at FROM tasks WHERE state = 'queued' AND pool IN [$1] AND NOT (id IN [$3])
    AND queued_at <= {now} - CAST($2 AS double precision) LIMIT 1"""
)


@dataclass(frozen=True, slots=True)
class Overlooked:
    """A task that nobody takes although an agent of this worker could."""

    task: str
    waited: float
    """Seconds in the queue."""
    agent: str


def overlooked(
    conn: Connection,
    worker: str,
    *,
    general: Collection[str],
    left_alone: Collection[str],
    after: float,
    parked: Collection[str] = (),
) -> Overlooked | None:
    """Return a task that has waited ``after`` seconds or more for one of the idle agents of ``worker``.

    ``general`` are the profiles that take tasks of no profile; tasks ``left_alone`` are not for this worker now, and
    agents of the profiles ``parked`` are right to take none.
    """
    held = pauses(conn)
    idle = {profile: agent for agent, profile in _idle.all(conn, worker) if agent not in held and profile not in parked}
    if not idle:
        return None
    able = dict(idle)
    for profile in idle.keys() & set(general):
        able[GENERAL] = idle[profile]
    for pool, agent in able.items():
        if (found := _waiting.first(conn, [pool], after, list(left_alone))) is not None:
            return Overlooked(found[0], float(found[1]), agent)
    return None


class IdleWatch:
    """Judges by what each look finds whether the worker has stopped claiming, and says what to do about it."""

    def __init__(self, patience: float, last: str) -> None:
        """``patience`` is how many seconds a task may be overlooked, ``last`` what is done in the end."""
        self._patience = patience
        self._last = last
        self._claims = 0
        self._still = 0.0
        self._acted = 0

    def look(self, found: Overlooked | None, claims: int, passed: float) -> str | None:
        """Return what is to be done, if anything.

        ``claims`` is how many runs the worker has begun in all, ``passed`` the number of seconds since the last look.
        """
        if found is None or claims != self._claims:
            if claims != self._claims:
                self._acted = 0
            self._claims, self._still = claims, 0.0
            return None
        self._still += min(passed, self._patience / 2)  # what passes while this process stands still is nobody's fault
        if self._still < self._patience or self._acted > TIMES:
            return None
        self._still = 0.0
        self._acted += 1
        return ANEW if self._acted <= TIMES else self._last


async def watch_claims(
    db: Database,
    worker: str,
    settings: RecoverySettings,
    *,
    general: Collection[str],
    left_alone: Callable[[], Collection[str]],
    parked: Callable[[], Collection[str]],
    claims: Callable[[], int],
    last: str,
    act: Callable[[str], Awaitable[None]],
) -> None:
    """Look again and again, without end; ``act`` is told what to do, after that was recorded with its reason.

    ``claims`` returns how many runs the worker has begun in all; ``last`` is done when beginning anew was no help.
    """
    watch, period = IdleWatch(settings.idle, last), settings.idle / 4
    looked = time.monotonic()
    while True:
        await asyncio.sleep(period)
        found = await db.read(
            lambda conn: overlooked(
                conn, worker, general=general, left_alone=left_alone(), after=settings.idle, parked=parked()
            )
        )
        now = time.monotonic()
        action = watch.look(found, claims(), now - looked)
        looked = now
        if action is None or found is None:
            continue
        reason = f"{found.task} has waited for {found.waited:.0f} s, and {found.agent} is idle"
        log.error("the worker claims nothing though there is work for it", reason=reason, action=action)
        data = {"what": "claims nothing", "reason": reason, "action": action, "worker": worker}
        await db.write(lambda conn, data=data: emit(conn, "recovery.acted", data=data))
        await act(action)
