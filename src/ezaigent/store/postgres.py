"""PostgreSQL: two connections that write, a pool that reads; all come back after the server was restarted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Literal, Self

from sqlalchemy import Connection, event, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ezaigent.core.errors import StoreUnavailable
from ezaigent.store.events import end_emitting
from ezaigent.store.failures import broken_connection, explain, transient
from ezaigent.store.lane import Write, run_writes

_PAUSE: Final = (0.02, 0.1, 0.25, 0.5, 1.0)
"""Seconds between those tries."""
_SETTINGS: Final = {
    "lock_timeout": "10s",  # what somebody keeps locked must not stop this process for good
    "jit": "off",  # compiling a plan takes 30 ms, running one of ours 1 ms
    "plan_cache_mode": "force_generic_plan",  # planning a claim anew takes longer than running it
    "random_page_cost": "1.1",  # what a queue touches is in memory: always take the index
}


class PostgresBackend:
    """Writes go through one connection in batches: two of them could wait for each other's rows.

    A second one carries the writes that never wait for a row, which are the claims.
    """

    dialect: Literal["sqlite", "postgresql"] = "postgresql"

    def __init__(self, url: str, patience: float) -> None:
        """Prepare; ``open`` does the work. ``patience`` is how long to try again while the server is away."""
        self._patience = patience
        parsed = make_url(url).set(drivername="postgresql+asyncpg")
        if "sslmode" in parsed.query:  # libpq's name for it
            parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": parsed.query["sslmode"]})
        self.where = f"{parsed.database!r} at {parsed.host or 'localhost'}:{parsed.port or 5432}"
        self._engine = create_async_engine(
            parsed,
            pool_size=6,
            max_overflow=6,
            pool_timeout=patience,
            connect_args={"timeout": 10, "server_settings": {"application_name": "ezaigent"}},
        )
        event.listen(self._engine.sync_engine, "connect", _configure)
        self._reader = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._writer = _Writer(self._engine)
        self._apart = _Writer(self._engine)
        self._alone = _Writer(self._reader)

    @classmethod
    async def open(cls, url: str, patience: float) -> Self:
        """Connect once. Raises ``StoreUnavailable`` when the server cannot be used."""
        backend = cls(url, patience)
        try:
            await backend._writer.connection()
        except Exception as error:  # noqa: BLE001 - explained, and raised again
            await backend.close()
            raise explain(error, backend.where) from None
        return backend

    async def transact(self, writes: list[Write], *, apart: bool = False) -> bool:
        """Commit a batch; each write then has its result or its own error. Returns whether events were written.

        A transaction that surely did not commit is run again, for a while, when the connection broke; one whose
        commit got no answer raises ``StoreUnavailable``, because it may have been made.
        """
        if len(writes) == 1 and writes[0].single and (emitted := await self._autocommit(writes[0])) is not None:
            return emitted
        writer = self._apart if apart else self._writer
        deadline, tries = time.monotonic() + self._patience, 0
        while (failure := await writer.run(writes)) is not None:
            if not _again(failure) or time.monotonic() > deadline:
                raise explain(failure, self.where) from failure
            await asyncio.sleep(_PAUSE[min(tries, len(_PAUSE) - 1)])
            tries += 1
        try:
            emitted = await writer.commit()
        except Exception as error:
            raise self._uncertain(error) from error
        for write in writes:
            if write.error is not None:
                write.error = explain(write.error, self.where)
        return emitted

    async def _autocommit(self, write: Write) -> bool | None:
        """Run a function of one statement, which commits by itself; None where it surely did not and may do later."""
        try:
            conn = await self._alone.connection()
        except Exception:  # noqa: BLE001 - the transaction that is tried instead explains it
            return None
        try:
            write.result = await conn.run_sync(write.fn)
        except BaseException as error:
            if not isinstance(error, Exception):  # the statement is still under way: nobody may use its connection
                await self._alone.drop()
                raise
            if transient(error):
                return None
            if broken_connection(error):
                await self._alone.drop()
                raise self._uncertain(error) from error
            write.error = explain(error, self.where)
        assert conn.sync_connection is not None
        return end_emitting(conn.sync_connection) and write.error is None

    def _uncertain(self, error: Exception) -> Exception:
        if not broken_connection(error):
            return explain(error, self.where)
        return StoreUnavailable(
            f"the connection to the database {self.where} broke during a commit: look whether the change was made"
        )

    async def read(self, fn: Callable[[Connection], Any]) -> Any:
        """Run ``fn`` on a connection of the pool; each statement sees what is committed when it begins."""
        deadline, tries = time.monotonic() + self._patience, 0
        while True:
            try:
                async with self._reader.connect() as conn:
                    try:
                        return await conn.run_sync(fn)
                    except BaseException as error:
                        # A cancelled statement is still under way: nobody else may use its connection.
                        if not isinstance(error, Exception) or broken_connection(error):
                            await conn.invalidate()
                        raise
            except Exception as error:  # noqa: BLE001 - explained, and raised again
                if not broken_connection(error) or time.monotonic() > deadline:
                    raise explain(error, self.where) from error.__cause__
            await asyncio.sleep(_PAUSE[min(tries, len(_PAUSE) - 1)])
            tries += 1

    async def close(self) -> None:
        """Close every connection."""
        await self._writer.drop()
        await self._apart.drop()
        await self._alone.drop()
        await self._engine.dispose()


class _Writer:
    """One connection that writes, made when it is needed."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._conn: AsyncConnection | None = None
        self._kept = False

    async def connection(self) -> AsyncConnection:
        if self._conn is None:
            self._conn = await self._engine.connect()
        return self._conn

    async def run(self, writes: list[Write]) -> Exception | None:
        """Run the functions and leave the transaction open; return what kept it from running, if anything did.

        First without savepoints, which cost a round trip each; with them when a function of several failed.
        """
        try:
            conn = await self.connection()
            self._kept = await conn.run_sync(_optimistic, writes)
            failure = next((write.error for write in writes if write.error and _again(write.error)), None)
            if failure is None and not self._kept:
                await conn.rollback()
                if len(writes) > 1:
                    self._kept = await conn.run_sync(_careful, writes)
                    failure = next((write.error for write in writes if write.error and _again(write.error)), None)
        except Exception as error:  # noqa: BLE001 - the caller sorts it out
            failure = error
        except BaseException:  # a statement is still under way, in an open transaction
            await self.drop()
            raise
        if failure is not None:
            await self.drop()
        return failure

    async def commit(self) -> bool:
        """Commit what ``run`` left open; return whether it wrote events."""
        conn = await self.connection()
        assert conn.sync_connection is not None
        try:
            emitted = end_emitting(conn.sync_connection) and self._kept
            if self._kept:
                await conn.commit()
        except BaseException:
            await self.drop()
            raise
        return emitted

    async def drop(self) -> None:
        """Throw the connection away, with whatever it was doing."""
        conn, self._conn = self._conn, None
        if conn is None:
            return
        try:
            await conn.invalidate()
            await conn.close()
        except Exception:  # noqa: BLE001, S110 - it is gone either way, and the first error is the one to tell
            pass


def _configure(driver: Any, _: object) -> None:
    # Not as parameters of the connection: a connection pooler in between refuses those it does not know.
    cursor = driver.cursor()
    cursor.execute(
        "SELECT " + ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SETTINGS.items())
    )
    cursor.close()


def _again(error: BaseException) -> bool:
    return broken_connection(error) or transient(error)


def _optimistic(conn: Connection, writes: list[Write]) -> bool:
    conn.begin()
    return run_writes(conn, writes, conn.exec_driver_sql, optimistic=True)


def _careful(conn: Connection, writes: list[Write]) -> bool:
    conn.begin()
    return run_writes(conn, writes, conn.exec_driver_sql, optimistic=False)
