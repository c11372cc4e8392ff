"""A fleet without runs: a store, workers that are rows, agents that take a task and end it at a word."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.services import until

from ezaigent.core.events import Event
from ezaigent.core.scaling import ScalingSettings
from ezaigent.core.settings import QueueSettings
from ezaigent.fleet import Catalog, InlineLauncher, Scaler, ScalerControl, WorkerInfo, queries, seats
from ezaigent.fleet.leader import recalled
from ezaigent.fleet.scaler.memory import Memory
from ezaigent.fleet.scaler.pools import PoolFacts
from ezaigent.fleet.seats import Seat
from ezaigent.store import Connection, Database, EventLog, Sql
from ezaigent.tasks import Claim, NewTask, Slot, TaskQueue

_vanish = Sql("DELETE FROM workers WHERE id = $1")

CLAUDE = Catalog({"claude": PoolFacts(general=True, models=("anthropic:a",))}, {})


def settings(**values: Any) -> ScalingSettings:
    """Settings that look often."""
    return ScalingSettings.model_validate({"period": 0.1, **values})


class Yard:
    """See the module."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.events = EventLog(db)
        self.queue = TaskQueue(db, QueueSettings(lease=30))
        self.claims: dict[str, Claim] = {}
        """Claims by agent."""
        self._hosting: asyncio.Task[None] | None = None

    async def enter(self, worker: str, hosts: Sequence[str] = ("claude", "gpt")) -> None:
        """Put a live worker on the list."""
        info = WorkerInfo(id=worker, host="here", pid=1, version="0", sandbox="off", hosts=tuple(hosts), lease=60)
        await self.db.write(lambda conn: queries.enter(conn, info))

    async def die(self, worker: str) -> None:
        """Let a worker and its seats' host be gone."""

        def gone(conn: Connection) -> None:
            _vanish.run(conn, worker)
            seats.orphans(conn, queries.ids(conn))

        await self.db.write(gone)

    async def host(self, worker: str = "worker") -> None:
        """Do what a worker does about seats, once."""

        def once(conn: Connection) -> None:
            adopted = seats.adopt(conn, worker, ["claude", "gpt"], None)
            seats.ready(conn, worker, [seat.agent for seat in adopted])
            leaving = [seat.agent for seat in seats.hosted(conn, worker) if seat.leaving is not None]
            seats.left(conn, worker, [agent for agent in leaving if agent not in self.claims])

        await self.db.write(once)

    def keep_hosting(self) -> None:
        """Do it again and again until the end."""

        async def forever() -> None:
            while True:
                await self.host()
                await asyncio.sleep(0.02)

        self._hosting = asyncio.create_task(forever())

    async def close(self) -> None:
        if self._hosting is not None:
            self._hosting.cancel()
            await asyncio.wait({self._hosting})

    async def submit(self, count: int = 1, *, profile: str | None = "claude") -> None:
        await self.queue.submit_many(
            [NewTask(prompt=f"task {number}", repo="/srv/one", profile=profile) for number in range(count)]
        )

    async def work(self, *agents: str) -> None:
        """Let these agents take a task each."""
        slots = [Slot(agent=agent, profile=agent.rpartition("-")[0]) for agent in agents]
        for claim in await self.queue.claim("worker", slots):
            self.claims[claim.agent] = claim

    async def finish(self, *agents: str) -> None:
        """Let these agents end their tasks well."""
        for agent in agents:
            await self.queue.finish(self.claims.pop(agent), None)

    async def seats(self) -> list[Seat]:
        return await self.db.read(seats.all_seats)

    async def names(self) -> list[str]:
        """Agents that stay."""
        return [seat.agent for seat in await self.seats() if seat.leaving is None]

    async def size(self, count: int) -> None:
        """Wait until there are so many agents."""

        async def there() -> bool:
            return len(await self.names()) == count

        await until(there, what=f"{count} agents")

    async def told(self, kind: str) -> list[Event]:
        return [event for event in await self.events.read(0, 100_000) if event.kind == kind]

    async def memory(self) -> Memory:
        return Memory.from_text(await self.db.read(lambda conn: recalled(conn, "scaler")))

    def control(self, file: ScalingSettings, catalog: Catalog = CLAUDE) -> ScalerControl:
        return ScalerControl(self.db, file, catalog, alive=lambda: None)

    def scaler(
        self, file: ScalingSettings, *, holder: str = "one", catalog: Catalog = CLAUDE, lease: float = 0.6, **more: Any
    ) -> Scaler:
        given: dict[str, Any] = {"launcher": InlineLauncher(), "lease": lease, **more}
        return Scaler(db=self.db, events=self.events, holder=holder, file=file, catalog=catalog, **given)

    @asynccontextmanager
    async def running(self, scaler: Scaler) -> AsyncGenerator[asyncio.Task[None]]:
        """Let it run while the block does."""
        task = asyncio.create_task(scaler.run())
        try:
            yield task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def looked(self, scaler: Scaler, times: int = 3) -> None:
        """Wait for so many more decisions."""
        wanted = scaler.decisions + times
        await until(lambda: scaler.decisions >= wanted, what="decisions")
