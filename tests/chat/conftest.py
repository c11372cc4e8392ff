"""One suite for both databases: every test that takes ``talk`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest
from tests.chat.talk import Talk

from ezaigent.store import Database


@pytest.fixture
def talk(db: Database) -> Talk:
    return Talk(db)
