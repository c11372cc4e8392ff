"""Calls that wait for their share of the quota."""

from __future__ import annotations

import asyncio

import pytest
from tests.agents.governed import fleet, quiet
from tests.services import until

from ezaigent.agents.governor import Ask, Refused, lane
from ezaigent.testing import Fault, ModelServer


async def test_a_wait_is_told_once_and_ends_at_once_when_cancelled(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "NOTICE", 0.05)
    held: list[str] = []

    async def reserve(amount: int | None, provider: str, model: str) -> str:
        del amount, provider, model
        held.append("r")
        return f"r{len(held)}"

    server.fail(Fault("rate_limit", retry_after=30.0))
    async with fleet(server, 2) as [one, other]:
        asking = asyncio.create_task(one.ask())
        await until(lambda: one.noted("model.waiting"))
        waiting = [asyncio.create_task(other.ask(reserve=reserve)) for _ in range(3)]
        await until(lambda: len(other.noted("model.waiting")) == 3)
        await asyncio.sleep(0.2)
        assert len(other.noted("model.waiting")) == 3, "once for each wait"
        assert len(one.noted("model.waiting")) == 1
        note = other.noted("model.waiting")[0]
        assert 25 < note["seconds"] <= 30
        assert (note["provider"], note["model"]) == ("openai", "gpt-test")
        assert "pause" in note["reason"]
        for task in (asking, *waiting):
            task.cancel()
        async with asyncio.timeout(1):
            await asyncio.wait([asking, *waiting])
        assert [(record.outcome, record.cost_nusd) for record, _ in other.meter.drain()] == [("refused", 0)] * 3
    assert len(server.requests) == 1


async def test_a_call_cancelled_in_its_turn_gives_back_what_it_drew(server: ModelServer) -> None:
    async with fleet(server, 1, openai={"requests_per_minute": 6}) as [worker]:
        for _ in range(5):
            await worker.ask()
        for _ in range(20):
            waiting = asyncio.create_task(worker.ask())
            await asyncio.sleep(0.005)
            waiting.cancel()
            await asyncio.wait([waiting])
        await quiet(worker)
        with pytest.raises(Refused, match="taken for the next") as caught:
            await worker.governor.admit(Ask("openai", "gpt-test", patience=0.2))
        assert caught.value.failure.kind == "rate_limit"
        found = await worker.bus.draw("nothing", None, [], patience=0, ttl=1)
        assert found is not None
        lane = worker.governor.lane("openai", "gpt-test")
        assert sum(lane.under_way.values()) == 0
        assert (lane.total(next(iter(lane.accounts))) or 0) < 10, "the cancelled calls do not count"
