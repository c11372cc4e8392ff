"""The seats of one worker: which agents it hosts, adopts and lets go."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ezaigent.fleet import queries, seats
from ezaigent.fleet.models import Parked, WorkerInfo
from ezaigent.fleet.seats import Seat
from ezaigent.store import Connection, Database, Sql, emit, now
from ezaigent.tasks import Slot

SETTLING: Final = 3.0
"""Seconds that a worker is no judge of others after it came, or came back, to a store without lock files."""
_GAP: Final = 0.55
"""Leases without a word of its own after which a worker is no judge at once. A lease is prolonged every third of it, so
what kept this worker away for less has ended no other one's."""
_BEHIND: Final = 0.42
"""Leases that it then seems to be silent still: more than those within which a judge must have been heard."""
_JUMP: Final = 0.5
"""Leases after a jump of the database's clock within which each living worker has prolonged its leases."""

_waiting = Sql("SELECT 1 FROM seats WHERE worker IS NULL AND leaving IS NULL AND profile IN [$1] LIMIT 1")


@dataclass(frozen=True)
class _Hosted:
    seats: Sequence[Seat]
    info: WorkerInfo
    gone: Sequence[Seat] = ()


class Hosting:
    """What a worker knows of its seats. ``look`` brings it up to date with the store, and the store with it.

    The worker hosts the agents ``asked`` for by a person (a number by profile), and adopts further seats of the
    profiles in ``info.hosts`` while it has room. ``general`` names the profiles whose agents also take tasks that name
    no profile.
    """

    def __init__(
        self,
        db: Database,
        info: WorkerInfo,
        asked: Mapping[str, int],
        general: Collection[str],
        *,
        lease: float,
        settles: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with nothing; ``enter`` puts the worker on the list.

        Where it ``settles`` it takes over nothing in its first seconds there: it cannot know who else lives. ``lease``
        is how many seconds the runs of this fleet have, and ``clock`` counts seconds.
        """
        self.info = info
        self._lease = lease
        self._settling = SETTLING if settles else 0.0
        self._clock = clock
        self._settled_at = clock() + self._settling
        self._heard_at = clock()
        self._late = False
        self._ahead: float | None = None
        self.slots: dict[str, Slot] = {}
        """Agents that may claim, by name."""
        self._db = db
        self._asked = dict(asked)
        self._general = frozenset(general)

    @property
    def general(self) -> frozenset[str]:
        """The profiles whose agents also take tasks that name no profile."""
        return self._general

    async def enter(self) -> None:
        """Put the worker on the list, with the agents that it was asked for; they claim after the first ``look``."""
        self.info = await self._db.write(lambda conn: queries.register(conn, self.info, self._asked, self._behind()))
        self._came()

    async def look(self, busy: Collection[str]) -> None:
        """Adopt seats that wait for a worker, note who is ready, let go who leaves and is not ``busy``."""
        info, taken = self.info, frozenset(busy)
        found = await self._db.read(lambda conn: _found(conn, info, taken))
        if found is None:
            found = await self._db.write(lambda conn: _settled(conn, info, taken))
        self.info = found.info
        for seat in found.gone:
            if seat.pinned and self._asked.get(seat.profile):
                self._asked[seat.profile] -= 1
        self.slots = {
            seat.agent: Slot(agent=seat.agent, profile=seat.profile, general=seat.profile in self._general)
            for seat in found.seats
            if seat.leaving is None
        }

    async def note_parked(self, parked: Mapping[str, Parked]) -> None:
        """Let everybody see which profiles' agents take no task, and why; written only where that is news."""
        if self.info.parked == parked:
            return
        info = self.info.model_copy(update={"parked": dict(parked)})
        await self._db.write(lambda conn: queries.note(conn, info, info.agents))
        # Only now: what could not be written is tried again.
        self.info = self.info.model_copy(update={"parked": info.parked})

    @property
    def pause(self) -> float:
        """Seconds until the next ``beat`` is due: soon, where the last one came after a gap and made no judge."""
        return min(self._lease / 3, SETTLING) if self._late else self._lease / 3

    async def beat(self) -> bool:
        """Note that the worker is alive; return False where its peers had counted it as lost, and enter it again.

        After a gap, and while it settles, it is noted as heard of a little earlier, so that it takes over nothing
        before its next word: whatever kept it away (a store that stood still) may have kept away the others, whose
        words are on the way. The same holds where the database's clock has jumped ahead: all leases have run out then.
        """
        info, asked = self.info, self._asked
        known, ahead, jumped = await self._db.write(self._tell)
        self._ahead = ahead
        if jumped:
            self._settled_at = max(self._settled_at, self._clock() + _JUMP * self._lease)
        if known:
            self._heard_at = self._clock()
            return True
        self.info = await self._db.write(lambda conn: _back(conn, info, asked, _BEHIND * self._lease))
        self._came()
        return False

    def _tell(self, conn: Connection) -> tuple[bool, float, bool]:
        """Note that the worker is alive; return whether it is on the list.

        Return also by how many seconds the database's clock is ahead of this process's, and whether it has jumped.
        """
        ahead = now(conn) - self._clock()
        jumped = self._ahead is not None and ahead - self._ahead > _GAP * self._lease
        behind = self._behind()
        if jumped:
            self._late, behind = True, _BEHIND * self._lease
        return queries.seen(conn, self.info.id, behind), ahead, jumped

    def admitted(self, conn: Connection) -> bool:
        """Return whether the worker may claim: the others know of it, and its last word is no lease old.

        Else tasks would be held by a worker that nobody misses when it dies.
        """
        return queries.known(conn, self.info.id, self._lease)

    def _behind(self) -> float:
        """Return how many seconds ago the worker is to be noted as heard of: judged when it is written, not before."""
        now = self._clock()
        self._late = now < self._settled_at or now - self._heard_at > _GAP * self._lease
        return _BEHIND * self._lease if self._late else 0.0

    def _came(self) -> None:
        self._heard_at = self._clock()
        self._settled_at = self._heard_at + self._settling

    async def retire(self, busy: Collection[str], reason: str) -> None:
        """Host nobody but those that are ``busy``: another worker may, except who was asked for of this one."""
        self._asked = {}
        self.slots = {}
        info = self.info = self.info.model_copy(update={"hosts": ()})
        idle = [name for name in info.agents if name not in busy]

        def let_go(conn: Connection) -> WorkerInfo:
            seats.release(conn, info.id, idle, reason)
            return queries.note(conn, info, [name for name in info.agents if name in busy])

        self.info = await self._db.write(let_go)


def _found(conn: Connection, info: WorkerInfo, busy: Collection[str]) -> _Hosted | None:
    """Return what the worker hosts, or None where something is to be done."""
    its = seats.hosted(conn, info.id)
    if [seat.agent for seat in its] != list(info.agents):
        return None
    if any(seat.ready_at is None or (seat.leaving is not None and seat.agent not in busy) for seat in its):
        return None
    if info.free != 0 and _waiting.first(conn, list(info.hosts)) is not None:
        return None
    return _Hosted(its, info)


def _settled(conn: Connection, info: WorkerInfo, busy: Collection[str]) -> _Hosted:
    """Let go, adopt, note who is ready; return what the worker hosts now."""
    its = {seat.agent: seat for seat in seats.hosted(conn, info.id)}
    idle = [seat.agent for seat in its.values() if seat.leaving is not None and seat.agent not in busy]
    gone = [its.pop(agent) for agent in seats.left(conn, info.id, idle)]
    free = info.model_copy(update={"agents": tuple(its)}).free
    seats.adopt(conn, info.id, info.hosts, free)
    kept = seats.hosted(conn, info.id)
    seats.ready(conn, info.id, [seat.agent for seat in kept if seat.ready_at is None])
    return _Hosted(kept, queries.note(conn, info, [seat.agent for seat in kept]), gone)


def _back(conn: Connection, info: WorkerInfo, asked: Mapping[str, int], behind: float) -> WorkerInfo:
    """Enter a worker that its peers had counted as lost, as heard of ``behind`` seconds ago."""
    if queries.enter(conn, info, behind):
        emit(conn, "worker.back", data={"worker": info.id, "host": info.host, "pid": info.pid})
    return queries.agents_of(conn, info, asked)
