"""Fixtures of the webhooks' tests: a store of each kind, and senders on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver
from tests.hooks.targets import Receiver, receiving

from ezaigent.core.outside import Inside
from ezaigent.hooks import Sender, Webhooks
from ezaigent.hooks.patience import Patience
from ezaigent.store import Database, EventLog, emit

HERE = Inside.read(["127.0.0.1"])
QUICK = Patience((0.05, 0.1), jitter=0.1)


@pytest.fixture
def desk(db: Database) -> Webhooks:
    """What people do with webhooks, where this machine may be a target."""
    return Webhooks(db, EventLog(db), HERE)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A target."""
    async with receiving() as started:
        yield started


@asynccontextmanager
async def sending(
    db: Database,
    name: str = "one",
    *,
    inside: Inside = HERE,
    patience: Patience = QUICK,
    timeout: float = 5.0,
    lease: float = 1.0,
    resolver: AbstractResolver | None = None,
) -> AsyncGenerator[Sender]:
    """Run a sender while the block runs."""
    sender = Sender(db, EventLog(db), name, inside, patience=patience, timeout=timeout, lease=lease, resolver=resolver)
    running = asyncio.create_task(sender.run())
    try:
        yield sender
    finally:
        running.cancel()
        await asyncio.wait({running})


async def happen(db: Database, count: int = 1, kind: str = "live.lost", **data: Any) -> list[int]:
    """Let events happen; return their numbers."""
    head = await EventLog(db).head()

    def write(conn: Any) -> None:
        for number in range(count):
            emit(conn, kind, data={"reason": f"event {number}", **data})

    await db.write(write)
    return [event.seq for event in await EventLog(db).read(head, 10_000, kinds=[kind])]


def states(deliveries: Sequence[Any]) -> list[str]:
    """Return the states of deliveries."""
    return [one.state for one in deliveries]
