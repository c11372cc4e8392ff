"""One suite for both databases: every test that takes ``db`` or ``database_url`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ezaigent.store import Database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """An open database with the newest schema."""
    database = await Database.open(database_url)
    yield database
    await database.close()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    """An open SQLite database, for what only SQLite does."""
    database = await Database.open(f"sqlite:///{tmp_path / 'only.db'}")
    yield database
    await database.close()


@pytest.fixture
async def postgres(postgres_database: str) -> AsyncIterator[Database]:
    """An open PostgreSQL database, for what only PostgreSQL does."""
    database = await Database.open(postgres_database)
    yield database
    await database.close()
