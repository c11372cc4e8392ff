"""Fixtures that every room's tests share: real servers, started when first used, and a check that nothing leaks."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ezaigent.store import Database
from tests.services import PostgresServer, RedisServer, ServiceMissing, leftovers
from tests.services.processes import children

_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def require(condition: object, reason: str) -> None:
    """Skip the test with ``reason`` unless ``condition``; under CI a missing service is a failure."""
    if condition:
        return
    if _CI:
        pytest.fail(f"CI must have this: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A running Redis of this test process. A test that kills it starts it again."""
    try:
        server = RedisServer(tmp_path_factory.mktemp("redis"))
        server.start()
    except ServiceMissing as error:
        require(condition=False, reason=str(error))
        raise
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    """Address of the shared Redis, which is at least 7.0; see ``redis_database`` for an empty one."""
    have = ".".join(map(str, redis_server.version))
    require(redis_server.version >= (7, 0), f"Redis 7 is needed, here is {have}")
    return redis_server.url


@pytest.fixture
def redis_database(redis_server: RedisServer, redis_url: str) -> str:
    """Address of the shared Redis, running and emptied for this test."""
    if not redis_server.running:
        redis_server.start()
    redis_server.resume()
    redis_server.flush()
    return redis_url


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A running PostgreSQL of this test process. A test that kills it starts it again."""
    try:
        server = PostgresServer(tmp_path_factory.mktemp("postgres"))
        server.start()
    except ServiceMissing as error:
        require(condition=False, reason=str(error))
        raise
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """Address of the shared server's own database; see ``postgres_database`` for an empty one."""
    return postgres_server.url


@pytest.fixture
def postgres_database(postgres_server: PostgresServer) -> Iterator[str]:
    """Address of a fresh, empty database for this test; dropped afterwards."""
    if not postgres_server.running:
        postgres_server.start()
    postgres_server.resume()
    url = postgres_server.create_database()
    yield url
    if postgres_server.running:
        postgres_server.drop_database(url)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty database: a test that takes it, or ``db``, runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """An open database with the newest schema."""
    database = await Database.open(database_url)
    yield database
    await database.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every asynchronous test the check for tasks left behind, outside of its other fixtures."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(inspect.unwrap(item.obj)):
            item.fixturenames.insert(0, "no_task_left")


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """Fail a test that leaves asyncio tasks running after its fixtures are closed."""
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        # A task that was cancelled and not awaited gets a moment to end.
        _, left = await asyncio.wait(left, timeout=0.5)
    assert not left, f"asyncio tasks left running: {[task.get_coro() for task in left]}"


@pytest.fixture(autouse=True)
def no_child_left() -> Iterator[None]:
    """Fail a test that leaves child processes running."""
    before = children()
    yield
    left = leftovers(before)
    assert not left, f"child processes left running: {left}"
