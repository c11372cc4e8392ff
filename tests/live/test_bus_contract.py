"""What every live bus promises, in the process and on a real Redis alike."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from tests.services import until

from ezaigent.core.errors import UsageError
from ezaigent.live import Draw, Drawn, LiveBus, Sheet, open_bus
from ezaigent.live.ports import BACKLOG, REMEMBERED

SOON = 0.15  # long enough for anything that would come by mistake
LONG = 10.0


@dataclass
class Two:
    """Two users of one bus: the same object in the process, two clients of one Redis otherwise."""

    here: LiveBus
    there: LiveBus


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def two(request: pytest.FixtureRequest) -> AsyncIterator[Two]:
    if request.param == "memory":
        here = there = await open_bus(None)
    else:
        url = request.getfixturevalue("redis_database")
        here, there = await open_bus(url), await open_bus(url)
    assert here.up
    assert there.up
    yield Two(here, there)
    await here.close()
    await there.close()


async def settled(*waits: asyncio.Task[str | None]) -> None:
    """Give waits the time to reach the bus, and stray rings the time to come back."""
    await asyncio.wait(waits, timeout=SOON) if waits else await asyncio.sleep(SOON)


async def test_a_ring_wakes_exactly_one_waiter(two: Two) -> None:
    waits = [asyncio.create_task(bus.wait(["a"], LONG)) for bus in (two.here, two.there) for _ in range(5)]
    await settled(*waits)
    await two.here.ring("a")
    await settled(*waits)
    assert [wait.result() for wait in waits if wait.done()] == ["a"]
    await two.there.ring("a", 9)
    assert await asyncio.gather(*waits) == ["a"] * 10


async def test_the_longest_waiting_goes_first(two: Two) -> None:
    order: list[int] = []

    async def wait(number: int) -> None:
        await two.there.wait(["a"], LONG)
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(wait(number))
            await asyncio.sleep(0)
        for number in range(3):
            await two.there.ring("a")
            await until(lambda wanted=number + 1: len(order) == wanted)
    assert order == [0, 1, 2]


async def test_a_count_wakes_so_many_and_remembers_the_rest(two: Two) -> None:
    waits = [asyncio.create_task(two.there.wait(["a"], LONG)) for _ in range(3)]
    await settled(*waits)
    await two.here.ring("a", 5)
    assert await asyncio.gather(*waits) == ["a"] * 3
    assert [await two.there.wait(["a"], SOON) for _ in range(3)] == ["a", "a", None]


async def test_a_ring_with_nobody_waiting_is_remembered(two: Two) -> None:
    await two.here.ring("a")
    assert await two.there.wait(["b", "a"], LONG) == "a"
    assert await two.there.wait(["b", "a"], SOON) is None


async def test_what_is_remembered_is_bounded(two: Two) -> None:
    for _ in range(3):
        await two.here.ring("a", REMEMBERED)
    rung = 0
    while await two.there.wait(["a"], SOON) is not None:
        rung += 1
    assert rung == REMEMBERED


async def test_only_the_bells_asked_for_wake(two: Two) -> None:
    waits = [asyncio.create_task(two.there.wait([bell, "both"], LONG)) for bell in ("a", "b")]
    await settled(*waits)
    await two.here.ring("c", 3)
    await two.here.ring("b")
    assert await waits[1] == "b"
    assert not waits[0].done()
    await two.here.ring("both")
    assert await waits[0] == "both"


async def test_a_new_bell_is_heard_while_others_are_waited_for(two: Two) -> None:
    first = asyncio.create_task(two.there.wait(["a"], LONG))
    await settled(first)
    for bell in ("b", "c", "d"):
        wait = asyncio.create_task(two.there.wait([bell], LONG))
        await asyncio.sleep(0)
        started = time.monotonic()
        await two.here.ring(bell)
        assert await wait == bell
        assert time.monotonic() - started < 1.0
    await two.here.ring("a")
    assert await first == "a"


async def test_a_wait_ends_after_its_timeout(two: Two) -> None:
    started = time.monotonic()
    assert await two.here.wait(["a"], 0.2) is None
    assert 0.19 < time.monotonic() - started < 1.0
    assert await two.here.wait(["a"], 0) is None


async def test_cancelled_and_timed_out_waits_lose_no_ring(two: Two) -> None:
    """Rings race with waits that are cancelled or run out of time: each ring is had once, by somebody."""
    chance = random.Random(7)
    rings, had = 200, 0

    async def waiter() -> None:
        nonlocal had
        while True:
            if await two.there.wait(["a"], chance.uniform(0, 0.004)) is not None:
                had += 1

    async def ringer() -> None:
        for _ in range(rings):
            await two.here.ring("a")
            await asyncio.sleep(chance.uniform(0, 0.002))

    ringing = asyncio.create_task(ringer())
    while not ringing.done():
        waiters = [asyncio.create_task(waiter()) for _ in range(4)]
        await asyncio.sleep(chance.uniform(0, 0.01))
        for task in waiters:
            task.cancel()
        await asyncio.wait(waiters)
    while await two.there.wait(["a"], SOON) is not None:
        had += 1
    assert had == rings


async def test_messages_reach_every_subscriber_of_the_channel_in_order(two: Two) -> None:
    async with two.here.subscribe("a", "b") as both, two.there.subscribe("b") as only:
        await two.here.publish("a", b"1")
        await two.there.publish("c", b"not for them")
        await two.here.publish("b", b"\x00\xff")
        assert [await anext(both), await anext(both)] == [("a", b"1"), ("b", b"\x00\xff")]
        assert await anext(only) == ("b", b"\x00\xff")


async def test_a_subscription_begins_and_ends_with_its_context(two: Two) -> None:
    await two.here.publish("a", b"too early")
    async with two.there.subscribe("a") as first:
        await two.here.publish("a", b"1")
        assert await anext(first) == ("a", b"1")
    await two.here.publish("a", b"too late")
    async with two.there.subscribe("a") as second:
        await two.here.publish("a", b"2")
        assert await anext(second) == ("a", b"2")
    assert [message async for message in first] == []


async def test_a_slow_subscriber_loses_its_oldest_messages(two: Two) -> None:
    async with two.there.subscribe("a") as slow:
        for number in range(BACKLOG + 10):
            await two.here.publish("a", str(number).encode())
        async with two.there.subscribe("end") as end:
            await two.here.publish("end", b"")
            await anext(end)
        kept = [await anext(slow) for _ in range(BACKLOG)]
    assert (kept[0], kept[-1]) == (("a", b"10"), ("a", str(BACKLOG + 9).encode()))


async def test_a_member_is_present_until_its_time_is_over(two: Two) -> None:
    await two.here.announce("workers", "w1", {"agents": 3, "tags": ["é"]}, ttl=1.0)
    await two.here.announce("workers", "w2", {}, ttl=LONG)
    await two.here.announce("others", "w3", {}, ttl=LONG)
    assert await two.there.present("workers") == {"w1": {"agents": 3, "tags": ["é"]}, "w2": {}}

    async def gone() -> bool:
        return await two.there.present("workers") == {"w2": {}}

    await until(gone)
    assert await two.there.present("nobody") == {}


async def test_announcing_again_renews_and_leaving_ends(two: Two) -> None:
    for number in range(4):
        await two.here.announce("workers", "w1", {"n": number}, ttl=1.0)
        await asyncio.sleep(0.4)
    assert await two.there.present("workers") == {"w1": {"n": 3}}
    await two.here.leave("workers", "w1")
    await two.here.leave("workers", "never there")
    assert await two.there.present("workers") == {}


async def test_a_bucket_never_grants_more_than_its_rate_and_burst(two: Two) -> None:
    rate, burst, seconds = 200.0, 20.0, 0.6
    granted: list[float] = []
    started = time.monotonic()

    async def taker(bus: LiveBus, amount: float) -> None:
        while time.monotonic() - started < seconds:
            pause = await bus.take("quota", amount, rate=rate, burst=burst)
            if pause == 0.0:
                granted.append(amount)
            else:
                await asyncio.sleep(min(pause, 0.02))

    await asyncio.gather(
        *(taker(bus, amount) for bus in (two.here, two.there) for amount in [1.0, 0.5, 2.0, 1.0, 1.5] * 5)
    )
    elapsed = time.monotonic() - started
    assert sum(granted) <= rate * elapsed + burst + 1e-6
    assert sum(granted) >= 0.3 * (rate * seconds + burst), "the bucket grants far less than it should"


async def test_a_refused_take_takes_nothing_and_names_the_right_wait(two: Two) -> None:
    assert await two.here.take("quota", 3, rate=10, burst=4) == 0.0
    pauses = [await bus.take("quota", 3, rate=10, burst=4) for bus in (two.here, two.there) for _ in range(3)]
    assert all(0.1 < pause <= 0.2 for pause in pauses), pauses
    await asyncio.sleep(max(pauses))
    assert await two.there.take("quota", 3, rate=10, burst=4) == 0.0
    assert await two.here.take("quota", 0, rate=10, burst=4) == 0.0
    assert await two.here.take("another", 4, rate=10, burst=4) == 0.0


@pytest.mark.parametrize(
    ("amount", "rate", "burst"), [(5, 1, 4), (-1, 1, 4), (1, 0, 4), (1, 1, 0), (float("nan"), 1, 1), (1, -2, 1)]
)
async def test_a_take_that_waiting_cannot_help_is_refused(two: Two, amount: float, rate: float, burst: float) -> None:
    with pytest.raises(UsageError, match="quota"):
        await two.here.take("quota", amount, rate=rate, burst=burst)


async def swapped(bus: LiveBus, version: int, text: bytes, *, name: str = "sheet", ttl: float = LONG) -> Sheet:
    sheet = await bus.swap(name, version, text, ttl=ttl)
    assert sheet is not None
    return sheet


async def drawn(bus: LiveBus, *draws: Draw, version: int | None = None, patience: float = LONG) -> Drawn:
    found = await bus.draw("sheet", version, draws, patience=patience, ttl=LONG)
    assert found is not None
    return found


async def test_a_sheet_is_written_by_whoever_saw_its_last_version(two: Two) -> None:
    first = await swapped(two.here, 0, b"one")
    assert first.text == b"one"
    assert first.version > 0
    refused = await swapped(two.there, 0, b"two")
    assert (refused.version, refused.text) == (first.version, b"one")
    second = await swapped(two.there, refused.version, b"\x00\xff")
    assert (second.version, second.text) == (first.version + 1, b"\x00\xff")
    assert abs(second.now - first.now) < LONG
    assert (await swapped(two.here, 0, b"other", name="other")).text == b"other"


async def test_of_many_writers_each_change_is_kept(two: Two) -> None:
    async def add(bus: LiveBus, mark: str) -> None:
        seen = await swapped(bus, -1, b"")
        while True:
            wanted = seen.text + mark.encode()
            now = await swapped(bus, seen.version, wanted)
            if now.text == wanted:
                return
            seen = now

    marks = [(two.here, "a"), (two.there, "b"), (two.here, "c"), (two.there, "d"), (two.here, "e")]
    await asyncio.gather(*(add(bus, mark) for bus, mark in marks))
    assert sorted((await swapped(two.here, -1, b"")).text) == sorted(b"abcde")


async def test_a_sheet_nobody_uses_is_forgotten(two: Two) -> None:
    old = await swapped(two.here, 0, b"old", ttl=0.2)

    async def gone() -> bool:
        found = await two.there.swap("sheet", -1, b"", ttl=0.01)
        return found is not None and found.version == 0

    await asyncio.sleep(0.25)
    await until(gone)
    assert (await swapped(two.there, 0, b"new")).version > old.version


async def test_drawing_queues_up_and_names_exact_waits(two: Two) -> None:
    one = Draw("requests", 1, rate=10, burst=2)
    waits = [(await drawn(bus, one)).wait for bus in (two.here, two.there) for _ in range(3)]
    assert waits[:2] == [0.0, 0.0]
    assert all(abs(wait - 0.1 * number) < 0.09 for number, wait in enumerate(waits[2:], 1)), waits
    given = await drawn(two.here, Draw("requests", -1, rate=10, burst=2))
    assert given.granted
    assert given.totals == (5.0,)


async def test_a_draw_is_whole_or_not_at_all(two: Two) -> None:
    requests, tokens = Draw("requests", 1, rate=1, burst=10), Draw("tokens", 100, rate=10, burst=100)
    assert (await drawn(two.here, requests, tokens)).totals == (1.0, 100.0)
    refused = await drawn(two.there, requests, tokens, patience=2)
    assert not refused.granted
    assert not refused.stale
    assert 9 < refused.wait <= 10
    assert (await drawn(two.there, requests)).totals == (2.0,)


async def test_a_draw_stops_at_a_sheet_that_has_changed(two: Two) -> None:
    seen = await swapped(two.here, 0, b"go")
    one = Draw("requests", 1, rate=1, burst=10)
    assert (await drawn(two.there, one, version=seen.version)).granted
    await swapped(two.here, seen.version, b"stop")
    stopped = await drawn(two.there, one, version=seen.version)
    assert (stopped.granted, stopped.stale, stopped.sheet.text) == (False, True, b"stop")
    assert (await drawn(two.there, one, version=stopped.sheet.version)).totals == (2.0,)


async def test_a_level_can_be_lowered_and_never_passes_the_burst(two: Two) -> None:
    await drawn(two.here, Draw("requests", 0, rate=1, burst=10, at_most=0.0))
    assert 0.9 < (await drawn(two.there, Draw("requests", 1, rate=1, burst=10))).wait <= 1
    await drawn(two.here, Draw("requests", -100, rate=1, burst=10))
    assert (await drawn(two.there, Draw("requests", 10, rate=1, burst=10))).wait == 0
    assert (await drawn(two.there, Draw("requests", 1, rate=1, burst=10))).wait > 0


@pytest.mark.parametrize(
    ("amount", "rate", "burst"), [(1, 0, 4), (1, 1, 0), (float("nan"), 1, 1), (1, float("inf"), 1)]
)
async def test_a_draw_with_impossible_numbers_is_refused(two: Two, amount: float, rate: float, burst: float) -> None:
    with pytest.raises(UsageError, match="requests"):
        await drawn(two.here, Draw("requests", amount, rate=rate, burst=burst))


async def test_closing_ends_waits_and_subscriptions(two: Two) -> None:
    wait = asyncio.create_task(two.here.wait(["a"], LONG))
    async with two.here.subscribe("a") as messages:
        reading = asyncio.create_task(anext(messages, None))
        await asyncio.wait([wait, reading], timeout=SOON)
        await two.here.close()
        assert await wait is None
        assert await reading is None
    await two.here.close()
    assert await two.here.wait(["a"], LONG) is None
    async with two.here.subscribe("a") as messages:
        assert [message async for message in messages] == []
