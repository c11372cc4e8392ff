"""One suite for both databases: every test that takes ``yard`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.fleet.scaler.yard import Yard

from ezaigent.store import Database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture
async def yard(database_url: str) -> AsyncGenerator[Yard]:
    """A store with a worker that hosts whatever is ordered, and no agents yet."""
    db = await Database.open(database_url)
    made = Yard(db)
    await made.enter("worker")
    yield made
    await made.close()
    await db.close()
