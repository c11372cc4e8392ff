"""PostgreSQL: one connection that writes, a pool that reads; both come back after the server was restarted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Literal, Self

from sqlalchemy import Connection, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from ezaigent.core.errors import UnavailableError
from ezaigent.store.events import end_emitting
from ezaigent.store.failures import broken_connection, explain, transient
from ezaigent.store.lane import Write, run_writes

_PATIENCE: Final = 30.0
"""Seconds that a transaction is tried again while the server cannot be reached."""
_PAUSE: Final = (0.02, 0.1, 0.25, 0.5, 1.0)
"""Seconds between those tries."""
_SETTINGS: Final = {"application_name": "ezaigent", "lock_timeout": "10s"}


class PostgresBackend:
    """One write connection is enough: it carries batches, and two of them could only wait for each other's rows."""

    dialect: Literal["sqlite", "postgresql"] = "postgresql"

    def __init__(self, url: str) -> None:
        """Prepare; ``open`` does the work."""
        parsed = make_url(url).set(drivername="postgresql+asyncpg")
        if "sslmode" in parsed.query:  # libpq's name for it
            parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": parsed.query["sslmode"]})
        self.where = f"{parsed.database!r} at {parsed.host or 'localhost'}:{parsed.port or 5432}"
        self._engine = create_async_engine(
            parsed,
            pool_size=6,
            max_overflow=6,
            pool_timeout=_PATIENCE,
            connect_args={"timeout": 10, "server_settings": _SETTINGS},
        )
        self._writer: AsyncConnection | None = None

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect once. Raises ``UnavailableError`` when the server cannot be used."""
        backend = cls(url)
        try:
            await backend._connection()
        except Exception as error:
            await backend.close()
            raise explain(error, backend.where) from None
        return backend

    async def transact(self, writes: list[Write]) -> bool:
        """Commit a batch; each write then has its result or its own error. Returns whether events were written.

        A transaction that surely did not commit is run again, for a while, when the connection broke; one whose
        commit got no answer raises ``UnavailableError``, because it may have been made.
        """
        deadline, tries, optimistic = time.monotonic() + _PATIENCE, 0, True
        while True:
            failure: BaseException | None = None
            try:
                conn = await self._connection()
                kept = await conn.run_sync(_run, writes, optimistic)
                failure = next((write.error for write in writes if write.error and _again(write.error)), None)
            except Exception as error:  # noqa: BLE001 - sorted out just below
                conn, kept, failure = None, False, error
            if failure is not None:
                await self._drop(broken=broken_connection(failure))
                if not _again(failure) or time.monotonic() > deadline:
                    raise explain(failure, self.where) from failure
                await asyncio.sleep(_PAUSE[min(tries, len(_PAUSE) - 1)])
                tries += 1
                continue
            assert conn is not None
            if kept:
                await self._commit(conn)
            else:
                await self._drop(broken=False)
                if len(writes) > 1:
                    optimistic = False
                    continue
            emitted = end_emitting(_sync(conn)) and kept
            for write in writes:
                if write.error is not None:
                    explained = explain(write.error, self.where)
                    write.error = explained if isinstance(explained, Exception) else write.error
            return emitted

    async def read(self, fn: Callable[[Connection], Any]) -> Any:
        """Run ``fn`` on a connection of the pool; each statement sees what is committed when it begins."""
        deadline, tries = time.monotonic() + _PATIENCE, 0
        while True:
            try:
                async with self._engine.connect() as conn:
                    return await conn.run_sync(fn)
            except Exception as error:
                if not broken_connection(error) or time.monotonic() > deadline:
                    raise explain(error, self.where) from error.__cause__
            await asyncio.sleep(_PAUSE[min(tries, len(_PAUSE) - 1)])
            tries += 1

    async def close(self) -> None:
        """Close every connection."""
        await self._drop(broken=True)
        await self._engine.dispose()

    async def _connection(self) -> AsyncConnection:
        if self._writer is None:
            self._writer = await self._engine.connect()
        return self._writer

    async def _commit(self, conn: AsyncConnection) -> None:
        try:
            await conn.commit()
        except Exception as error:
            await self._drop(broken=True)
            if not broken_connection(error):
                raise explain(error, self.where) from error
            raise UnavailableError(
                f"the connection to the database {self.where} broke during a commit: look whether the change was made"
            ) from error

    async def _drop(self, *, broken: bool) -> None:
        """Roll the write connection back; a broken one is thrown away."""
        conn = self._writer
        if conn is None:
            return
        try:
            if not broken:
                await conn.rollback()
                return
            self._writer = None
            await conn.invalidate()
            await conn.close()
        except Exception:  # noqa: BLE001 - it is gone either way, and the first error is the one to tell
            self._writer = None


def _again(error: BaseException) -> bool:
    return broken_connection(error) or transient(error)


def _run(conn: Connection, writes: list[Write], optimistic: bool) -> bool:  # noqa: FBT001 - passed through run_sync
    def control(statement: str) -> None:
        conn.exec_driver_sql(statement)

    return run_writes(conn, writes, control, optimistic=optimistic)


def _sync(conn: AsyncConnection) -> Connection:
    assert conn.sync_connection is not None
    return conn.sync_connection
