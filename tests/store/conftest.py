"""One suite for both databases: every test that takes ``db`` or ``database_url`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ezaigent.store import Database


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
