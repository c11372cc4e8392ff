"""What only PostgreSQL does: a server that goes away and comes back, deadlocks, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from tests.services import PostgresServer, until

from ezaigent.core.errors import UnavailableError
from ezaigent.store import BulkInsert, Connection, Database, Sql, tables

pytestmark = pytest.mark.postgres

put = BulkInsert(tables.ledgers, ("key", "limit_nusd"))
keys = Sql("SELECT key FROM ledgers ORDER BY key")
lock = Sql("SELECT key FROM ledgers WHERE key = $1 FOR UPDATE")


def read_keys(conn: Connection) -> list[str]:
    return [row[0] for row in keys.all(conn)]


async def test_the_server_is_restarted_in_mid_use_and_nothing_acknowledged_is_lost(
    postgres_server: PostgresServer, postgres_database: str
) -> None:
    db = await Database.open(postgres_database)
    acknowledged: list[str] = []
    uncertain: list[str] = []
    stop = asyncio.Event()

    async def writer(name: str) -> None:
        number = 0
        while not stop.is_set():
            key = f"{name}-{number}"
            number += 1
            try:
                await db.write(lambda conn, key=key: put(conn, [(key, 1)]))
                acknowledged.append(key)
            except UnavailableError as error:
                assert "during a commit" in str(error)  # noqa: PT017 - the only one that may surface
                uncertain.append(key)

    async def thirty_more() -> None:
        goal = len(acknowledged) + 30
        await until(lambda: len(acknowledged) >= goal, within=30)

    writers = [asyncio.create_task(writer(name)) for name in "abc"]
    for _ in range(2):
        await thirty_more()
        await asyncio.to_thread(postgres_server.restart)
    await thirty_more()
    stop.set()
    await asyncio.gather(*writers)
    stored = set(await db.read(read_keys))
    assert set(acknowledged) <= stored
    assert stored <= set(acknowledged) | set(uncertain)
    await db.close()


async def test_reads_come_back_after_a_restart(postgres: Database, postgres_server: PostgresServer) -> None:
    await postgres.write(lambda conn: put(conn, [("a", 1)]))
    assert await postgres.read(read_keys) == ["a"]
    await asyncio.to_thread(postgres_server.restart)
    assert await postgres.read(read_keys) == ["a"]


async def test_a_server_that_stays_away_is_one_clear_error(
    postgres_server: PostgresServer, postgres_database: str
) -> None:
    db = await Database.open(postgres_database, patience=0.2)
    await asyncio.to_thread(postgres_server.stop)
    try:
        with pytest.raises(UnavailableError, match="cannot be") as caught:
            await db.write(lambda conn: put(conn, [("a", 1)]))
        assert "\n" not in str(caught.value)
        with pytest.raises(UnavailableError, match="cannot be"):
            await db.read(read_keys)
    finally:
        await asyncio.to_thread(postgres_server.start)
    await db.write(lambda conn: put(conn, [("b", 1)]))
    assert await db.read(read_keys) == ["b"]
    await db.close()


async def test_a_deadlock_is_run_again_and_both_writes_are_kept(postgres: Database, postgres_database: str) -> None:
    other = await Database.open(postgres_database)
    await postgres.write(lambda conn: put(conn, [("x", 1), ("y", 1)]))
    await postgres.write(lambda conn: conn.exec_driver_sql("SET deadlock_timeout = '50ms'").close())

    def both(first: str, second: str) -> Connection | None:
        def fn(conn: Connection) -> None:
            lock.all(conn, first)
            conn.exec_driver_sql("SELECT pg_sleep(0.1)").close()
            lock.all(conn, second)
            put(conn, [(f"{first}{second}", 1)])

        return fn  # type: ignore[return-value]

    await asyncio.gather(postgres.write(both("x", "y")), other.write(both("y", "x")))  # type: ignore[arg-type]
    assert await other.read(read_keys) == ["x", "xy", "y", "yx"]
    await other.close()


async def test_a_read_only_server_is_one_clear_error(postgres: Database) -> None:
    await postgres.write(lambda conn: conn.exec_driver_sql("SET default_transaction_read_only = on").close())
    with pytest.raises(UnavailableError, match="read-only"):
        await postgres.write(lambda conn: put(conn, [("a", 1)]))


async def test_rows_that_somebody_keeps_locked_stop_only_for_a_while(
    postgres: Database, postgres_database: str
) -> None:
    await postgres.write(lambda conn: put(conn, [("x", 1)]))
    await postgres.write(lambda conn: conn.exec_driver_sql("SET lock_timeout = '100ms'").close())
    engine = create_async_engine(postgres_database.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as conn:
        await conn.exec_driver_sql("SELECT 1 FROM ledgers FOR UPDATE")
        with pytest.raises(UnavailableError, match="keeps rows locked"):
            await postgres.write(lambda conn: lock.all(conn, "x"))
        await postgres.write(lambda conn: put(conn, [("y", 1)]))
    await engine.dispose()


async def test_a_write_apart_does_not_wait_for_the_others(postgres: Database) -> None:
    slow = asyncio.create_task(postgres.write(lambda conn: conn.exec_driver_sql("SELECT pg_sleep(0.3)").close()))
    await asyncio.sleep(0)
    await postgres.write(lambda conn: put(conn, [("a", 1)]), apart=True)
    assert not slow.done()
    await slow


def _missing(url: str) -> str:
    return url.rsplit("/", 1)[0] + "/missing"


def _stranger(url: str) -> str:
    return url.replace("postgres@", "stranger@")


def _encrypted(url: str) -> str:
    return url + "?sslmode=require"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_missing, "no such database"),
        (_stranger, "refused the user"),
        (_encrypted, "."),
    ],
)
async def test_what_the_server_refuses_is_said_in_one_line(
    postgres_database: str, change: Callable[[str], str], text: str
) -> None:
    with pytest.raises(UnavailableError, match=text) as caught:
        await Database.open(change(postgres_database))
    assert "\n" not in str(caught.value)


async def test_postgres_is_a_scheme_too(postgres_database: str) -> None:
    db = await Database.open(postgres_database.replace("postgresql://", "postgres://"))
    assert db.dialect == "postgresql"
    assert "postgres@" not in db.where
    await db.close()
