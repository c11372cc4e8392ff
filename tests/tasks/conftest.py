"""One suite for both databases: every test that takes ``desk`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest
from tests.tasks.desk import Desk

from ezaigent.store import Database
from ezaigent.tasks import TaskQueue


@pytest.fixture
def desk(db: Database) -> Desk:
    return Desk(db)


@pytest.fixture
def queue(desk: Desk) -> TaskQueue:
    return desk.queue
