"""Whoever is cancelled in the middle of a statement leaves no connection behind that is busy or in a transaction."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy import event

from ezaigent.store import BulkInsert, Connection, Database, Sql, tables

put = BulkInsert(tables.ledgers, ("key", "limit_nusd"))
keys = Sql("SELECT key FROM ledgers ORDER BY key")
LONG = 600
"""Seconds of a statement that nobody waits for."""


def read_keys(conn: Connection) -> list[str]:
    return [row[0] for row in keys.all(conn)]


def lanes() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "write lane"]


async def cancelled(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    _, waiting = await asyncio.wait(tasks, timeout=30)
    assert not waiting
    assert all(task.cancelled() for task in tasks)


@pytest.mark.postgres
@pytest.mark.parametrize("how", ["single", "apart", "alone", "together"])
async def test_a_write_that_is_cancelled_in_a_slow_statement_holds_up_no_other(postgres: Database, how: str) -> None:
    begun = asyncio.Event()

    def slow(conn: Connection) -> None:
        if how != "single":
            put(conn, [("lost", 1)])
        begun.set()
        conn.exec_driver_sql(f"SELECT pg_sleep({LONG})").close()

    single, apart = how == "single", how == "apart"
    callers = [
        asyncio.create_task(postgres.write(slow, single=single, apart=apart))
        for _ in range(2 if how == "together" else 1)
    ]
    async with asyncio.timeout(60):
        await begun.wait()
        await cancelled(*lanes())
        for caller in callers:
            with pytest.raises(asyncio.CancelledError):
                await caller
        for number in range(2):
            row = (f"kept-{number}", 1)
            await postgres.write(lambda conn, row=row: put(conn, [row]), single=single, apart=apart)
        assert await postgres.read(read_keys) == ["kept-0", "kept-1"]


@pytest.mark.postgres
async def test_a_read_that_is_cancelled_in_a_slow_statement_holds_up_no_other(postgres: Database) -> None:
    begun = asyncio.Event()

    def slow(conn: Connection) -> None:
        begun.set()
        conn.exec_driver_sql(f"SELECT pg_sleep({LONG})").close()

    async with asyncio.timeout(60):
        for _ in range(15):  # more often than there are connections
            begun.clear()
            reader = asyncio.create_task(postgres.read(slow))
            await begun.wait()
            await cancelled(reader)
        assert await postgres.read(read_keys) == []


async def test_a_write_that_is_cancelled_during_its_commit_leaves_the_writer_free(sqlite: Database) -> None:
    loop, begun, go = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def wait(_: Connection) -> None:  # in the thread that waits for the disk
        loop.call_soon_threadsafe(begun.set)
        assert go.wait(60)

    def slow(conn: Connection) -> None:
        put(conn, [("first", 1)])
        event.listen(conn, "commit", wait, once=True)

    first = asyncio.create_task(sqlite.write(slow))
    await asyncio.wait_for(begun.wait(), 60)
    (lane,) = lanes()
    lane.cancel()
    await asyncio.sleep(0)
    lane.cancel()  # once more, while it waits
    second = asyncio.create_task(sqlite.write(lambda conn: put(conn, [("second", 1)])))
    for _ in range(5):
        await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.wait({second}, timeout=30)
    assert await sqlite.write(lambda conn: put(conn, [("third", 1)])) == 1
    kept = await sqlite.read(read_keys)
    assert {"first", "third"} <= set(kept), "what was being committed was committed"
    assert ("second" in kept) is not second.cancelled()


async def test_a_read_that_is_cancelled_leaves_the_others_their_connections(sqlite: Database) -> None:
    loop, begun, go = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def slow(conn: Connection) -> list[str]:
        loop.call_soon_threadsafe(begun.set)
        assert go.wait(60)
        return read_keys(conn)

    reader = asyncio.create_task(sqlite.read(slow))
    await asyncio.wait_for(begun.wait(), 60)
    await cancelled(reader)
    await sqlite.write(lambda conn: put(conn, [("a", 1)]))
    assert await asyncio.gather(*(sqlite.read(read_keys) for _ in range(8))) == [["a"]] * 8
    go.set()
