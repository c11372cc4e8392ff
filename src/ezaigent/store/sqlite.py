"""SQLite: one connection that writes, a few that read, all on one file in WAL mode with synchronous FULL."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal, Self

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from ezaigent.core.errors import StoreUnavailable
from ezaigent.store.clock import SteadyClock
from ezaigent.store.events import CLOCK, end_emitting
from ezaigent.store.failures import explain
from ezaigent.store.lane import Write, run_writes

_READERS: Final = 4


class SqliteBackend:
    """The functions of a batch run on the event loop's thread; only the commit, which waits for the disk, does not.

    With a second thread running the functions, each statement would hand Python's lock over and wait up to 5 ms to
    get it back from a busy loop: a hundred agents would get 200 statements a second.
    """

    dialect: Literal["sqlite", "postgresql"] = "sqlite"

    def __init__(self, path: Path, patience: float) -> None:
        """Prepare; ``open`` does the work. ``patience`` is how long to wait for another process that writes."""
        self._patience = patience
        self.where = f"{str(path)!r}"
        self._path = path
        self._engine = create_engine("sqlite://", creator=self._connect, poolclass=NullPool)
        self._committer = ThreadPoolExecutor(1, "sqlite-commit")
        self.clock = SteadyClock()
        self._readers = ThreadPoolExecutor(_READERS, "sqlite-read")
        self._local = threading.local()
        self._open: list[Connection] = []
        self._writer: Connection
        self._driver: sqlite3.Connection

    @classmethod
    async def open(cls, path: Path, patience: float) -> Self:
        """Open or create the file. Raises ``StoreUnavailable`` when it cannot be written."""
        backend = cls(path, patience)
        try:
            await asyncio.get_running_loop().run_in_executor(backend._committer, backend._open_writer)
        except Exception as error:  # noqa: BLE001 - explained, and raised again
            await backend.close()
            raise explain(error, backend.where) from None
        return backend

    async def transact(self, writes: list[Write], *, apart: bool = False) -> bool:  # noqa: ARG002 - there is one writer
        """Commit a batch; each write then has its result or its own error. Returns whether events were written."""
        await self._begin()
        try:
            kept = run_writes(self._writer, writes, self._control, optimistic=False)
            if kept:
                await self._commit()
        except Exception as error:  # noqa: BLE001 - explained, and raised again
            # A full disk ends the whole transaction, and with it the savepoints: nothing of the batch was kept.
            first = next((write.error for write in writes if write.error is not None), error)
            self._writer.rollback()
            raise explain(first, self.where) from first
        if not kept:
            self._writer.rollback()
        emitted = end_emitting(self._writer) and kept
        for write in writes:
            if write.error is not None:
                write.error = explain(write.error, self.where)
        return emitted

    async def _commit(self) -> None:
        """Commit, and return only when that has ended: who is cancelled meanwhile must not leave the writer busy."""
        commit = asyncio.get_running_loop().run_in_executor(self._committer, self._writer.commit)
        try:
            await asyncio.shield(commit)
        finally:
            while not commit.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({commit})

    async def read(self, fn: Callable[[Connection], Any]) -> Any:
        """Run ``fn`` in a thread on one snapshot; it cannot write."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, fn)
        except Exception as error:  # noqa: BLE001 - explained, and raised again
            raise explain(error, self.where) from error.__cause__

    async def close(self) -> None:
        """Close every connection."""
        self._committer.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        for conn in self._open:
            conn.close()
        self._engine.dispose()

    def _connect(self) -> sqlite3.Connection:
        driver = sqlite3.connect(
            self._path, timeout=self._patience, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        driver.execute("PRAGMA foreign_keys = ON")
        driver.execute("PRAGMA synchronous = FULL")
        driver.execute("PRAGMA cache_size = -16000")  # 16 MB
        driver.execute("PRAGMA temp_store = MEMORY")
        driver.create_function("epoch_now", 0, self.clock)
        return driver

    def _open_writer(self) -> None:
        if not self._path.exists():
            # Prompts are nobody else's business; the WAL takes over these permissions.
            try:
                os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            except OSError as error:
                raise StoreUnavailable(f"the database {self.where} cannot be made: {error.strerror}") from None
        self._writer = self._engine.connect()
        self._open.append(self._writer)
        self._driver = _driver(self._writer)
        self._writer.info[CLOCK] = self.clock
        self._driver.execute("PRAGMA journal_mode = WAL")
        self._driver.execute("BEGIN IMMEDIATE")  # a read-only file is found out now
        self._driver.execute("ROLLBACK")
        self._driver.execute("PRAGMA busy_timeout = 0")  # waiting for another process must not stop the loop

    async def _begin(self) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                self._driver.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise explain(error, self.where) from error
                await asyncio.sleep(random.uniform(0.0005, 0.003))  # noqa: S311 - only spreads tries
            else:
                self._writer.begin()  # the toolkit must know of it, or a function without SQL would leave it open
                return

    def _control(self, statement: str) -> None:
        self._driver.execute(statement)

    def _read(self, fn: Callable[[Connection], Any]) -> Any:
        conn: Connection | None = getattr(self._local, "conn", None)
        if conn is None:
            conn = self._engine.connect()
            self._open.append(conn)
            _driver(conn).execute("PRAGMA query_only = ON")
            self._local.conn = conn
        _driver(conn).execute("BEGIN")
        conn.begin()  # the toolkit must know of it, or a function without SQL would leave it open
        try:
            return fn(conn)
        finally:
            conn.rollback()


def _driver(conn: Connection) -> sqlite3.Connection:
    driver = conn.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
