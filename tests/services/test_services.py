"""The servers that the other tests rely on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from redis import ConnectionError as RedisConnectionError

from tests.services import PostgresServer, RedisServer, until


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


STARTS = """
import sys
from pathlib import Path
from tests.services import PostgresServer, RedisServer
server = {"redis": RedisServer, "postgres": PostgresServer}[sys.argv[1]](Path(sys.argv[2]))
server.start()
if sys.argv[3] == "frozen": server.pause()
print(server.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("state", ["running", "frozen"])
@pytest.mark.parametrize(
    "kind", [pytest.param("redis", marks=pytest.mark.redis), pytest.param("postgres", marks=pytest.mark.postgres)]
)
async def test_a_server_does_not_outlive_tests_that_are_killed(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, state: str
) -> None:
    request.getfixturevalue(f"{kind}_server")  # skips where there is none
    root = Path(__file__).parents[2]
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", STARTS, kind, str(tmp_path / "data"), state],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as tests:
        assert tests.stdout is not None
        server = psutil.Process(int(tests.stdout.readline()))
        family = [server, *server.children(recursive=True)]
        tests.send_signal(signal.SIGKILL)
        tests.wait()

    def gone() -> bool:
        return not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in family)

    await until(gone, within=20, what=f"{family} ended")
