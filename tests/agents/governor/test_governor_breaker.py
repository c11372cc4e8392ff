"""A model that fails again and again is left alone by the whole fleet."""

from __future__ import annotations

import asyncio

import pytest
from tests.agents.governed import CLAUDE, GPT, fleet, quiet, refused

from ezaigent.agents.governor import changes
from ezaigent.agents.patience import Patience
from ezaigent.agents.resilient import ResilientModel
from ezaigent.testing import Fault, ModelServer


async def test_failures_open_the_breaker_and_one_call_closes_it(
    server: ModelServer, redis: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "FIRST_OPEN", 0.5)
    server.fail(Fault("server_error", provider="openai", times=changes.FAILURES))
    once = Patience(attempts=1)
    async with fleet(server, 2, redis=redis) as [one, other]:
        for _ in range(changes.FAILURES):
            await refused(one, patience=once)
            await quiet(one, other)
        assert len(one.told("model.tripped")) == 1
        assert len(server.requests) == changes.FAILURES
        assert (await other.ask(fallbacks=(CLAUDE,))).text == "Hello."
        assert server.requests[-1].provider == "anthropic", "who has another model goes on with it at once"
        server.latency = 0.2
        answers = await asyncio.gather(*(worker.ask() for worker in (one, other) for _ in range(4)))
        assert {answer.text for answer in answers} == {"Hello."}, "who has none waits"
        await quiet(one, other)
        assert len(one.told("model.recovered") + other.told("model.recovered")) == 1
    probe, *rest = server.requests[changes.FAILURES + 1 :]
    assert len(rest) == 7
    assert all(record.at >= probe.at + probe.seconds for record in rest), "the others came after the probe's answer"


async def test_a_breaker_that_is_open_too_long_is_not_waited_for(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "FIRST_OPEN", 60.0)
    server.fail(Fault("overloaded", times=None, retry_after=None))
    async with fleet(server, 1) as [worker]:
        for _ in range(changes.FAILURES):
            await refused(worker, patience=Patience(attempts=1))
        assert "left alone" in await refused(worker, patience=Patience(total=5.0))
        assert len(server.requests) == changes.FAILURES


KEYS = [{"api_key": "sk-heavy-0123456789", "weight": 3}, {"api_key": "sk-light-0123456789", "weight": 1}]


async def test_a_fallback_without_a_key_is_no_way_out(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The breaker is waited for where the next model could not be asked anyway."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.setattr(changes, "FIRST_OPEN", 0.2)
    server.fail(Fault("server_error", times=changes.FAILURES))
    async with fleet(server, 1, anthropic={"api_key": None, "base_url": None}) as [worker]:
        for _ in range(changes.FAILURES):
            await refused(worker, patience=Patience(attempts=1))
        model: ResilientModel = worker.model(fallbacks=(CLAUDE,))
        assert (await worker.ask(fallbacks=(CLAUDE,))).text == "Hello."
        assert model.current == GPT
