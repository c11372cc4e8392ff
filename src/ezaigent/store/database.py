"""One database object for both databases: synchronous query functions, run in transactions."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self, TypeVar

from sqlalchemy import Connection

from ezaigent.core.errors import UsageError
from ezaigent.store.clock import SteadyClock
from ezaigent.store.lane import Write, WriteLane
from ezaigent.store.migrate import migrate as run_migrations
from ezaigent.store.sql import Sql

T = TypeVar("T")

_clock = Sql("SELECT {now}")


def now(conn: Connection) -> float:
    """Return the database's time in seconds since 1970: the clock that leases go by."""
    row = _clock.first(conn)
    assert row is not None
    return float(row[0])


class _Backend(Protocol):
    dialect: Literal["sqlite", "postgresql"]
    where: str

    async def transact(self, writes: list[Write], *, apart: bool) -> bool: ...

    async def read(self, fn: Callable[[Connection], T]) -> T: ...

    async def close(self) -> None: ...


class Subscription:
    """A registered callback; closing it, or leaving it as a context manager, takes it back."""

    def __init__(self, callbacks: set[Callable[[], None]], callback: Callable[[], None]) -> None:
        """Register ``callback``."""
        self._callbacks, self._callback = callbacks, callback
        callbacks.add(callback)

    def close(self) -> None:
        """Take the callback back; harmless when it is gone already."""
        self._callbacks.discard(self._callback)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Database:
    """The store: ``write`` and ``read`` run plain functions of a SQLAlchemy ``Connection``.

    Such a function is synchronous, short, and touches nothing but the connection: it may be run again when its
    transaction did not commit, and it keeps the event loop waiting while it runs.
    """

    def __init__(self, backend: _Backend) -> None:
        """Use ``Database.open``."""
        self.dialect: Literal["sqlite", "postgresql"] = backend.dialect
        self.where = backend.where
        """The database's name for people, without user and password."""
        self._backend = backend
        self._lane = WriteLane(self._transact)
        self._apart = WriteLane(functools.partial(self._transact, apart=True))
        self._callbacks: set[Callable[[], None]] = set()

    @classmethod
    async def open(cls, url: str, *, migrate: bool = True, patience: float = 30.0) -> Self:
        """Open ``sqlite:///absolute/path`` or ``postgresql://…`` and bring its schema up to date.

        An open database that another process keeps locked, or whose server is away, is tried again for ``patience``
        seconds before ``StoreUnavailable``.

        Raises ``StoreUnavailable`` when it cannot be reached, is read-only, or was made by a newer version of the
        product, and ``UsageError`` for another kind of URL.
        """
        scheme, _, rest = url.partition("://")
        backend: _Backend
        if scheme == "sqlite":
            from ezaigent.store.sqlite import SqliteBackend

            backend = await SqliteBackend.open(Path("/" + rest.lstrip("/")), patience)
        elif scheme in {"postgresql", "postgres"}:
            from ezaigent.store.postgres import PostgresBackend

            backend = await PostgresBackend.open(f"postgresql://{rest}", patience)
        else:
            raise UsageError(f"unknown kind of database {scheme!r}: use sqlite:///path or postgresql://host/name")
        db = cls(backend)
        if migrate:
            try:
                await db.write(lambda conn: run_migrations(conn, db.where))
                if isinstance(clock := getattr(backend, "clock", None), SteadyClock) and await db.read(clock.look):
                    await db.write(clock.agree)
            except BaseException:
                await db.close()
                raise
        return db

    async def write(self, fn: Callable[[Connection], T], *, apart: bool = False, single: bool = False) -> T:
        """Run ``fn`` in a transaction and return its result once it is durable.

        What many callers write at the same time shares one commit. An error of ``fn`` is raised here and takes back
        its own rows only. Raises ``StoreUnavailable`` when the database cannot be used.

        ``apart`` lets PostgreSQL run it on a second connection, beside the other writes. Only for functions that
        never wait for a locked row: two transactions of one process that wait for each other would come to a stop.

        ``single`` says that ``fn`` runs one statement and, where that did its work, no other: when it comes alone
        PostgreSQL gets it in one round trip, as a transaction by itself.
        """
        lane = self._apart if apart and self.dialect == "postgresql" else self._lane
        result: T = await lane.write(fn, single=single)
        return result

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run ``fn``, which only reads, beside the writes; never waits for them."""
        return await self._backend.read(fn)

    def on_commit(self, callback: Callable[[], None]) -> Subscription:
        """Call ``callback`` on the event loop after each commit of this object that wrote events."""
        return Subscription(self._callbacks, callback)

    async def close(self) -> None:
        """Finish the writes that were handed in and close every connection."""
        await self._lane.close()
        await self._apart.close()
        await self._backend.close()

    async def _transact(self, writes: list[Write], *, apart: bool = False) -> None:
        if await self._backend.transact(writes, apart=apart):
            loop = asyncio.get_running_loop()
            for callback in tuple(self._callbacks):
                loop.call_soon(callback)
