"""One quota for the whole fleet, on real HTTP: workers that share a bus, and a server that counts."""

from __future__ import annotations

import asyncio

import pytest
from tests.agents.governed import fleet, quiet, refusals

from ezaigent.testing import Fault, Limits, ModelServer

WIRES = ("openai:gpt-test", "anthropic:claude-test", "google:gemini-test", "mistral:m-test", "deepseek:d-test")


@pytest.mark.parametrize("model", WIRES)
async def test_every_provider_goes_through_the_gate(server: ModelServer, model: str) -> None:
    async with fleet(server, 1) as [worker]:
        assert (await worker.ask(model)).text == "Hello."
        assert worker.notes == []


async def test_two_workers_share_one_quota_and_get_no_429(server: ModelServer, redis: str | None) -> None:
    server.limit(Limits(requests=30, window=3.0))
    async with fleet(server, 2, redis=redis) as workers:
        await asyncio.gather(*(worker.ask() for worker in workers for _ in range(25)))
        await quiet(*workers)
        told = [dict(one) for worker in workers for one in worker.told("model.limits")]
    assert len(server.requests) == 50
    assert refusals(server) == 0
    assert told, "the autoscaler hears what the provider allows"
    assert told[-1]["limits"]["requests"][0] == 30
    assert len(told) < 10, "and not with every answer"


async def test_tokens_are_shared_too(server: ModelServer) -> None:
    server.limit(Limits(tokens=120, window=2.0))
    async with fleet(server, 2) as workers:
        for worker in workers:
            await worker.ask()  # what a prompt counts is learned from the answers
        await asyncio.gather(*(worker.ask() for worker in workers for _ in range(10)))
        await quiet(*workers)
    assert refusals(server) <= 3


async def test_limits_from_the_settings_need_no_learning(server: ModelServer) -> None:
    async with fleet(server, 1, openai={"requests_per_minute": 600, "tokens_per_minute": 10_000_000}) as [worker]:
        lane = worker.governor.lane("openai", "gpt-test")
        await worker.ask()
        [account] = lane.accounts.values()
        assert account.known["requests"].rate == 10
        await quiet(worker)


async def test_a_429_of_one_worker_pauses_them_all(server: ModelServer, redis: str | None) -> None:
    server.fail(Fault("rate_limit", model="gpt-test", retry_after=0.4))
    async with fleet(server, 2, redis=redis) as [one, other]:
        await other.ask("openai:another")  # listens from here on
        await one.ask()
        await quiet(one, other)
        assert len(one.told("model.slowed")) == 1
        await other.ask()
        assert other.told("model.slowed") == []
        lane = other.governor.lane("openai", "gpt-test")
        [account] = lane.shared.state.accounts.values()
        assert account.slow is not None
    first, again, of_other = [record for record in server.requests if record.model == "gpt-test"]
    assert first.fault == "rate_limit"
    assert again.at - first.at > 0.35, "the pause was kept"
    assert of_other.fault is None


async def test_after_a_pause_the_calls_are_spread(server: ModelServer) -> None:
    server.limit(Limits(requests=10, window=1.0), provider="deepseek")  # which tells nothing beforehand
    async with fleet(server, 2) as workers:
        await asyncio.gather(*(worker.ask("deepseek:d-test") for worker in workers for _ in range(20)))
        await quiet(*workers)
    assert sum(record.complete for record in server.requests) == 40
    assert refusals(server) <= 20
