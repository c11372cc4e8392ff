"""The autoscaler as it runs, over a store with agents that are only rows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.fleet.scaler.yard import CLAUDE, Yard, settings
from tests.services import until

from ezaigent.core.errors import StaleFence, StoreUnavailable
from ezaigent.core.scaling import ScalingSettings
from ezaigent.costs import CallRecord, settle
from ezaigent.fleet import Host, InlineLauncher, WorkerInfo, seats
from ezaigent.fleet.leader import Election
from ezaigent.fleet.scaler import queries
from ezaigent.fleet.scaler.carrying import carry_out
from ezaigent.fleet.scaler.facts import Facts
from ezaigent.fleet.scaler.memory import Memory
from ezaigent.fleet.scaler.snapshot import View, view
from ezaigent.fleet.scaling import FleetSnapshot, decide
from ezaigent.fleet.seats import Seat
from ezaigent.store import Connection, Sql

_later = Sql("UPDATE leaders SET until = {now} - 1.0")

THRESHOLD = settings(policy="threshold", cooldown=0, max=10)


async def seen(yard: Yard, file: ScalingSettings) -> View:
    found = await yard.db.read(lambda conn: queries.look(conn, alive=None, spending=False))
    return view(found, Facts(), {}, Memory(), settings=file, catalog=CLAUDE)


async def test_the_queue_brings_agents_and_its_end_sends_them_away(yard: Yard) -> None:
    file = settings(max=4, startup=1, keep=0)
    yard.keep_hosting()
    scaler = yard.scaler(file)
    async with yard.running(scaler):
        await yard.size(1)
        await yard.submit(6)
        await yard.size(4)
        await until(lambda: _ready(yard, 4))
        await yard.work("claude-1", "claude-2", "claude-3", "claude-4")
        await yard.finish("claude-1", "claude-2", "claude-3", "claude-4")
        await yard.work("claude-1", "claude-2")
        await yard.finish("claude-1", "claude-2")
        await yard.size(1)
    steps = [
        (event.data["before"], event.data["target"], event.data["binding"])
        for event in await yard.told("scaler.decided")
    ]
    assert steps[:2] == [(0, 1, "min"), (1, 4, "max")]
    assert steps[-1][1] == 1
    found = await yard.control(file).history(limit=2)
    assert found[0]["id"] > found[1]["id"]
    assert found[0]["inputs"].keys() >= {"queued", "busy", "idle", "starting", "metrics_age", "ceilings"}
    assert found[0]["inner"]["D"] >= 0


async def _ready(yard: Yard, count: int) -> bool:
    return sum(seat.ready_at is not None for seat in await yard.seats()) == count


async def test_threshold_waits_for_the_21st_task(yard: Yard) -> None:
    yard.keep_hosting()
    scaler = yard.scaler(THRESHOLD)
    async with yard.running(scaler):
        await yard.size(1)
        await until(lambda: _ready(yard, 1))
        await yard.submit(21)
        await yard.work("claude-1")
        await yard.looked(scaler)
        assert await yard.names() == ["claude-1"], "20 wait"
        await yard.submit(1)
        await yard.size(2)
        assert (await yard.memory()).last["claude"]["reason"] == "21 tasks wait, more than 20: from 1 to 2 agents"


async def test_threshold_drains_to_min_and_interrupts_nobody(yard: Yard) -> None:
    await yard.db.write(lambda conn: seats.order(conn, "claude", 6))
    await yard.host()
    await yard.submit(10)
    await yard.work(*(f"claude-{number}" for number in range(1, 7)))
    scaler = yard.scaler(THRESHOLD)
    yard.keep_hosting()
    async with yard.running(scaler):
        await yard.looked(scaler)
        assert len(await yard.names()) == 6, "4 wait, and 6 agents have a task"
        await yard.finish("claude-3", "claude-5")
        await yard.size(4)
        assert set(await yard.names()) == {"claude-1", "claude-2", "claude-4", "claude-6"}
        await yard.finish("claude-1", "claude-2", "claude-4", "claude-6")
        await yard.size(1)
    assert await yard.told("task.requeued") == []
    assert await yard.told("agent.leaving") != []


async def test_a_refusal_by_the_cooldown_is_told_once_and_survives_a_restart(yard: Yard) -> None:
    file = settings(policy="threshold", cooldown=300, max=10)
    await yard.submit(50)
    first = yard.scaler(file, holder="first")
    yard.keep_hosting()
    async with yard.running(first):
        await yard.size(3)
        await yard.submit(60)
        await until(lambda: _bound(yard, "cooldown"))
        await yard.looked(first)
    second = yard.scaler(file, holder="second")
    async with yard.running(second):
        await yard.looked(second)
        assert len(await yard.names()) == 3, "the cooldown goes on"
    refused = [one for one in await yard.control(file).history() if one["binding"] == "cooldown"]
    assert len(refused) == 1, "the same refusal again and again is one record"
    assert (refused[0]["before"], refused[0]["target"], refused[0]["wanted"]) == (3, 3, 3)
    assert "s of the 300 s cooldown are left" in refused[0]["reason"]
    view = await yard.control(file).status()
    assert view.pools[0].last is not None
    assert view.pools[0].last.binding == "cooldown"


async def _bound(yard: Yard, binding: str) -> bool:
    return binding in [event.data["binding"] for event in await yard.told("scaler.decided")]


async def test_min_is_put_back(yard: Yard) -> None:
    file = settings(min=3)
    yard.keep_hosting()
    async with yard.running(yard.scaler(file)):
        await until(lambda: _ready(yard, 3))
        gone = await yard.names()

        def kill(conn: Connection) -> None:
            seats.leave(conn, gone[:2], "killed", recallable=False)

        await yard.db.write(kill)
        await until(lambda: _ready(yard, 3))


async def test_the_dead_workers_agents_count_as_starting(yard: Yard) -> None:
    async with yard.running(yard.scaler(settings(min=2))) as _:
        await yard.size(2)
        await yard.host()
        await yard.die("worker")
        await until(lambda: _starting(yard, 2))
        await yard.enter("other")
        await yard.host("other")
        assert {seat.worker for seat in await yard.seats()} == {"other"}, "nothing else was ordered"


async def _starting(yard: Yard, count: int) -> bool:
    return (await yard.control(settings(min=2)).status()).pools[0].starting == count


async def test_dry_run_records_once_and_touches_nothing(yard: Yard) -> None:
    scaler = yard.scaler(settings(min=3, dry_run=True))
    async with yard.running(scaler):
        await yard.looked(scaler, 4)
    assert await yard.seats() == []
    (event,) = await yard.told("scaler.decided")
    assert (event.data["before"], event.data["target"], event.data["dry_run"]) == (0, 3, True)


async def test_a_change_holds_at_once_and_a_stop_leaves_all_as_it_is(yard: Yard) -> None:
    file = settings(period=300)  # only news makes it look
    control = yard.control(file)
    yard.keep_hosting()
    async with yard.running(yard.scaler(file)):
        await yard.size(1)
        await control.configure({"min": 4}, by="me")
        await yard.size(4)
        await control.stop(by="me")
        await control.configure({"min": 1, "max": 2}, by="me")
        await yard.submit(3)
        await until(lambda: _rests(yard))
        view = await control.status()
        assert (view.state, view.leader, view.fence) == ("stopped", "one", 1)
        assert len(await yard.names()) == 4
        await control.start(by="me")
        await yard.size(2)
    view = await control.status()
    assert (view.state, view.leader) == ("no leader", None)


async def _rests(yard: Yard) -> bool:
    return (await yard.memory()).policy.pools["claude"].looked_at is None


async def test_a_spent_day_and_a_strained_host_hold_every_pool(yard: Yard) -> None:
    async def spent() -> bool:
        return True

    async with yard.running(yard.scaler(settings(min=2), spent=spent)):
        await until(lambda: _bound(yard, "budget"))
    assert await yard.names() == []
    await yard.submit(5)
    async with yard.running(yard.scaler(settings(min=2), holder="two", host=Strained(Path("/")))):
        await until(lambda: _bound(yard, "host"))
    assert await yard.names() == []


class Strained(Host):
    def strained(self) -> str:
        return "no room"


class Broken(InlineLauncher):
    calls = 0

    async def ensure(self, seats: Sequence[Seat], workers: Sequence[WorkerInfo]) -> None:
        self.calls += 1
        raise (StoreUnavailable("away"), RuntimeError("broken"))[self.calls % 2]


async def test_a_launcher_that_breaks_is_called_again(yard: Yard) -> None:
    launcher = Broken()
    scaler = yard.scaler(settings(), launcher=launcher)
    async with yard.running(scaler):
        await until(lambda: launcher.calls > 2)
    assert await yard.names() == ["claude-1"]


async def test_old_decisions_are_forgotten(yard: Yard) -> None:
    old = Sql("UPDATE decisions SET at = at - 31 * 86400")
    async with yard.running(yard.scaler(settings())):
        await yard.size(1)
    await yard.db.write(old.run)
    scaler = yard.scaler(settings(), holder="two")
    async with yard.running(scaler):
        await yard.looked(scaler)
    assert await yard.control(settings()).history() == []


async def test_many_candidates_lead_one_after_the_other_and_tell_each_fact_once(yard: Yard) -> None:
    file = settings(min=2, max=2)
    candidates = [yard.scaler(file, holder=f"c{number}") for number in range(3)]
    yard.keep_hosting()
    tasks = [asyncio.create_task(one.run()) for one in candidates]
    try:
        for _ in range(3):
            await until(lambda: sum(one.leading for one in candidates) == 1)
            leads = next(place for place, one in enumerate(candidates) if one.leading)
            await until(lambda leads=leads: candidates[leads].decisions > 0)
            await yard.submit(2, profile=None)
            await until(lambda: _ready(yard, 2))
            await yard.work(*await yard.names())
            await yard.finish(*list(yard.claims))
            await yard.looked(candidates[leads])
            tasks[leads].cancel()
            await asyncio.wait({tasks[leads]})
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    state = (await yard.memory()).policy.pools["claude"]
    assert len(state.services) == 6, "each run was learned from once, whoever led"
    assert [event.data["fence"] for event in await yard.told("leader.elected")] == [1, 2, 3]


async def test_a_replaced_leader_writes_nothing_more(yard: Yard) -> None:
    file = settings(min=2)
    old = await Election(yard.db, "scaler", "old", 60).campaign()
    await yard.db.write(_later.run)
    new = await Election(yard.db, "scaler", "new", 60).campaign()
    assert old is not None
    assert new is not None
    now = await seen(yard, file)
    with pytest.raises(StaleFence):
        await yard.db.write(
            lambda conn: carry_out(conn, old, now.snapshot, now.memory, settings=now.settings, decide=decide)
        )
    assert await yard.seats() == []
    assert await yard.told("scaler.decided") == []
    await yard.db.write(
        lambda conn: carry_out(conn, new, now.snapshot, now.memory, settings=now.settings, decide=decide)
    )
    assert len(await yard.seats()) == 2


async def test_an_old_look_is_not_acted_upon(yard: Yard) -> None:
    term = await Election(yard.db, "scaler", "one", 60).campaign()
    assert term is not None
    file = settings(min=2, period=1)
    now = await seen(yard, file)
    old = FleetSnapshot(now.snapshot.at - 4, now.snapshot.pools)
    decision, memory = await yard.db.write(
        lambda conn: carry_out(conn, term, old, now.memory, settings=file, decide=decide)
    )
    assert (decision.pools[0].binding, await yard.seats()) == ("stale", [])
    assert memory == now.memory, "what it tells is told again"
    assert "the metrics are 4 s old" in (await yard.control(file).history())[0]["reason"]


async def test_what_happened_long_ago_is_not_told(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    from ezaigent.fleet.scaler import scaler as module

    file = settings()
    scaler = yard.scaler(file)
    async with yard.running(scaler):
        await yard.looked(scaler, 1)
    await yard.submit(9)
    monkeypatch.setattr(module, "BEHIND", 5)
    again = yard.scaler(file, holder="two")
    async with yard.running(again):
        await yard.looked(again, 1)
    state = (await yard.memory()).policy.pools["claude"]
    assert state.fast == 0.0, "nine arrivals while nobody looked"
    assert len(await yard.names()) > 1, "but they wait now"


async def test_a_store_that_is_away_is_waited_for(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    scaler = yard.scaler(settings(), lease=0.1)
    failures = [StoreUnavailable("away"), RuntimeError("broken")]

    async def head() -> int:
        if failures:
            raise failures.pop(0)
        return 0

    events = yard.events.head
    yard.events.head = head  # type: ignore[method-assign]
    async with yard.running(scaler):
        await yard.looked(scaler, 1)
    yard.events.head = events  # type: ignore[method-assign]
    assert failures == []


async def test_budgets_in_usd_count_what_was_used(yard: Yard) -> None:
    spent = Sql(
        """INSERT INTO usage (task_id, run_id, session, step, at, agent, profile, provider, model, input_tokens,
        cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, cost_nusd,
        outcome) VALUES ('t', 'r', 1, 1, {now}, 'claude-1', 'claude', 'a', 'x', 1, 0, 0, 0, 1, 0, $1, 'ok')"""
    )
    await yard.db.write(lambda conn: spent.run(conn, 2_000_000_000))
    yard.keep_hosting()
    async with yard.running(yard.scaler(settings(min=2, hour_usd=1.5))):
        await until(lambda: _bound(yard, "budget"))
    assert await yard.names() == []


async def test_the_past_can_be_replayed(yard: Yard) -> None:
    await yard.db.write(lambda conn: seats.order(conn, "claude", 2))
    await yard.host()
    await yard.submit(3)
    await yard.work("claude-1", "claude-2")
    await yard.finish("claude-1")
    past = await yard.control(settings()).recorded(pool="claude", seconds=3600)
    assert (len(past.arrivals), past.arrivals[0]) == (1, 0.0)
    assert past.services[0] >= 0
    assert past.startup is not None
    nothing = await yard.control(settings()).recorded(pool="gpt", seconds=3600)
    assert (nothing.arrivals, nothing.startup) == ((), None)


async def test_what_was_used_of_each_model_in_the_last_minute_is_seen(yard: Yard) -> None:
    await yard.submit(1)
    await yard.host()
    await yard.db.write(lambda conn: seats.order(conn, "claude", 1))
    await yard.host()
    await yard.work("claude-1")
    claim = yard.claims["claude-1"]
    call = CallRecord(provider="a", model="x", input_tokens=100, cache_read_tokens=60, output_tokens=5)
    none = CallRecord(provider="a", model="x", outcome="refused")
    await yard.db.write(lambda conn: settle(conn, claim, [(call, None), (call, None), (none, None)], step=0))
    found = await yard.db.read(lambda conn: queries.look(conn, alive=None, spending=False))
    assert found.metered == {"a:x": {"requests": 2.0, "input_tokens": 80.0, "output_tokens": 10.0, "tokens": 90.0}}
