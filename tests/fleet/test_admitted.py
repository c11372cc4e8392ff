"""No task is held by a worker that nobody would miss: who is not on the list, or was silent too long, claims none."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from tests.fleet.scene import Scene, kinds
from tests.services import until

from ezaigent.core.settings import QueueSettings
from ezaigent.fleet import Hosting, WorkerInfo, queries, seats
from ezaigent.store import Database, Sql
from ezaigent.tasks import Claim, NewTask, Slot, State, TaskQueue
from ezaigent.wiring import Fleet

LEASE = 600.0
_expire = Sql("UPDATE tasks SET lease_until = {now} - 1.0")
_be_silent = Sql("UPDATE workers SET seen_at = {now} - CAST($2 AS double precision) WHERE id = $1")


class Desk:
    """A queue with one task whose lease has run out, and a worker that is not on the list yet."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.queue = TaskQueue(db, QueueSettings(lease=LEASE))
        info = WorkerInfo(id="one", host="here", pid=1, version="1", sandbox="off")
        self.hosting = Hosting(db, info, {}, set(), lease=LEASE)

    async def an_expired_task(self) -> None:
        await self.queue.submit(NewTask(prompt="Do it.", repo="/srv/one"))
        await self.queue.claim("dead", [Slot(agent="claude-9", profile="claude", general=True)])
        await self.db.write(_expire.run)

    async def claim(self) -> list[Claim]:
        slot = Slot(agent="claude-1", profile="claude", general=True)
        return await self.queue.claim("one", [slot], admitted=self.hosting.admitted)


@pytest.fixture
async def desk(db: Database) -> Desk:
    made = Desk(db)
    await made.an_expired_task()
    return made


async def test_a_worker_claims_while_it_is_on_the_list_and_heard_of(desk: Desk) -> None:
    assert await desk.claim() == [], "nobody knows of it yet"
    await desk.hosting.enter()
    await desk.db.write(lambda conn: _be_silent.run(conn, "one", LEASE + 1))
    assert await desk.claim() == [], "it was silent for so long that it may be counted as lost any moment"
    await desk.db.write(lambda conn: queries.lose(conn, ["one"], "it was mistaken for dead", by="a test"))
    assert await desk.claim() == [], "it was counted as lost"
    assert not await desk.hosting.beat()
    assert await desk.hosting.beat()
    assert await desk.hosting.beat()
    await desk.db.write(lambda conn: _be_silent.run(conn, "one", 0.0))
    assert [claim.agent for claim in await desk.claim()] == ["claude-1"]


@pytest.mark.postgres
async def test_a_worker_that_is_just_being_counted_as_lost_claims_nothing_and_waits_for_nobody(
    postgres_database: str,
) -> None:
    db = await Database.open(postgres_database)
    desk = Desk(db)
    await desk.an_expired_task()
    await desk.hosting.enter()
    engine = create_async_engine(postgres_database.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as other:
        await other.exec_driver_sql("DELETE FROM workers WHERE id = 'one'")
        assert await desk.claim() == []
        await other.rollback()
        await other.exec_driver_sql("UPDATE workers SET seen_at = seen_at WHERE id = 'one'")
        assert len(await desk.claim()) == 1, "its own heartbeat keeps nobody from claiming"
    await engine.dispose()
    await db.close()


async def test_a_worker_that_lost_its_place_claims_only_after_it_is_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    back, claim, beat = asyncio.Event(), TaskQueue.claim, Hosting.beat
    tried: list[int] = []

    async def late(self: Hosting) -> bool:
        await back.wait()
        return await beat(self)

    async def counted(self: TaskQueue, *given: object, **more: object) -> list[Claim]:
        tried.append(len(tried))
        return await claim(self, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Hosting, "beat", late)
    hosting = Fleet.embedded(settings=scene.settings, agents={}, hosts=("claude",))
    async with scene.client() as person, hosting as fleet:
        assert fleet.worker is not None
        own, worker = fleet.worker.info.id, fleet.worker
        await person.services.db.write(lambda conn: seats.order(conn, "claude", 1))
        await until(lambda: worker.info.agents, within=60, what="it has an agent")
        await person.services.db.write(lambda conn: queries.lose(conn, [own], "it was mistaken for dead", by="a test"))
        handle = await person.submit("Write the log.", scene.repo)
        monkeypatch.setattr(TaskQueue, "claim", counted)
        await until(lambda: len(tried) >= 2, within=60, what="it looks for work")
        assert (await handle.get()).state is State.QUEUED
        back.set()
        assert (await handle.settled(timeout=60)).state is State.REVIEW
        told = kinds(await person.services.events.read(0, limit=1000))
        assert told.index("worker.lost") < told.index("worker.back") < told.index("task.claimed")
