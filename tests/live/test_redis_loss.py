"""Losing Redis in any way: nothing raises, nothing hangs, everything comes back by itself and is reported once."""

# pyright: reportUnknownMemberType=false
# redis-py leaves its **kwargs untyped.

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.services import RedisServer, until

from ezaigent.live import Draw, LiveBus, open_bus

pytestmark = pytest.mark.redis

LONG = 20.0
BOUND = 4.0  # seconds that one call may take when the server hangs
SECRET = "s3cr3t-of-the-test"


@pytest.fixture
def server(redis_server: RedisServer, redis_database: str) -> Iterator[RedisServer]:
    """The shared server; whatever a test does to it, the next one finds it running."""
    assert redis_database == redis_server.url
    yield redis_server
    if redis_server.running:
        redis_server.resume()
    else:
        redis_server.start()


@pytest.fixture
def states() -> list[tuple[bool, str]]:
    return []


@pytest.fixture
async def bus(server: RedisServer, states: list[tuple[bool, str]]) -> AsyncIterator[LiveBus]:
    bus = await open_bus(server.url, lambda up, reason: states.append((up, reason)))
    yield bus
    await bus.close()


async def use_everything(bus: LiveBus) -> float:
    """Call each method once and return the seconds that the slowest took."""
    slowest = 0.0

    async def timed(call: asyncio.Task[object]) -> None:
        nonlocal slowest
        started = time.monotonic()
        await call
        slowest = max(slowest, time.monotonic() - started)

    async def subscribe() -> None:
        async with bus.subscribe("news"):
            pass

    for call in (
        bus.ring("a"),
        bus.wait(["b"], 0.05),
        bus.publish("news", b"x"),
        subscribe(),
        bus.announce("group", "member", {}, 5),
        bus.present("group"),
        bus.leave("group", "member"),
        bus.take("bucket", 1, rate=1000, burst=1000),
        bus.swap("sheet", 0, b"x", ttl=5),
        bus.draw("sheet", None, [Draw("bucket", 1, rate=1000, burst=1000)], patience=1, ttl=5),
    ):
        await timed(asyncio.ensure_future(call))
    return slowest


async def test_a_kill_in_mid_wait_is_survived(
    bus: LiveBus, server: RedisServer, states: list[tuple[bool, str]]
) -> None:
    wait = asyncio.create_task(bus.wait(["waited"], LONG))
    await asyncio.wait([wait], timeout=0.1)
    server.kill()
    await until(lambda: not bus.up)
    assert await use_everything(bus) < 1.0
    assert not wait.done()
    server.start()
    await until(lambda: bus.up)
    other = await open_bus(server.url)
    await other.ring("waited")
    assert await wait == "waited"
    await other.close()
    assert [up for up, _ in states] == [False, True]
    assert str(server.port) in states[0][1]


async def test_each_loss_is_reported_once_each_way(
    bus: LiveBus, server: RedisServer, states: list[tuple[bool, str]]
) -> None:
    for _ in range(2):
        waits = [asyncio.create_task(bus.wait([f"bell {number}"], 0.5)) for number in range(20)]
        server.kill()
        await until(lambda: not bus.up)
        for _ in range(3):
            await use_everything(bus)
        server.start()
        await until(lambda: bus.up)
        await asyncio.gather(*waits)
    await until(lambda: len(states) == 4)
    assert [up for up, _ in states] == [False, True, False, True]


async def test_a_server_that_hangs_delays_calls_for_a_bounded_time(
    bus: LiveBus, server: RedisServer, states: list[tuple[bool, str]]
) -> None:
    await use_everything(bus)
    server.pause()
    assert await use_everything(bus) < BOUND
    assert not bus.up
    assert await use_everything(bus) < 1.0, "a bus that is known to be lost must not be asked again by every call"
    server.resume()
    await until(lambda: bus.up)
    await use_everything(bus)
    assert [up for up, _ in states] == [False, True]


@pytest.mark.parametrize("what", ["wait", "subscribe"])
async def test_a_server_that_hangs_is_noticed_without_any_call(
    bus: LiveBus, server: RedisServer, states: list[tuple[bool, str]], what: str
) -> None:
    async def listen() -> None:
        if what == "wait":
            await bus.wait(["a"], LONG)
        else:
            async with bus.subscribe("news") as messages:
                await anext(messages)

    listening = asyncio.create_task(listen())
    await asyncio.wait([listening], timeout=0.1)
    server.pause()
    await until(lambda: not bus.up, within=6.0)
    server.resume()
    await until(lambda: bus.up)
    listening.cancel()
    await asyncio.wait([listening])


async def test_closing_while_the_server_hangs_or_is_gone_is_bounded(server: RedisServer) -> None:
    hanging, lost = await open_bus(server.url), await open_bus(server.url)
    for bus in (hanging, lost):
        wait = asyncio.create_task(bus.wait(["a"], 0.2))
        async with bus.subscribe("news"):
            await wait
    server.pause()
    started = time.monotonic()
    await hanging.close()
    assert time.monotonic() - started < 5.0
    server.resume()
    server.kill()
    await lost.ring("a")
    assert not lost.up
    started = time.monotonic()
    await lost.close()
    assert time.monotonic() - started < 1.0


async def test_a_wait_sleeps_out_its_timeout_while_the_bus_is_lost(bus: LiveBus, server: RedisServer) -> None:
    server.kill()
    await bus.ring("a")
    started = time.monotonic()
    assert await bus.wait(["a"], 0.3) is None
    assert 0.29 < time.monotonic() - started < 1.0


async def test_waiters_of_the_same_process_are_woken_even_then(bus: LiveBus, server: RedisServer) -> None:
    server.kill()
    wait = asyncio.create_task(bus.wait(["a"], LONG))
    await asyncio.wait([wait], timeout=0.05)
    await bus.ring("a")
    assert await wait == "a"


async def test_a_bucket_of_the_process_answers_while_the_bus_is_lost(bus: LiveBus, server: RedisServer) -> None:
    assert await bus.take("quota", 1, rate=0.1, burst=3) == 0.0
    server.kill()
    granted = [await bus.take("quota", 1, rate=0.1, burst=3) for _ in range(6)]
    assert granted.count(0.0) == 3
    assert 9.0 < granted[-1] <= 10.0


async def test_a_subscription_goes_on_after_a_restart(bus: LiveBus, server: RedisServer) -> None:
    async with bus.subscribe("news") as messages:
        await bus.publish("news", b"before")
        assert await anext(messages) == ("news", b"before")
        server.restart()
        reading = asyncio.ensure_future(anext(messages))

        async def heard() -> bool:
            await bus.publish("news", b"after")
            return reading.done()

        await until(heard)
        assert await reading == ("news", b"after")


async def test_a_subscription_made_while_the_bus_is_lost_begins_later(bus: LiveBus, server: RedisServer) -> None:
    server.kill()
    await bus.publish("news", b"nobody")
    async with bus.subscribe("news") as messages:
        server.start()
        reading = asyncio.ensure_future(anext(messages))

        async def heard() -> bool:
            await bus.publish("news", b"back")
            return reading.done()

        await until(heard)
        assert await reading == ("news", b"back")


async def test_flushing_everything_is_harmless(
    bus: LiveBus, server: RedisServer, states: list[tuple[bool, str]]
) -> None:
    wait = asyncio.create_task(bus.wait(["a"], LONG))
    await bus.ring("lost")
    await bus.announce("group", "member", {"n": 1}, LONG)
    await bus.take("quota", 3, rate=0.1, burst=3)
    async with bus.subscribe("news") as messages:
        with server.client() as client:
            client.flushall()
            client.script_flush()
        assert await bus.wait(["lost"], 0.1) is None
        assert await bus.present("group") == {}
        assert await bus.take("quota", 3, rate=0.1, burst=3) == 0.0
        assert await bus.take("quota", 3, rate=0.1, burst=3) > 0.0
        await bus.announce("group", "member", {"n": 2}, LONG)
        assert await bus.present("group") == {"member": {"n": 2}}
        await bus.publish("news", b"still")
        assert await anext(messages) == ("news", b"still")
        other = await open_bus(server.url)
        await other.ring("a")
        assert await wait == "a"
        await other.close()
    assert states == []


async def test_connections_cut_by_the_server_are_made_again(
    bus: LiveBus, server: RedisServer, states: list[tuple[bool, str]]
) -> None:
    """As proxies and ``timeout`` in the server's configuration do: no command is lost by that."""
    wait = asyncio.create_task(bus.wait(["a"], LONG))
    async with bus.subscribe("news") as messages:
        with server.client() as client:
            for kind in ("normal", "pubsub"):
                client.client_kill_filter(_type=kind, skipme=True)
        await bus.announce("group", "member", {}, LONG)
        assert await bus.present("group") == {"member": {}}, states
        reading = asyncio.ensure_future(anext(messages))

        async def heard() -> bool:
            await bus.publish("news", b"x")
            return reading.done()

        await until(heard)
    other = await open_bus(server.url)
    await other.ring("a")
    assert await wait == "a"
    await other.close()


async def test_a_server_that_is_not_there_yet_is_found_later(
    server: RedisServer, states: list[tuple[bool, str]]
) -> None:
    server.kill()
    bus = await open_bus(server.url, lambda up, reason: states.append((up, reason)))
    assert not bus.up
    await use_everything(bus)
    server.start()
    await until(lambda: bus.up)
    await bus.announce("group", "member", {}, LONG)
    assert await bus.present("group") == {"member": {}}
    await bus.close()
    assert [up for up, _ in states] == [False, True]


async def test_a_server_that_may_not_be_written_counts_as_lost(
    bus: LiveBus, server: RedisServer, states: list[tuple[bool, str]]
) -> None:
    """A demoted master still answers a ping; so does one without memory."""
    with server.client() as client:
        client.config_set("maxmemory", 1)
        try:
            await use_everything(bus)
            assert not bus.up
        finally:
            client.config_set("maxmemory", 0)
    await until(lambda: bus.up and len(states) > 1)  # told in a turn of its own
    assert [up for up, _ in states] == [False, True]
    assert "maxmemory" in states[0][1]


async def test_a_thousand_waiters_share_three_connections(bus: LiveBus, server: RedisServer) -> None:
    waits = [asyncio.create_task(bus.wait([f"bell:{number % 7}", "bell:*"], LONG)) for number in range(1000)]
    async with bus.subscribe("news"):
        await asyncio.gather(*(bus.take("quota", 1, rate=1, burst=1e6) for _ in range(1000)))
        with server.client() as client:
            assert len(client.client_list()) <= 3 + 1  # and the one that asks
    other = await open_bus(server.url)
    await other.ring("bell:3", 10)
    await until(lambda: sum(wait.done() for wait in waits) == 10)
    await other.ring("bell:*", 990)
    assert set(await asyncio.gather(*waits)) == {"bell:3", "bell:*"}
    await other.close()


async def test_everything_on_the_server_expires(bus: LiveBus, server: RedisServer) -> None:
    await use_everything(bus)
    wait = asyncio.create_task(bus.wait(["x"], 0.2))
    await bus.wait(["y"], 0.1)
    await wait
    with server.client() as client:
        keys = [str(key) for key in client.keys("*")]
        assert keys
        assert all(key.startswith("ezaigent:") for key in keys)
        assert [key for key in keys if int(client.pttl(key)) < 0] == []


async def test_secrets_are_in_no_report_and_no_log(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    reports: list[str] = []
    url = server.url.replace("redis://", f"redis://somebody:{SECRET}@")
    bus = await open_bus(url, lambda _, reason: reports.append(reason))
    assert not bus.up
    await use_everything(bus)
    await bus.close()
    server.kill()
    bus = await open_bus(url, lambda _, reason: reports.append(reason))
    await bus.close()
    assert len(reports) == 2
    assert all(str(server.port) in report for report in reports)
    for text in (*reports, caplog.text, repr(bus)):
        assert SECRET not in text
        assert "somebody" not in text


async def test_a_callback_that_raises_breaks_nothing(server: RedisServer, tmp_path: Path) -> None:
    seen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context["exception"]))

    def on_state(up: bool, reason: str) -> None:  # noqa: FBT001 - the signature of the callback
        raise RuntimeError(f"{up} {reason}")

    bus = await open_bus(server.url, on_state)
    server.kill()
    await bus.ring("a")
    server.start()
    await until(lambda: len(seen) == 2)
    await bus.announce("group", "member", {}, LONG)
    assert await bus.present("group") == {"member": {}}
    await bus.close()
