"""A store on each database, with claimed tasks in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from ezaigent.core.settings import QueueSettings
from ezaigent.store import Database
from ezaigent.tasks import Claim, NewTask, Slot, TaskQueue

Claims = Callable[..., Awaitable[list[Claim]]]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Database]:
    url = f"sqlite://{tmp_path}/store.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_database")
    database = await Database.open(url)
    yield database
    await database.close()


@pytest.fixture
def queue(db: Database) -> TaskQueue:
    return TaskQueue(db, QueueSettings(backoff=0))


@pytest.fixture
def claims(queue: TaskQueue) -> Claims:
    async def claim(count: int = 1, *, budget_nusd: int | None = None) -> list[Claim]:
        await queue.submit_many([NewTask(prompt=f"do {n}", repo="/r", budget_nusd=budget_nusd) for n in range(count)])
        slots = [Slot(agent=f"claude-{n}", profile="claude") for n in range(count)]
        claimed = await queue.claim("w", slots)
        assert len(claimed) == count
        return claimed

    return claim
