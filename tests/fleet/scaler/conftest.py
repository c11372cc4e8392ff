"""One suite for both databases: every test that takes ``yard`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from tests.fleet.scaler.yard import Yard

from ezaigent.store import Database


@pytest.fixture
async def yard(db: Database) -> AsyncGenerator[Yard]:
    """A store with a worker that hosts whatever is ordered, and no agents yet."""
    made = Yard(db)
    await made.enter("worker")
    yield made
    await made.close()
