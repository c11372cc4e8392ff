"""The event log: in order, complete, never skipping what a slow transaction still holds."""

from __future__ import annotations

import asyncio
import sys
from typing import Self

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from ezaigent.core.events import Event
from ezaigent.store import Connection, Database, EventLog, NewEvent, emit, emit_many


def names(events: list[Event]) -> list[str]:
    return [event.task_id or "" for event in events]


def note(*tasks: str) -> list[NewEvent]:
    return [NewEvent("task.queued", task, data={"reason": "test"}) for task in tasks]


async def test_events_come_back_in_order_with_everything_they_say(db: Database) -> None:
    log = EventLog(db)
    assert await log.head() == 0
    assert await log.read(0) == []
    data = {"agent": "claude-1", "worker": "ü", "fence": 2**40, "nothing": None, "nul": "a\x00b"}
    await db.write(lambda conn: emit(conn, "task.claimed", task_id="t1", run_id="t1-1", agent="claude-1", data=data))
    await db.write(lambda conn: emit_many(conn, note("t2", "t3", "t4")))
    events = await log.read(0)
    assert names(events) == ["t1", "t2", "t3", "t4"]
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    first = events[0]
    assert (first.kind, first.run_id, first.agent, first.data) == ("task.claimed", "t1-1", "claude-1", data)
    assert first.at > 1_700_000_000
    assert await log.head() == events[-1].seq
    assert Event.model_validate(first.model_dump()) == first


async def test_filters_and_pages(db: Database) -> None:
    log = EventLog(db)
    await db.write(lambda conn: emit_many(conn, note("a", "b", "a", "c")))
    await db.write(lambda conn: emit(conn, "agent.paused", agent="x-1", data={"by": "tim"}))
    assert names(await log.read(0, limit=2)) == ["a", "b"]
    assert names(await log.read(0, task_id="a")) == ["a", "a"]
    assert names(await log.read(0, task_id="a", limit=1)) == ["a"]
    assert [event.agent for event in await log.read(0, kinds=["agent.paused", "agent.resumed"])] == ["x-1"]
    assert [event.kind for event in await log.read(0, agent="x-1")] == ["agent.paused"]
    assert await log.read(await log.head()) == []


async def test_going_back_from_the_newest_meets_each_event_once(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(db)
    assert await log.back() == ([], None)
    await db.write(lambda conn: emit_many(conn, note(*"abcdefg")))
    await db.write(lambda conn: emit(conn, "audit.login", agent="x-1", data={"by": "tim"}))
    found, before = await log.back(limit=3)
    assert (names(found), found[0].kind) == (["", "g", "f"], "audit.login")
    await db.write(lambda conn: emit_many(conn, note("late")))
    found, before = await log.back(before, limit=3)
    assert names(found) == ["e", "d", "c"]
    found, before = await log.back(before, limit=3)
    assert (names(found), before) == (["b", "a"], None)
    assert names((await log.back(hidden="audit."))[0]) == ["late", *"gfedcba"]
    assert [event.agent for event in (await log.back(agent="x-1"))[0]] == ["x-1"]
    assert names((await log.back(task_id="c"))[0]) == ["c"]
    assert names((await log.back(kinds=["audit.login"]))[0]) == [""]
    await db.write(lambda conn: emit(conn, "agent.message", data={"text": '"by":"tim"', "by": 'a "quoted" name\u00e9'}))
    assert [event.kind for event in (await log.back(by="tim"))[0]] == ["audit.login"]
    assert [event.kind for event in (await log.back(by='a "quoted" name\u00e9'))[0]] == ["agent.message"]
    assert (await log.back(by="ti", kinds=["audit.login"]))[0] == []
    assert await log.back(kinds=[]) == ([], None)
    monkeypatch.setattr("ezaigent.store.events._NEAR", 4)
    seen: list[str] = []
    before = None
    for _ in range(10):
        found, before = await log.back(before, kinds=["task.queued"])
        seen += names(found)
        if before is None:
            break
    assert (seen, before) == (["late", *"gfedcba"], None)
    assert names((await log.back(task_id="a"))[0]) == ["a"]  # an index leads there, however far back


async def test_an_unknown_kind_is_refused(db: Database) -> None:
    with pytest.raises(ValueError, match=r"task\.exploded"):
        await db.write(lambda conn: emit(conn, "task.exploded"))
    await db.write(lambda conn: emit_many(conn, []))
    assert await EventLog(db).head() == 0


async def test_following_sees_what_is_there_then_what_comes_and_wakes_at_once(db: Database) -> None:
    await db.write(lambda conn: emit_many(conn, note("old")))
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def follow() -> None:
        async for event in EventLog(db).follow(0, kinds=["task.queued"], poll=60):
            seen.put_nowait(event.task_id or "")

    follower = asyncio.create_task(follow())
    assert await asyncio.wait_for(seen.get(), 20) == "old"
    await db.write(lambda conn: emit(conn, "live.restored"))
    await db.write(lambda conn: emit_many(conn, note("new")))
    assert await asyncio.wait_for(seen.get(), 20) == "new"  # far below the poll of a minute
    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)


_OTHER = """
import asyncio, sys
from ezaigent.store import Database, emit
async def main():
    db = await Database.open(sys.argv[1])
    await db.write(lambda conn: emit(conn, "task.queued", task_id="from afar"))
    await db.close()
asyncio.run(main())
"""


async def test_following_sees_another_process(db: Database, database_url: str) -> None:
    log = EventLog(db)

    async def first() -> str:
        async for event in log.follow(0, poll=0.02):
            return event.task_id or ""
        raise AssertionError

    follower = asyncio.create_task(first())
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _OTHER, database_url)
    assert await asyncio.wait_for(follower, 30) == "from afar"
    assert await process.wait() == 0


class SlowTransaction:
    """A transaction of another process that stays open: real, on a connection of its own."""

    def __init__(self, url: str) -> None:
        self._engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))

    async def __aenter__(self) -> Self:
        self.conn = await self._engine.connect()
        await self.conn.begin()
        return self

    async def emit(self, *tasks: str) -> None:
        def fn(conn: Connection) -> None:
            emit_many(conn, note(*tasks))

        await self.conn.run_sync(fn)

    async def __aexit__(self, *_: object) -> None:
        await self.conn.close()
        await self._engine.dispose()


@pytest.mark.postgres
async def test_a_slow_transactions_number_is_never_skipped(postgres: Database, postgres_database: str) -> None:
    """The slow one draws the smaller number and commits last; a reader must not pass it."""
    log = EventLog(postgres)
    await postgres.write(lambda conn: emit_many(conn, note("before")))
    async with SlowTransaction(postgres_database) as slow:
        await slow.emit("slow 1")
        await postgres.write(lambda conn: emit_many(conn, note("quick 1", "quick 2")))
        await slow.emit("slow 2")
        await postgres.write(lambda conn: emit_many(conn, note("quick 3")))
        held = await log.read(0)
        assert names(held) == ["before"]
        assert names(await log.read(0, kinds=["task.queued"])) == ["before"]
        assert names(await log.read(0, task_id="quick 1")) == []
        cursor = await log.head()
        assert cursor == held[-1].seq
        await slow.conn.commit()
    after = await log.read(cursor)
    assert names(after) == ["slow 1", "quick 1", "quick 2", "slow 2", "quick 3"]
    assert [event.seq for event in after] == list(range(cursor + 1, cursor + 6))


@pytest.mark.postgres
async def test_a_rolled_back_number_holds_nobody_back(postgres: Database, postgres_database: str) -> None:
    log = EventLog(postgres)
    async with SlowTransaction(postgres_database) as slow:
        await slow.emit("never")
        await postgres.write(lambda conn: emit_many(conn, note("quick")))
        assert await log.read(0) == []
        await slow.conn.rollback()
    assert names(await log.read(0)) == ["quick"]
    assert await log.head() == (await log.read(0))[-1].seq


@pytest.mark.postgres
async def test_transactions_without_events_hold_nobody_back(postgres: Database, postgres_database: str) -> None:
    """A backup or a report that runs for an hour must not stop the event log."""
    async with SlowTransaction(postgres_database) as slow:
        await slow.conn.exec_driver_sql("INSERT INTO ledgers (key) VALUES ('unrelated')")
        await slow.conn.exec_driver_sql("SELECT pg_advisory_xact_lock_shared(42)")
        await postgres.write(lambda conn: emit_many(conn, note("quick")))
        assert names(await EventLog(postgres).read(0)) == ["quick"]


@pytest.mark.postgres
async def test_followers_miss_nothing_while_many_transactions_overlap(
    postgres: Database, postgres_database: str
) -> None:
    """Eight connections commit in random order; a follower still gets every event, each once, in order."""
    total = 8 * 12
    got: list[Event] = []

    async def follow() -> None:
        async for event in EventLog(postgres).follow(0, poll=0.001):
            got.append(event)
            if len(got) == total:
                return

    async def writer(name: int) -> None:
        async with SlowTransaction(postgres_database) as slow:
            for number in range(12):
                await slow.emit(f"{name}-{number}")
                for _ in range((name * 7 + number * 3) % 5):
                    await slow.conn.exec_driver_sql("SELECT pg_sleep(0.002)")
                await slow.conn.commit()
                await slow.conn.begin()

    follower = asyncio.create_task(follow())
    await asyncio.gather(*(writer(name) for name in range(8)))
    await asyncio.wait_for(follower, 30)
    assert [event.seq for event in got] == sorted({event.seq for event in got})
    assert sorted(names(got)) == sorted(f"{name}-{number}" for name in range(8) for number in range(12))


@pytest.mark.postgres
async def test_savepoints_keep_the_log_complete(postgres: Database, postgres_database: str) -> None:
    """A batch in which a function fails runs again with savepoints; its other events stay safe from being passed."""
    log = EventLog(postgres)

    async def one(number: int) -> None:
        def fn(conn: Connection) -> None:
            emit_many(conn, note(f"n{number}"))
            if number == 2:
                raise ValueError

        await postgres.write(fn)

    async with SlowTransaction(postgres_database) as slow:
        await slow.emit("slow")
        results = await asyncio.gather(*(one(number) for number in range(5)), return_exceptions=True)
        assert [type(result) for result in results if result] == [ValueError]
        assert await log.read(0) == []
        await slow.conn.commit()
    assert names(await log.read(0)) == ["slow", "n0", "n1", "n3", "n4"]
