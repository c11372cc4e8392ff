"""Workers that watch over each other: whoever died is found out, whoever lives is never taken for dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
from tests.services import RedisServer, until

from ezaigent.fleet import Peers, WorkerInfo, liveness, queries
from ezaigent.live import LiveBus, MemoryBus, open_bus
from ezaigent.store import Connection, Database, EventLog, Sql

LONG = 600.0
"""A lease that no test waits for."""
_be_silent = Sql("UPDATE workers SET seen_at = {now} - CAST($2 AS double precision) WHERE id = $1")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def db(tmp_path: Path) -> AsyncGenerator[Database]:
    opened = await Database.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    await opened.close()


class Watcher:
    """A worker that looks at others whenever it is told to, as if a second had passed."""

    def __init__(
        self, db: Database, bus: LiveBus, name: str, *, lease: float = LONG, locks: Path | None = None
    ) -> None:
        self.clock = Clock()
        self.db, self.bus = db, bus
        self.info = WorkerInfo(id=name, host="here", pid=1, version="1", sandbox="off", lease=lease)
        self.peers = Peers(db=db, bus=bus, worker=name, lease=lease, locks=locks, clock=self.clock)

    async def enter(self, *, silent: float = 3600.0) -> None:
        """Be on the list, without a heartbeat for so long."""

        def enter(conn: Connection) -> None:
            queries.register(conn, self.info, {})
            _be_silent.run(conn, self.info.id, silent)

        await self.db.write(enter)

    async def be_silent(self, seconds: float) -> None:
        """Have had no heartbeat for so long."""
        await self.db.write(lambda conn: _be_silent.run(conn, self.info.id, seconds))

    async def announce(self) -> None:
        await self.peers.announce(self.info, busy=0)

    async def look(self, *, after: float = 1.0) -> list[str]:
        self.clock.now += after
        await self.announce()
        return await self.peers.look()

    async def sees_nobody_lost(self, looks: int, *, after: float = 1.0) -> None:
        for _ in range(looks):
            assert await self.look(after=after) == []


@pytest.fixture
async def one(db: Database) -> Watcher:
    """The worker that looks."""
    return Watcher(db, MemoryBus(), "one")


@pytest.fixture
async def two(db: Database, one: Watcher) -> Watcher:
    """Another one on its bus, which has not spoken to the store for an hour, and has been seen on the bus."""
    other = Watcher(db, one.bus, "two")
    await other.enter()
    await other.announce()
    await one.sees_nobody_lost(3)
    return other


async def test_a_worker_that_is_gone_from_the_bus_on_two_looks_is_lost(
    db: Database, one: Watcher, two: Watcher
) -> None:
    said = (await one.bus.present("workers"))["two"]
    assert (said["host"], said["pid"], said["version"], said["sandbox"], said["agents"]) == ("here", 1, "1", "off", 0)
    assert said["load"] >= 0
    await two.peers.leave()
    assert await one.look() == [], "one look says little"
    assert await one.look() == ["two"]
    assert await one.look() == []
    (lost,) = await EventLog(db).read(0, kinds=["worker.lost"])
    assert (lost.data["worker"], lost.data["by"]) == ("two", "one")
    assert lost.data["reason"] == "it is gone from the live bus"


async def test_whoever_told_the_store_just_now_is_not_lost(one: Watcher, two: Watcher) -> None:
    await two.be_silent(0.0)
    await one.bus.leave("workers", "two")
    await one.sees_nobody_lost(3)  # it cannot reach the bus, and works


async def test_whoever_was_held_up_itself_concludes_nothing(one: Watcher, two: Watcher) -> None:
    await one.bus.leave("workers", two.info.id)
    assert await one.look() == []
    await one.sees_nobody_lost(3, after=10.0)  # the others may have been held up with it


async def test_a_verdict_that_had_to_wait_for_the_store_is_none(
    db: Database, one: Watcher, two: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two.peers.leave()
    assert await one.look() == []
    write = db.write

    async def slow(fn: Callable[[Connection], object]) -> object:
        one.clock.now += 6.0  # the store stands still, and so do the words of the others
        return await write(fn)

    with monkeypatch.context() as patched:
        patched.setattr(db, "write", slow)
        assert await one.look() == []
    assert await db.read(queries.ids) == ["two"]


async def test_without_a_bus_in_common_a_silent_worker_is_lost_after_one_and_a_half_leases(db: Database) -> None:
    one, two, three = (Watcher(db, MemoryBus(), name, lease=10) for name in ("one", "two", "three"))
    await one.enter(silent=0)
    await two.enter(silent=14)
    assert await one.look() == []
    assert await one.look(after=20) == []
    await three.enter(silent=16)
    await Watcher(db, MemoryBus(), "four", lease=100).enter(silent=100)
    one.peers.held_up()
    assert await one.look(after=14) == [], "the store was away for this one, too"
    assert await one.look(after=2) == [], "one look says little"
    assert await one.look(after=2) == ["three"], "the fourth one speaks more seldom, as it said"
    (lost,) = await EventLog(db).read(0, kinds=["worker.lost"])
    assert lost.data["reason"] == "no heartbeat for 1.5 of its leases"


async def test_after_the_stores_clock_went_back_who_says_nothing_more_is_lost(db: Database) -> None:
    one, two, three = (Watcher(db, MemoryBus(), name, lease=10) for name in ("one", "two", "three"))
    for worker in (one, two, three):
        await worker.enter(silent=-3600)
    await one.sees_nobody_lost(12, after=2)  # it has said nothing itself since the clock went back
    await one.be_silent(0)
    await one.sees_nobody_lost(1, after=2)
    await two.be_silent(0)  # its next word
    await one.sees_nobody_lost(8, after=2)
    assert await one.look(after=2) == ["three"]
    assert await db.read(queries.ids) == ["one", "two"]


async def test_nobody_is_lost_by_a_worker_that_was_as_silent_itself(db: Database) -> None:
    """A store that stands still for longer than all leases makes everybody look dead when it goes on."""
    one, two = (Watcher(db, MemoryBus(), name, lease=10) for name in ("one", "two"))
    await one.enter(silent=40)
    await two.enter(silent=41)
    await one.sees_nobody_lost(3, after=20)
    await two.be_silent(0)
    await one.be_silent(0)
    await two.be_silent(16)  # the one came through first
    await one.sees_nobody_lost(1, after=20)
    await two.be_silent(0)
    await one.sees_nobody_lost(3, after=20)


async def test_a_starting_worker_clears_away_what_dead_ones_held(db: Database, tmp_path: Path) -> None:
    locks = tmp_path / "workers"
    one, two = (Watcher(db, MemoryBus(), name, locks=locks) for name in ("one", "two"))
    with liveness.hold(locks, "two"):
        await two.enter()
        await one.peers.clear()
        assert await db.read(queries.ids) == ["two"]
        assert await one.look() == [], "the kernel says that it lives, however silent it is"
    await one.peers.clear()
    assert await db.read(queries.ids) == []


@pytest.mark.redis
async def test_neither_a_flush_nor_a_restart_of_redis_makes_the_living_look_dead(
    db: Database, redis_server: RedisServer, redis_database: str
) -> None:
    buses = [await open_bus(redis_database) for _ in range(2)]
    one, two = (Watcher(db, bus, name) for bus, name in zip(buses, ("one", "two"), strict=True))

    async def both_are_back() -> None:
        await until(lambda: all(bus.up for bus in buses), within=30, what="the bus is back")
        await two.announce()

    try:
        await one.enter()
        await two.enter()
        await two.announce()
        await one.sees_nobody_lost(3)
        redis_server.flush()
        await one.sees_nobody_lost(4)  # everything was forgotten, and two has not been seen since
        await two.announce()
        await one.sees_nobody_lost(2)
        await asyncio.to_thread(redis_server.restart)
        await until(lambda: one.bus.up, within=30, what="the bus is back")
        await one.sees_nobody_lost(4)
        await both_are_back()
        await one.sees_nobody_lost(2)
        await asyncio.to_thread(redis_server.kill)
        await one.sees_nobody_lost(4)
        await asyncio.to_thread(redis_server.start)
        await both_are_back()
        await one.sees_nobody_lost(3)
        await two.peers.leave()
        assert [*await one.look(), *await one.look()] == ["two"], "and the dead are still found"
    finally:
        for bus in buses:
            await bus.close()
