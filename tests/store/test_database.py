"""Transactions: what a caller may rely on, whoever else writes at the same time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ezaigent.core.errors import UnavailableError, UsageError
from ezaigent.store import BulkInsert, BulkUpdate, Connection, Database, Sql, emit, now, tables

put = BulkInsert(tables.ledgers, ("key", "limit_nusd"))
move = BulkUpdate(tables.ledgers, "key", ("limit_nusd", "spent_nusd"))
keys = Sql("SELECT key FROM ledgers ORDER BY key")
some = Sql("SELECT key, limit_nusd, spent_nusd FROM ledgers WHERE key IN [$1] ORDER BY key")


def read_keys(conn: Connection) -> list[str]:
    return [row[0] for row in keys.all(conn)]


async def test_a_write_is_there_for_everybody_when_it_returns(db: Database, database_url: str) -> None:
    other = await Database.open(database_url)
    assert await db.write(lambda conn: put(conn, [("a", None), ("b", 7)])) == 2
    assert await other.read(read_keys) == ["a", "b"]
    await other.close()


async def test_a_function_that_fails_takes_back_its_own_rows_only(db: Database) -> None:
    """Twenty callers share transactions; each third one writes and then fails."""

    async def one(number: int) -> str:
        def fn(conn: Connection) -> str:
            put(conn, [(f"k{number:02}", number)])
            if number % 3 == 0:
                raise ValueError(number)
            return f"k{number:02}"

        return await db.write(fn)

    results = await asyncio.gather(*(one(number) for number in range(20)), return_exceptions=True)
    kept = [result for result in results if isinstance(result, str)]
    assert [result.args for result in results if isinstance(result, ValueError)] == [(n,) for n in range(0, 20, 3)]
    assert await db.read(read_keys) == kept == [f"k{n:02}" for n in range(20) if n % 3]


async def test_a_statement_that_the_database_refuses_harms_no_other_write(db: Database) -> None:
    async def one(key: str) -> int:
        return await db.write(lambda conn: put(conn, [(key, None)]))

    results = await asyncio.gather(one("same"), one("other"), one("same"), one("last"), return_exceptions=True)
    assert [isinstance(result, Exception) for result in results] == [False, False, True, False]
    assert not isinstance(results[2], UnavailableError)
    assert await db.read(read_keys) == ["last", "other", "same"]
    assert await one("next") == 1


async def test_a_cancelled_caller_takes_its_waiting_write_back(db: Database) -> None:
    ran: list[str] = []

    def fn(name: str) -> None:
        ran.append(name)

    first = asyncio.create_task(db.write(lambda _: fn("first")))
    second = asyncio.create_task(db.write(lambda _: fn("second")))
    third = asyncio.create_task(db.write(lambda _: fn("third")))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first, third)
    assert "second" not in ran
    assert {"first", "third"} <= set(ran)


async def test_writes_handed_in_before_close_are_kept_and_later_ones_refused(database_url: str) -> None:
    database = await Database.open(database_url)
    pending = [asyncio.create_task(database.write(lambda conn, n=n: put(conn, [(f"k{n}", n)]))) for n in range(5)]
    await asyncio.sleep(0)
    await database.close()
    assert [await one for one in pending] == [1] * 5
    with pytest.raises(UnavailableError, match="closed"):
        await database.write(read_keys)
    again = await Database.open(database_url)
    assert len(await again.read(read_keys)) == 5
    await again.close()


async def test_bulk_statements_and_lists_mean_the_same_on_both_databases(db: Database) -> None:
    def fn(conn: Connection) -> list[tuple[object, ...]]:
        assert put(conn, []) == 0
        put(conn, [("a", None), ("ü'\"%", 2), ("c", 3)])
        move(conn, [])
        move(conn, [("a", 5, 1), ("c", None, 2), ("nobody", 1, 1)])
        return [tuple(row) for row in some.all(conn, ["a", "c", "ü'\"%", "missing"])]

    assert await db.write(fn) == [("a", 5, 1), ("c", None, 2), ("ü'\"%", 2, 0)]
    assert await db.read(lambda conn: some.all(conn, list[str]())) == []


async def test_database_time_goes_forward(db: Database) -> None:
    first = await db.read(now)
    assert first > 1_700_000_000
    assert first <= await db.write(now)


async def test_commits_with_events_are_told_once_and_others_not(db: Database) -> None:
    calls: list[str] = []
    told = asyncio.Event()

    def heard() -> None:
        calls.append("heard")
        told.set()

    with db.on_commit(heard):
        await db.write(lambda conn: put(conn, [("a", None)]))
        await db.write(lambda conn: emit(conn, "live.restored"))
        await asyncio.wait_for(told.wait(), 30)
    await db.write(lambda conn: emit(conn, "live.restored"))
    await db.read(read_keys)
    assert calls == ["heard"]


async def test_a_rolled_back_event_is_not_told(db: Database) -> None:
    calls: list[str] = []

    def fn(conn: Connection) -> None:
        emit(conn, "live.restored")
        raise ValueError

    with db.on_commit(lambda: calls.append("heard")):
        with pytest.raises(ValueError):  # noqa: PT011 - our own
            await db.write(fn)
        await db.read(read_keys)
    assert calls == []


@pytest.mark.parametrize(
    ("url", "error", "text"),
    [
        ("mysql://host/name", UsageError, "mysql"),
        ("sqlite:////proc/nowhere/store.db", UnavailableError, "cannot be made: No such file"),
        ("postgresql://nobody:hunter2@127.0.0.1:9/none", UnavailableError, "127.0.0.1:9"),
    ],
)
async def test_an_unusable_url_is_one_clear_line(url: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        await Database.open(url)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are not the pages you are looking for\n" * 100)
    with pytest.raises(UnavailableError, match="not an SQLite database"):
        await Database.open(f"sqlite:///{path}")


async def test_functions_without_sql_leave_no_transaction_open(db: Database) -> None:
    for _ in range(10):  # more than there are readers
        assert await db.read(lambda _: "nothing") == "nothing"
        assert await db.write(lambda _: "nothing") == "nothing"
    await db.write(lambda conn: put(conn, [("after", 1)]))
    assert await db.read(read_keys) == ["after"]
