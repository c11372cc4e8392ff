"""The write lane: one transaction at a time carries everything that waits, and nobody resumes before its commit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from ezaigent.core.errors import StoreUnavailable
from ezaigent.store.events import savepoint_lost

_BATCH: Final = 256
"""Writes that share one transaction at most, so that the first of them does not wait for long."""


@dataclass(eq=False, slots=True)
class Write:
    """One caller's function and what came of it."""

    fn: Callable[[Connection], Any]
    future: asyncio.Future[Any]
    single: bool = False
    """Whether the function runs one statement only."""
    result: Any = None
    error: Exception | None = None


def run_writes(
    conn: Connection, writes: Sequence[Write], control: Callable[[str], object], *, optimistic: bool
) -> bool:
    """Run the functions in an open transaction; return False when it has to be rolled back as a whole.

    A function that fails must take back only its own rows. ``control`` sends one savepoint statement. A function that
    is alone needs no savepoint: it is the transaction. ``optimistic`` leaves savepoints out of a larger batch too:
    when one fails the caller rolls back and comes again without it, so functions must bear being run again.
    """
    savepoints = len(writes) > 1 and not optimistic
    for write in writes:
        write.result = write.error = None
        if savepoints:
            control("SAVEPOINT one")
        try:
            write.result = write.fn(conn)
        except Exception as error:  # noqa: BLE001 - it is handed to the caller that brought the function
            write.error = error
            if not savepoints:
                return False
            control("ROLLBACK TO SAVEPOINT one")
            savepoint_lost(conn)
        if savepoints:
            control("RELEASE SAVEPOINT one")
    return True


class WriteLane:
    """Queues writes and hands them over in batches; what comes while one batch commits forms the next."""

    def __init__(self, transact: Callable[[list[Write]], Awaitable[None]]) -> None:
        """``transact`` commits a batch and sets each write's result or error, or raises for all of them."""
        self._transact = transact
        self._waiting: deque[Write] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def write(self, fn: Callable[[Connection], Any], *, single: bool = False) -> Any:
        """Run ``fn`` in a transaction and return its result after the commit.

        A caller that is cancelled before its function began takes it back; after that it may still be committed.
        """
        if self._closed:
            raise StoreUnavailable("the database is closed: nothing can be written any more")
        write = Write(fn, asyncio.get_running_loop().create_future(), single)
        self._waiting.append(write)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="write lane")
        return await write.future

    async def close(self) -> None:
        """Finish what was handed in and take nothing more."""
        self._closed = True
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._run_batch()
        finally:
            self._task = None
            for write in self._waiting:  # only when this task itself was cancelled
                write.future.cancel()

    def _next(self) -> list[Write]:
        batch: list[Write] = []
        while self._waiting and len(batch) < _BATCH:
            write = self._waiting.popleft()
            if not write.future.done():
                batch.append(write)
        return batch

    async def _run_batch(self) -> None:
        batch = self._next()
        if not batch:
            return
        try:
            await self._transact(batch)
        except Exception as error:  # noqa: BLE001 - it is handed to every caller
            for write in batch:
                write.error = error
        except BaseException:  # this task itself was cancelled
            for write in batch:
                write.future.cancel()
            raise
        for write in batch:
            if write.future.done():  # its caller was cancelled meanwhile
                continue
            if write.error is not None:
                write.future.set_exception(write.error)
            else:
                write.future.set_result(write.result)
