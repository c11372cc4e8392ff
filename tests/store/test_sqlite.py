"""What only SQLite does: one file, a full disk, another process that writes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from ezaigent.core.errors import UnavailableError
from ezaigent.store import BulkInsert, Connection, Database, Sql, emit, tables

put = BulkInsert(tables.ledgers, ("key", "limit_nusd"))
count = Sql("SELECT count(*) FROM ledgers")


def total(conn: Connection) -> int:
    row = count.first(conn)
    assert row is not None
    return int(row[0])


async def test_every_commit_waits_for_the_disk(sqlite: Database) -> None:
    settings = await sqlite.write(
        lambda conn: [
            conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    )
    assert settings == ["wal", 2, 1]  # 2 is FULL


async def test_the_file_is_private(sqlite: Database, tmp_path: Path) -> None:
    await sqlite.write(lambda conn: put(conn, [("a", 1)]))
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(tmp_path)}
    assert set(modes.values()) == {0o600}, modes


async def test_a_reader_cannot_write_and_does_not_wait_for_a_writer(sqlite: Database, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="read-only"):
        await sqlite.read(lambda conn: put(conn, [("a", 1)]))
    other = sqlite3.connect(tmp_path / "only.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert await asyncio.wait_for(sqlite.read(total), 30) == 0
    other.close()


async def test_a_write_waits_for_another_process_and_leaves_the_loop_free(sqlite: Database, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "only.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write = asyncio.create_task(sqlite.write(lambda conn: put(conn, [("a", 1)])))
    for _ in range(50):  # the loop turns while the write waits
        await asyncio.sleep(0.001)
    assert not write.done()
    other.execute("COMMIT")
    assert await asyncio.wait_for(write, 30) == 1
    other.close()


async def test_a_full_disk_is_one_clear_error_and_work_goes_on_after_it(sqlite: Database) -> None:
    """The page limit gives SQLite's real SQLITE_FULL, in the middle of a shared transaction."""

    def limit(conn: Connection, more: int) -> None:
        pages = int(conn.exec_driver_sql("PRAGMA page_count").scalar_one())
        conn.exec_driver_sql(f"PRAGMA max_page_count = {pages + more}")

    await sqlite.write(lambda conn: limit(conn, 4))

    async def one(number: int) -> None:
        await sqlite.write(lambda conn: emit(conn, "live.lost", data={"reason": f"{number}" * 8000}))

    results = await asyncio.gather(*(one(number) for number in range(1, 9)), return_exceptions=True)
    failed = [result for result in results if result is not None]
    assert failed
    for error in failed:
        assert isinstance(error, UnavailableError)
        assert "disk is full" in str(error)
    await sqlite.write(lambda conn: limit(conn, 1000))
    await asyncio.gather(*(one(number) for number in range(1, 9)))


async def test_a_database_that_became_read_only_is_one_clear_error(sqlite: Database) -> None:
    await sqlite.write(lambda conn: conn.exec_driver_sql("PRAGMA query_only = ON").close())
    with pytest.raises(UnavailableError, match="read-only") as caught:
        await sqlite.write(lambda conn: put(conn, [("a", 1)]))
    assert "only.db" in str(caught.value)


_WRITER = """
import asyncio, sys
from ezaigent.store import BulkInsert, Database, tables
put = BulkInsert(tables.ledgers, ("key", "limit_nusd"))
async def main():
    db = await Database.open(sys.argv[1])
    for number in range(1_000_000):
        await asyncio.gather(*(db.write(lambda c, n=n: put(c, [(f"{sys.argv[2]}-{number}-{n}", n)])) for n in range(3)))
        print(number, flush=True)
asyncio.run(main())
"""


async def test_kill_9_loses_nothing_that_was_acknowledged(database_url: str) -> None:
    """Two processes write to one database; both are killed in the middle of it."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WRITER, database_url, name, stdout=asyncio.subprocess.PIPE
        )
        for name in ("a", "b")
    ]
    acknowledged: list[int] = []
    for process in processes:
        assert process.stdout is not None
        for _ in range(30):
            await asyncio.wait_for(process.stdout.readline(), 30)
    for process in processes:
        process.kill()
        assert process.stdout is not None
        rest = await process.stdout.read()
        acknowledged.append(30 + rest.count(b"\n"))
        await process.wait()
    db = await Database.open(database_url)
    rows = await db.read(lambda conn: {row[0] for row in Sql("SELECT key FROM ledgers").all(conn)})
    for name, batches in zip("ab", acknowledged, strict=True):
        assert {f"{name}-{batch}-{n}" for batch in range(batches) for n in range(3)} <= rows
    await db.close()


async def test_a_write_that_waits_too_long_says_who_to_look_for(tmp_path: Path) -> None:
    db = await Database.open(f"sqlite:///{tmp_path / 'busy.db'}", patience=0.05)
    with contextlib.closing(sqlite3.connect(tmp_path / "busy.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="another program keeps it locked"):
            await db.write(lambda conn: put(conn, [("a", 1)]))
    assert await db.write(lambda conn: put(conn, [("a", 1)])) == 1
    await db.close()
