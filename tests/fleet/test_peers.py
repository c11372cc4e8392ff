"""Workers that watch over each other: a dead one's tasks are taken over at once, a living one's never."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.fleet.scene import CHECK, LOG, Process, Scene, Zygote
from tests.services import RedisServer, until

from ezaigent.fleet import Peers, WorkerInfo, liveness, queries
from ezaigent.live import LiveBus, MemoryBus, open_bus
from ezaigent.store import Database, EventLog
from ezaigent.tasks import State
from ezaigent.testing import Fault, ModelServer
from ezaigent.wiring import Fleet

LONG = 600.0
"""A lease that no test waits for."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def database(folder: Path) -> AsyncGenerator[Database]:
    db = await Database.open(f"sqlite:///{folder / 'store.db'}")
    try:
        yield db
    finally:
        await db.close()


def info(name: str) -> WorkerInfo:
    return WorkerInfo(id=name, host="here", pid=1, version="1", sandbox="off")


class Watcher:
    """A worker that looks at others whenever it is told to, as if a second had passed."""

    def __init__(
        self, db: Database, bus: LiveBus, name: str, *, lease: float = LONG, locks: Path | None = None
    ) -> None:
        self.clock = Clock()
        self.db, self.bus, self.info = db, bus, info(name)
        self.peers = Peers(db=db, bus=bus, worker=name, lease=lease, locks=locks, clock=self.clock)

    async def enter(self, *, silent: float = 3600.0) -> None:
        """Be on the list, without a heartbeat for so long."""
        await self.db.write(lambda conn: queries.register(conn, self.info, {}))
        await self.db.write(lambda conn: _be_silent(conn, self.info.id, silent))

    async def announce(self) -> None:
        await self.peers.announce(self.info, busy=0)

    async def look(self, *, after: float = 1.0) -> list[str]:
        self.clock.now += after
        await self.announce()
        return await self.peers.look()


def _be_silent(conn: object, worker: str, seconds: float) -> None:
    from ezaigent.store import Sql

    Sql("UPDATE workers SET seen_at = {now} - CAST($2 AS double precision) WHERE id = $1").run(
        conn,  # pyright: ignore[reportArgumentType]
        worker,
        seconds,
    )


async def test_a_worker_that_is_gone_from_the_bus_on_two_looks_is_lost(tmp_path: Path) -> None:
    async with database(tmp_path) as db:
        bus = MemoryBus()
        one, two = Watcher(db, bus, "one"), Watcher(db, bus, "two")
        await one.enter()
        await two.enter()
        await two.announce()
        for _ in range(3):
            assert await one.look() == []
        assert (await bus.present("workers"))["two"]["host"] == "here"
        await two.peers.leave()
        assert await one.look() == [], "one look says little"
        assert await one.look() == ["two"]
        assert await one.look() == []
        events = await EventLog(db).read(0, limit=100)
        (lost,) = [event for event in events if event.kind == "worker.lost"]
        assert (lost.data["worker"], lost.data["by"], lost.data["reason"]) == (
            "two",
            "one",
            "it is gone from the live bus",
        )


async def test_whoever_told_the_store_just_now_is_not_lost(tmp_path: Path) -> None:
    async with database(tmp_path) as db:
        bus = MemoryBus()
        one, two = Watcher(db, bus, "one"), Watcher(db, bus, "two")
        await two.enter(silent=0.0)
        await two.announce()
        for _ in range(3):
            assert await one.look() == []
        await bus.leave("workers", "two")
        for _ in range(3):
            assert await one.look() == [], "it cannot reach the bus, and works"


async def test_whoever_was_held_up_itself_concludes_nothing(tmp_path: Path) -> None:
    async with database(tmp_path) as db:
        bus = MemoryBus()
        one, two = Watcher(db, bus, "one"), Watcher(db, bus, "two")
        await two.enter()
        await two.announce()
        for _ in range(3):
            await one.look()
        await bus.leave("workers", "two")
        assert await one.look() == []
        for _ in range(3):
            assert await one.look(after=10.0) == [], "the others may have been held up with it"


async def test_without_a_bus_in_common_a_silent_worker_is_lost_after_one_and_a_half_leases(tmp_path: Path) -> None:
    async with database(tmp_path) as db:
        one, two, three = (Watcher(db, MemoryBus(), name, lease=10) for name in ("one", "two", "three"))
        await one.enter(silent=3600)
        await two.enter(silent=14)
        assert await one.look() == []
        assert await one.look(after=20) == []
        await three.enter(silent=16)
        one.peers.held_up()
        assert await one.look(after=14) == [], "the store was away for this one, too"
        assert await one.look(after=2) == ["three"]


async def test_a_starting_worker_clears_away_what_dead_ones_held(tmp_path: Path) -> None:
    async with database(tmp_path) as db:
        locks = tmp_path / "workers"
        one, two = Watcher(db, MemoryBus(), "one", locks=locks), Watcher(db, MemoryBus(), "two", locks=locks)
        with liveness.hold(locks, "two"):
            await two.enter()
            await one.peers.clear()
            assert await db.read(queries.ids) == ["two"]
            assert await one.look() == [], "the kernel says that it lives, however silent it is"
        await one.peers.clear()
        assert await db.read(queries.ids) == []


@pytest.mark.redis
async def test_neither_a_flush_nor_a_restart_of_redis_makes_the_living_look_dead(
    tmp_path: Path, redis_server: RedisServer, redis_database: str
) -> None:
    async with database(tmp_path) as db:
        buses = [await open_bus(redis_database) for _ in range(2)]
        one, two = Watcher(db, buses[0], "one"), Watcher(db, buses[1], "two")
        try:
            await one.enter()
            await two.enter()
            await two.announce()
            for _ in range(3):
                assert await one.look() == []
            redis_server.flush()
            for _ in range(4):
                assert await one.look() == [], "everything was forgotten, and two has not been seen since"
            await two.announce()
            for _ in range(2):
                assert await one.look() == []
            await asyncio.to_thread(redis_server.restart)
            await until(lambda: buses[0].up, within=30, what="the bus is back")
            for _ in range(4):
                assert await one.look() == []
            await until(lambda: buses[1].up, within=30, what="the bus is back")
            await two.announce()
            for _ in range(2):
                assert await one.look() == []
            await asyncio.to_thread(redis_server.kill)
            for _ in range(4):
                assert await one.look() == []
            await asyncio.to_thread(redis_server.start)
            await until(lambda: buses[0].up and buses[1].up, within=30, what="the bus is back")
            await two.announce()
            for _ in range(3):
                assert await one.look() == []
            await two.peers.leave()
            assert [*await one.look(), *await one.look()] == ["two"], "and the dead are still found"
        finally:
            for bus in buses:
                await bus.close()


# ------------------------------------------------------------------------------------------ real workers


def patient(scene: Scene) -> dict[str, str]:
    """Settings with a lease that no test waits for."""
    scene.more = {"queue": {"lease": LONG, "backoff": 0.05}}
    return {"EZAIGENT_QUEUE__LEASE": str(LONG)}


async def stuck_in(scene: Scene, server: ModelServer, workers: Zygote, env: dict[str, str]) -> tuple[str, Process]:
    """Let a worker begin a task and wait for its model."""
    server.fail(Fault("hang", step=1))
    first = workers.worker(scene, **env)
    await first.ready()
    async with scene.client() as person:
        task = await person.submit("Write the log.", scene.repo, checks=(CHECK,))
    await server.wait_until(lambda records: len(records) >= 2)
    return task.id, first


async def taken_over(fleet: Fleet, task_id: str, scene: Scene, reason: str) -> None:
    """The task is finished by another worker, long before its lease would have ended, and the event says why."""
    handle = await fleet.task(task_id)
    task = await handle.settled(timeout=60)
    assert (task.state, task.crashes) == (State.REVIEW, 1)
    assert scene.branch(task_id)["log.txt"] == LOG
    (lost,) = [one for one in await fleet.services.events.read(0, limit=2000) if one.kind == "worker.lost"]
    assert (lost.data["reason"], lost.data["tasks"]) == (reason, 1)


async def test_a_killed_worker_of_the_same_home_is_taken_over_at_once(
    scene: Scene, server: ModelServer, workers: Zygote
) -> None:
    env = patient(scene)
    task_id, first = await stuck_in(scene, server, workers, env)
    second = workers.worker(scene, **env)
    await second.ready()
    server.clear_faults()
    first.send(signal.SIGKILL)
    async with scene.client() as person:
        await taken_over(person, task_id, scene, "its process has ended")


@pytest.mark.postgres
@pytest.mark.redis
async def test_with_redis_a_killed_worker_is_taken_over_before_its_lease_ends(
    postgres_scene: Scene, server: ModelServer, workers: Zygote, redis_database: str
) -> None:
    scene = postgres_scene
    scene.redis = redis_database
    env = patient(scene)
    task_id, first = await stuck_in(scene, server, workers, env)
    second = workers.worker(scene, **env)
    await second.ready()
    async with scene.client() as person:
        bus = person.services.bus

        async def both() -> bool:
            return len(await bus.present("workers")) == 2

        await until(both, within=30, what="both are present")
        assert {one["busy"] for one in (await bus.present("workers")).values()} == {0, 1}
        await asyncio.sleep(2.5)  # the second one must have seen the first: looks come once a second
        server.clear_faults()
        first.send(signal.SIGKILL)
        await taken_over(person, task_id, scene, "it is gone from the live bus")


@pytest.mark.postgres
@pytest.mark.redis
async def test_a_worker_held_by_sigstop_is_taken_over_and_comes_back(
    postgres_scene: Scene, server: ModelServer, workers: Zygote, redis_database: str
) -> None:
    scene = postgres_scene
    scene.redis = redis_database
    env = patient(scene)
    task_id, first = await stuck_in(scene, server, workers, env)
    second = workers.worker(scene, **env)
    await second.ready()
    await asyncio.sleep(3)  # both have seen each other
    first.send(signal.SIGSTOP)
    await first.stopped()
    server.clear_faults()
    async with scene.client() as person:
        await taken_over(person, task_id, scene, "it is gone from the live bus")
        first.send(signal.SIGCONT)

        async def back() -> bool:
            events = await person.services.events.read(0, limit=2000, kinds=["worker.back"])
            return len(events) == 1

        await until(back, within=30, what="it is on the list again")

        async def both_idle() -> bool:
            return [view.status for view in await person.agents()] == ["idle", "idle"]

        await until(both_idle, within=30, what="both are idle")
        task = await (await person.task(task_id)).get()
        assert (task.state, task.crashes) == (State.REVIEW, 1), "its late writes were refused"


@pytest.mark.postgres
@pytest.mark.redis
async def test_redis_that_forgets_everything_costs_no_lease(
    postgres_scene: Scene, server: ModelServer, workers: Zygote, redis_server: RedisServer, redis_database: str
) -> None:
    scene = postgres_scene
    scene.redis = redis_database
    env = patient(scene)
    task_id, _ = await stuck_in(scene, server, workers, env)
    second = workers.worker(scene, **env)
    await second.ready()
    await asyncio.sleep(3)  # both have seen each other
    for _ in range(3):
        redis_server.flush()
        await asyncio.sleep(0.7)
    await asyncio.to_thread(redis_server.restart)
    await asyncio.sleep(4)  # longer than a worker that is gone would take to be missed
    server.clear_faults()
    async with scene.client() as person:
        task = await (await person.task(task_id)).settled(timeout=60)
        assert (task.state, task.crashes) == (State.REVIEW, 0)
        assert await person.services.events.read(0, limit=2000, kinds=["worker.lost"]) == []
