"""When a worker is a judge of others: only with two words to the store that no outage lies between."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ezaigent.fleet import WorkerInfo, queries
from ezaigent.fleet import hosting as module
from ezaigent.fleet.hosting import SETTLING, Hosting
from ezaigent.store import Connection, Database, Sql, now

LEASE = 30.0
_pass = Sql("UPDATE workers SET seen_at = seen_at - CAST($1 AS double precision)")


@dataclass
class Clock:
    """Seconds that pass when they are told to, here and in the store."""

    db: Database
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    async def passes(self, seconds: float) -> None:
        self.now += seconds
        await self.db.write(lambda conn: _pass.run(conn, seconds))


@pytest.fixture
async def clock(tmp_path: Path) -> AsyncGenerator[Clock]:
    opened = await Database.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield Clock(opened)
    await opened.close()


async def entered(clock: Clock, *, settles: bool = False) -> Hosting:
    info = WorkerInfo(id="one", host="here", pid=1, version="1", sandbox="off", lease=LEASE)
    hosting = Hosting(clock.db, info, {}, set(), lease=LEASE, settles=settles, clock=clock)
    await hosting.enter()
    return hosting


async def judges(clock: Clock) -> bool:
    """Return whether the worker was heard of so lately that it may take over from others."""

    def heard(conn: Connection) -> bool:
        return queries.silent(conn, 0.4) == []

    return await clock.db.read(heard)


async def test_a_worker_that_was_away_judges_with_its_second_word(clock: Clock) -> None:
    hosting = await entered(clock)
    assert await judges(clock)
    await clock.passes(LEASE / 3)
    assert await hosting.beat()
    assert await judges(clock)
    assert hosting.pause == LEASE / 3

    await clock.passes(0.6 * LEASE)  # some lease may have run out meanwhile: one is prolonged every third of it
    assert await hosting.beat()
    assert not await judges(clock)
    assert hosting.pause == SETTLING, "its next word comes soon"

    await clock.passes(SETTLING)
    assert await hosting.beat()
    assert await judges(clock)


async def test_a_slow_worker_stays_a_judge(clock: Clock) -> None:
    hosting = await entered(clock)
    for _ in range(4):
        await clock.passes(0.5 * LEASE)
        assert await hosting.beat()
        assert await judges(clock)


async def test_a_newcomer_settles_where_it_cannot_know_who_lives(clock: Clock) -> None:
    hosting = await entered(clock, settles=True)
    assert not await judges(clock)
    await clock.passes(0.1)
    assert await hosting.beat()
    assert not await judges(clock)
    assert hosting.pause == SETTLING
    await clock.passes(SETTLING)
    assert await hosting.beat()
    assert await judges(clock)


async def test_a_worker_that_was_counted_as_lost_comes_back_as_no_judge(clock: Clock) -> None:
    hosting = await entered(clock)
    await clock.db.write(lambda conn: queries.leave(conn, "one", "was lost"))
    assert not await hosting.beat()
    assert not await judges(clock)
    await clock.passes(LEASE / 3)
    assert await hosting.beat()
    assert await judges(clock)


async def test_after_a_jump_of_the_databases_clock_the_others_have_time_for_a_word(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosting = await entered(clock)
    assert await hosting.beat()
    await clock.passes(LEASE / 3)

    def later(conn: Connection) -> float:
        return now(conn) + 3600

    monkeypatch.setattr(module, "now", later)
    assert await hosting.beat()
    assert not await judges(clock), "all leases have run out, those of the living too"
    assert hosting.pause == SETTLING
    await clock.passes(SETTLING)
    assert await hosting.beat()
    assert not await judges(clock)
    await clock.passes(LEASE / 2)
    assert await hosting.beat()
    assert await judges(clock)
