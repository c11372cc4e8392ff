"""The seats of one worker: which agents it hosts, adopts and lets go."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ezaigent.fleet import queries, seats
from ezaigent.fleet.models import WorkerInfo
from ezaigent.fleet.seats import Seat
from ezaigent.store import Connection, Database, Sql, emit
from ezaigent.tasks import Slot

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

    def __init__(self, db: Database, info: WorkerInfo, asked: Mapping[str, int], general: Collection[str]) -> None:
        """Begin with nothing; ``enter`` puts the worker on the list."""
        self.info = info
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
        self.info = await self._db.write(lambda conn: queries.register(conn, self.info, self._asked))

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

    async def beat(self, lease: float) -> bool:
        """Note that the worker is alive; return False where its peers had counted it as lost, and enter it again.

        ``lease`` is how many seconds the runs of this fleet have.
        """
        info, asked = self.info, self._asked
        if await self._db.write(lambda conn: queries.seen(conn, info.id, lease)):
            return True
        self.info = await self._db.write(lambda conn: _back(conn, info, asked))
        return False

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


def _back(conn: Connection, info: WorkerInfo, asked: Mapping[str, int]) -> WorkerInfo:
    """Enter a worker that its peers had counted as lost."""
    if queries.enter(conn, info):
        emit(conn, "worker.back", data={"worker": info.id, "host": info.host, "pid": info.pid})
    return queries.agents_of(conn, info, asked)
