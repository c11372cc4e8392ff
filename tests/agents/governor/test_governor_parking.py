"""An empty quota or purse parks a model for the whole fleet, and one call finds out when it answers again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.agents.governed import CLAUDE, GPT, Worker, fleet, quiet, refused
from tests.agents.stage import staged
from tests.services import until

from ezaigent.agents import NativeRuntime
from ezaigent.agents.governor import changes
from ezaigent.agents.governor.lane import WINDOW, Lane
from ezaigent.agents.governor.permit import Pass
from ezaigent.core.errors import ModelsParked, RunError
from ezaigent.live import Drawn
from ezaigent.testing import Fault, ModelServer

WIRES = ("openai:gpt-test", "anthropic:claude-test", "google:gemini-test", "mistral:m-test", "deepseek:d-test")


def on_trial(worker: Worker) -> bool:
    """Whether somebody may find out if the model answers again."""
    blocked = worker.governor.blocked([GPT])
    return blocked is not None and blocked.trial


@pytest.mark.parametrize("kind", ["quota", "billing"])
@pytest.mark.parametrize(
    ("redis", "model"),
    [*(("memory", model) for model in WIRES), pytest.param("redis", GPT, marks=pytest.mark.redis)],
    indirect=["redis"],
)
async def test_an_empty_quota_parks_the_model_for_everybody(
    server: ModelServer, redis: str | None, model: str, kind: str
) -> None:
    server.fail(Fault("quota" if kind == "quota" else "billing", times=None))
    async with fleet(server, 2, redis=redis) as [one, other]:
        await refused(one, model)
        await quiet(one, other)
        texts = [await refused(worker, model) for worker in (one, other) for _ in range(3)]
        assert len(server.requests) == 1, "nobody asked again"
        assert all("parked" in text for text in texts)
        await quiet(one, other)
        [alert] = one.told("model.parked") + other.told("model.parked")
        assert alert["kind"] in {"quota", "billing"}
        assert alert["reason"]
        assert alert["until"] > 1_700_000_000
        assert "test-key" not in str(alert)
        assert other.governor.blocked([model, "nowhere:model"]) is not None
        assert other.governor.blocked([model, "openai:fine"]) is None
        assert all(record.cost_nusd == 0 for record, _ in other.meter.drain())


async def test_who_never_asked_hears_that_a_model_is_parked(server: ModelServer, redis: str | None) -> None:
    server.fail(Fault("billing", times=None))
    async with fleet(server, 2, redis=redis) as [one, other]:
        assert other.governor.blocked([GPT]) is None
        await refused(one)
        await until(lambda: other.governor.blocked([GPT]) is not None)
        assert other.governor.blocked([GPT, CLAUDE]) is None
    async with fleet(server, 1, redis=redis) as [late]:
        assert late.governor.blocked([GPT]) is None
        if redis is not None:
            await until(lambda: late.governor.blocked([GPT]) is not None)
    assert len(server.requests) == 1


async def test_a_parked_model_is_passed_over(server: ModelServer) -> None:
    server.fail(Fault("billing", provider="openai", times=None))
    async with fleet(server, 2) as [one, other]:
        assert (await one.ask(fallbacks=(CLAUDE,))).text == "Hello."
        await quiet(one)
        assert (await other.ask(fallbacks=(CLAUDE,))).text == "Hello."
    assert Counter(record.provider for record in server.requests) == {"openai": 1, "anthropic": 2}


async def test_one_call_finds_out_when_a_parked_model_answers_again(
    server: ModelServer, redis: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "FIRST_PARK", 1.0)
    server.fail(Fault("quota", times=2))
    async with fleet(server, 2, redis=redis) as [one, other]:
        await refused(one)
        await quiet(one, other)
        await until(lambda: on_trial(one))  # its time is over, and nobody knows yet
        server.latency = 1.0  # so that the others come while the first one is under way
        answers = await asyncio.gather(
            *(worker.ask() for worker in (one, other) for _ in range(5)), return_exceptions=True
        )
        assert all(isinstance(answer, RunError) for answer in answers)
        assert len(server.requests) == 2, "one call found that it is still so"
        assert (still := one.governor.blocked([GPT])) is not None
        assert not still.trial
        await quiet(one, other)

        async def back() -> bool:
            with suppress(RunError):
                await one.ask()
                return True
            return False

        await until(back)
        await quiet(one, other)
        assert len(one.told("model.parked") + other.told("model.parked")) == 1, "one alert, however long"
        assert len(one.told("model.unparked") + other.told("model.unparked")) == 1
        assert len(one.told("model.still_parked") + other.told("model.still_parked")) == 1
        await until(lambda: other.governor.blocked([GPT]) is None, what="the other one has heard of it")
        assert (await other.ask()).text == "Hello."


@pytest.mark.parametrize("answers", [0, 30])
async def test_no_request_leaves_after_the_first_that_found_the_purse_empty(
    server: ModelServer, redis: str | None, monkeypatch: pytest.MonkeyPatch, answers: int
) -> None:
    """What is under way by then cannot be called back: a few on an account that nobody knows, more on a busy one."""
    left: list[int] = []
    begun, told = Counter[str](), Worker._told  # pyright: ignore[reportPrivateUsage]
    count = Lane.begun

    def counting(lane: Lane, permit: Pass, drawn: Drawn) -> None:
        begun["calls"] += 1
        count(lane, permit, drawn)

    async def listening(worker: Worker, kind: str, data: Mapping[str, Any]) -> None:
        if kind == "model.parked":
            left.append(begun["calls"])
        await told(worker, kind, data)

    monkeypatch.setattr(Lane, "begun", counting)
    monkeypatch.setattr(Worker, "_told", listening)
    server.latency = 0.2
    async with fleet(server, 2, redis=redis) as workers:
        await asyncio.gather(*(workers[number % 2].ask() for number in range(answers)))
        server.fail(Fault("billing", times=None))
        asked = await asyncio.gather(*(workers[number % 2].ask() for number in range(100)), return_exceptions=True)
        assert all(isinstance(one, ModelsParked) for one in asked)
        await quiet(*workers)
        [sent] = left
        assert len(server.requests) <= sent, "known to all: nobody asks any more"
        assert len(server.requests) - answers <= 2 * WINDOW + answers, "an answer opens the way for one more at a time"


async def test_workers_without_a_common_bus_hear_of_a_park_by_its_events(server: ModelServer) -> None:
    server.fail(Fault("billing", times=None))
    async with fleet(server, 1) as [one], fleet(server, 1) as [other]:
        await refused(one)
        await quiet(one)
        [parked] = one.told("model.parked")
        other.governor.hear("model.parked", {**parked, "account": "somebody else's"})
        other.governor.hear("model.parked", {**parked, "until": parked["until"] - 3600})
        assert other.governor.blocked([GPT]) is None, "another account's, and a park that is over"
        for _ in range(2):
            other.governor.hear("model.parked", parked)
        assert "parked (billing)" in await refused(other)
        assert len(server.requests) == 1
        server.clear_faults()
        other.governor.hear("model.unparked", {name: parked[name] for name in ("provider", "model", "account")})
        assert (await other.ask()).text == "Hello."
        await quiet(other)
        assert [kind for kind, _ in other.news if "parked" in kind] == [], "nothing is told twice"


async def test_a_very_long_wait_is_a_quota_that_is_used_up(server: ModelServer) -> None:
    server.fail(Fault("rate_limit", retry_after=7200.0))
    async with fleet(server, 1) as [worker]:
        await refused(worker)
        assert "parked (quota)" in await refused(worker)
    assert len(server.requests) == 1


async def test_googles_quota_of_a_day_ends_at_midnight(server: ModelServer) -> None:
    server.fail(Fault("quota", retry_after=20.0))
    async with fleet(server, 1) as [worker]:
        await refused(worker, "google:gemini-test")
        await quiet(worker)
        [alert] = worker.told("model.parked")
        assert alert["kind"] == "quota"
        assert round(alert["until"] - 8 * 3600) % 86_400 in {0, 1, 86_399}


@pytest.mark.parametrize(("when", "known"), [("2099-01-01 at 00:00 UTC", True), ("2099-13-01", False)])
async def test_anthropics_cap_ends_when_it_says(server: ModelServer, when: str, *, known: bool) -> None:
    text = f"You have reached your specified API usage limits. You will regain access on {when}."
    server.fail(Fault("quota", message=text))
    async with fleet(server, 1) as [worker]:
        await refused(worker, CLAUDE)
        await quiet(worker)
        [alert] = worker.told("model.parked")
        end = datetime(2099, 1, 1, tzinfo=UTC).timestamp()
        assert (abs(alert["until"] - end) < 5) == known


async def test_nothing_asks_by_itself(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "FIRST_PARK", 0.05)
    server.fail(Fault("quota"))
    async with fleet(server, 2) as [one, other]:
        await refused(one)
        await until(lambda: on_trial(one))
        await quiet(one, other)
        assert len(server.requests) == 1
        assert (await other.ask()).text == "Hello."


async def test_the_product_writes_its_alerts_as_events(server: ModelServer, tmp_path: Path) -> None:
    server.fail(Fault("billing", times=None))
    async with staged(tmp_path, server=server) as stage:
        claim = await stage.claim()
        with pytest.raises(RunError):
            await stage.run(claim)

        async def told() -> bool:
            return len(await stage.events("model.parked")) == 1

        await until(told)
        assert isinstance(stage.runtime, NativeRuntime)
        blocked = stage.runtime.blocked(stage.profile)
        assert blocked is not None
        assert blocked.reason.startswith("parked (billing)")
        assert stage.runtime.blocked(replace(stage.profile, offline=True)) is None
        [event] = await stage.events("model.parked")
        assert event.data["provider"] == "openai"
        assert event.task_id is None
