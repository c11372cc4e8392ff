"""Redis as it is run in production: TLS, ACL users, Sentinel, Unix sockets, shared servers."""

# pyright: reportUnknownMemberType=false
# redis-py leaves its **kwargs untyped.

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from tests.conftest import require
from tests.services import Certificates, RedisServer, SentinelServer, ServiceMissing, make_certificates, until

from ezaigent.live import LiveBus, open_bus

pytestmark = pytest.mark.redis

LONG = 20.0
# What the documentation tells operators to grant.
ACL = (
    "on >word resetkeys ~ezaigent:* resetchannels &ezaigent:* -@all +eval +blpop +lpop +rpush +llen +set +time"
    " +hset +hget +hmget +hgetall +hdel +pexpire +pttl +publish +subscribe +unsubscribe +ping +select"
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    try:
        return make_certificates(tmp_path_factory.mktemp("certificates"))
    except ServiceMissing as error:
        require(condition=False, reason=str(error))
        raise


@pytest.fixture
def tls_server(tmp_path: Path, redis_url: str, certificates: Certificates) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "tls", certificates=certificates)
    try:
        server.start()
    except ServiceMissing as error:
        require(condition=False, reason=f"this Redis speaks no TLS: {error}")
    yield server
    server.stop()


@asynccontextmanager
async def opened(url: str, states: list[tuple[bool, str]] | None = None) -> AsyncGenerator[LiveBus, None]:
    bus = await open_bus(url, lambda up, reason: (states if states is not None else []).append((up, reason)))
    try:
        yield bus
    finally:
        await bus.close()


async def works(*buses: LiveBus) -> None:
    """Go through every kind of traffic between the first and the last bus."""
    here, there = buses[0], buses[-1]
    wait = asyncio.create_task(there.wait(["a"], LONG))
    await asyncio.wait([wait], timeout=0.05)
    await here.ring("a", 2)
    assert await wait == "a"
    assert await there.wait(["a"], LONG) == "a"
    async with there.subscribe("news") as messages:
        await here.publish("news", b"x")
        assert await anext(messages) == ("news", b"x")
    await here.announce("group", "member", {"n": 1}, LONG)
    assert await there.present("group") == {"member": {"n": 1}}
    await here.leave("group", "member")
    assert await there.present("group") == {}
    bucket = f"quota {time.monotonic()}"
    assert await here.take(bucket, 1, rate=0.1, burst=1) == 0.0
    assert await there.take(bucket, 1, rate=0.1, burst=1) > 0.0
    assert all(bus.up for bus in buses)


async def test_tls_with_a_private_authority(tls_server: RedisServer) -> None:
    async with opened(tls_server.url) as here, opened(tls_server.url) as there:
        await works(here, there)
        tls_server.restart()
        await until(lambda: here.up and there.up)
        await works(here, there)


async def test_tls_refuses_a_server_that_no_known_authority_signed(tls_server: RedisServer) -> None:
    states: list[tuple[bool, str]] = []
    async with opened(tls_server.url.split("?")[0], states) as bus:
        assert not bus.up
    [(_, reason)] = states
    assert "certificate verify failed" in reason


async def test_an_acl_user_with_only_what_is_needed(redis_server: RedisServer, redis_database: str) -> None:
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "fleet", *ACL.split())
    url = redis_database.replace("redis://", "redis://fleet:word@")
    states: list[tuple[bool, str]] = []
    async with opened(url, states) as here, opened(url, states) as there:
        await works(here, there)
    assert states == []


async def test_a_user_who_may_not_is_reported_not_raised(redis_server: RedisServer, redis_database: str) -> None:
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "guest", "on", ">word", "+ping", "~*")
    states: list[tuple[bool, str]] = []
    async with opened(redis_database.replace("redis://", "redis://guest:word@"), states) as bus:
        await bus.ring("a")
        assert await bus.take("quota", 1, rate=1, burst=1) == 0.0
    [(_, reason)] = states
    assert "permissions" in reason
    assert "guest" not in reason


async def test_a_password_from_the_url_with_strange_characters(tmp_path: Path, redis_url: str) -> None:
    server = RedisServer(tmp_path, password="p@ss:/ w%rd")
    server.start()
    try:
        async with opened(server.url.replace("redis://", "redis://:p%40ss%3A%2F%20w%25rd@")) as bus:
            await works(bus)
    finally:
        server.stop()


async def test_a_unix_socket(tmp_path: Path, redis_url: str) -> None:
    socket = tmp_path / "redis.sock"
    server = RedisServer(tmp_path, options=["--unixsocket", str(socket)])
    server.start()
    try:
        async with opened(f"unix://{socket}?db=3") as bus:
            await works(bus)
    finally:
        server.stop()


async def test_two_fleets_on_one_server_do_not_meet(redis_database: str) -> None:
    async with opened(f"{redis_database}?prefix=one") as one, opened(f"{redis_database}?prefix=two") as two:
        await one.ring("a")
        await one.announce("group", "member", {}, LONG)
        async with two.subscribe("news") as messages:
            await one.publish("news", b"not yours")
            await two.publish("news", b"yours")
            assert await anext(messages) == ("news", b"yours")
        assert await two.wait(["a"], 0.1) is None
        assert await two.present("group") == {}
        assert await one.wait(["a"], LONG) == "a"


async def test_sentinels_lead_to_the_new_master_after_a_failover(tmp_path: Path, redis_url: str) -> None:
    with ExitStack() as stack:
        master = RedisServer(tmp_path / "master")
        replica = RedisServer(
            tmp_path / "replica",
            options=["--replicaof", f"127.0.0.1 {master.port}", "--repl-diskless-sync-delay", "0"],
        )
        sentinels = [SentinelServer(tmp_path / f"sentinel{number}", master=master) for number in range(3)]
        for server in (master, replica, *sentinels):
            server.start()
            stack.callback(server.stop)

        def ready() -> bool:
            """Whether all Sentinels know each other and the replica, which is in step."""
            for sentinel in sentinels:
                with sentinel.client() as client:
                    [state] = cast("dict[str, dict[str, Any]]", client.sentinel_masters()).values()
                    if (state["num-slaves"], state["num-other-sentinels"]) != (1, 2):
                        return False
            with replica.client() as client:
                return client.info("replication")["master_link_status"] == "up"

        await until(ready)
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        states: list[tuple[bool, str]] = []
        url = f"redis+sentinel://{hosts}/mymaster/0"
        async with opened(url) as here, opened(url, states) as there:
            await works(here, there)
            wait = asyncio.create_task(there.wait(["failover"], LONG))
            await asyncio.wait([wait], timeout=0.05)
            sentinels[0].stop()  # one of three may be missing, too
            master.kill()
            await until(lambda: states, what="the loss is noticed")
            await until(lambda: there.up, within=LONG, what="the new master is found")
            await here.ring("woken or not")  # this one notices only now
            await until(lambda: here.up)
            await here.ring("failover")
            assert await wait == "failover"
            with replica.client() as client:
                assert client.info("replication")["role"] == "master"
            await works(here, there)
        assert [up for up, _ in states] == [False, True]
