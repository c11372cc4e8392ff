"""One suite for both databases: every test that takes ``talk`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.chat.talk import Talk

from ezaigent.store import Database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture
async def db(database_url: str) -> AsyncGenerator[Database]:
    database = await Database.open(database_url)
    yield database
    await database.close()


@pytest.fixture
def talk(db: Database) -> Talk:
    return Talk(db)
