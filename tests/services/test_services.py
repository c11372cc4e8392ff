"""The servers that the other tests rely on."""

from __future__ import annotations

import pytest
from redis import ConnectionError as RedisConnectionError

from tests.services import PostgresServer, RedisServer


@pytest.mark.redis
def test_a_killed_redis_comes_back_empty_on_its_port(redis_server: RedisServer, redis_database: str) -> None:
    with redis_server.client() as client:
        client.set("a", "1")
        redis_server.kill()
        with pytest.raises(RedisConnectionError):
            client.get("a")
        redis_server.start()
        assert redis_server.url == redis_database
        assert client.get("a") is None


@pytest.mark.postgres
def test_a_killed_postgres_keeps_what_was_committed(postgres_server: PostgresServer, postgres_database: str) -> None:
    postgres_server.execute("CREATE TABLE t (n int)", postgres_database)
    postgres_server.execute("INSERT INTO t VALUES (7)", postgres_database)
    postgres_server.restart()
    assert postgres_server.execute("SELECT n FROM t", postgres_database) == "7"


@pytest.mark.postgres
def test_each_test_has_a_database_of_its_own(postgres_server: PostgresServer, postgres_database: str) -> None:
    found = postgres_server.execute("SELECT count(*) FROM information_schema.tables WHERE table_name = 't'")
    assert found == "0"
    found = postgres_server.execute("SELECT count(*) FROM pg_stat_user_tables", postgres_database)
    assert found == "0"
