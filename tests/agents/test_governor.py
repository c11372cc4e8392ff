"""One quota for the whole fleet, on real HTTP: workers that share a bus, and a server that counts."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.agents.governed import CLAUDE, GPT, QUICK, Worker, fleet, quiet
from tests.agents.stage import staged
from tests.services import RedisServer, until

from ezaigent.agents import NativeRuntime
from ezaigent.agents.governor import Ask, Refused, changes, governor
from ezaigent.agents.patience import Patience
from ezaigent.agents.resilient import ResilientModel
from ezaigent.core.errors import RunError
from ezaigent.testing import Fault, Limits, ModelServer, from_steps

WIRES = ("openai:gpt-test", "anthropic:claude-test", "google:gemini-test", "mistral:m-test", "deepseek:d-test")


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer(from_steps(["Hello."])) as made:
        yield made


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def redis(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "memory" else str(request.getfixturevalue("redis_database"))


def refusals(server: ModelServer) -> int:
    return sum(record.fault in {"limit", "rate_limit"} for record in server.requests)


async def refused(worker: Worker, model: str = GPT, patience: Patience = QUICK) -> str:
    with pytest.raises(RunError) as caught:
        await worker.ask(model, patience=patience)
    return str(caught.value)


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
    assert len(server.requests) == 50
    assert refusals(server) == 0


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
    monkeypatch.setattr(changes, "FIRST_PARK", 0.3)
    server.fail(Fault("quota", times=2))
    async with fleet(server, 2, redis=redis) as [one, other]:
        await refused(one)
        await quiet(one, other)
        await until(lambda: one.governor.blocked([GPT]) is None)  # its time is over, and nobody knows yet
        server.latency = 0.3  # so that the others come while the first one is under way
        answers = await asyncio.gather(
            *(worker.ask() for worker in (one, other) for _ in range(5)), return_exceptions=True
        )
        assert all(isinstance(answer, RunError) for answer in answers)
        assert len(server.requests) == 2, "one call found that it is still so"
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
        assert (await other.ask()).text == "Hello."


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


async def test_keys_are_used_by_their_weights(server: ModelServer) -> None:
    async with fleet(server, 1, openai={"keys": KEYS}) as [worker]:
        for _ in range(40):
            await worker.ask()
    used = Counter(record.key for record in server.requests)
    assert used[server.key_mark("sk-heavy-0123456789")] in range(27, 34)
    assert used[server.key_mark("sk-light-0123456789")] in range(7, 14)


async def test_a_key_without_room_leaves_the_call_to_another(server: ModelServer) -> None:
    server.limit(Limits(requests=8, window=60.0))
    async with fleet(server, 1, openai={"keys": KEYS}) as [worker]:
        await asyncio.gather(*(worker.ask() for _ in range(14)))
    used = Counter(record.key for record in server.requests)
    assert refusals(server) == 0
    assert max(used.values()) <= 8


@pytest.mark.parametrize("kind", ["billing", "auth"])
async def test_a_key_that_is_out_is_left_out(server: ModelServer, kind: str) -> None:
    server.fail(Fault("billing" if kind == "billing" else "auth"))
    async with fleet(server, 1, openai={"keys": KEYS}) as [worker]:
        for _ in range(5):
            assert (await worker.ask()).text == "Hello."
        await quiet(worker)
        [alert] = worker.told("model.parked")
        assert alert["kind"] == kind
        assert "0123456789" not in str(worker.news) + str(worker.notes)
    used = Counter(record.key for record in server.requests)
    assert sorted(used.values()) == [1, 5]


async def test_a_wait_is_told_once_and_ends_at_once_when_cancelled(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(governor, "NOTICE", 0.05)
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
        await until(lambda: one.governor.blocked([GPT]) is None)
        await quiet(one, other)
        assert len(server.requests) == 1
        assert (await other.ask()).text == "Hello."


@pytest.mark.redis
async def test_without_its_bus_a_worker_goes_on_with_its_part_and_comes_back(
    server: ModelServer, redis_server: RedisServer, redis_database: str
) -> None:
    server.limit(Limits(requests=60, window=6.0))
    server.fail(Fault("billing", model="poor"))
    async with fleet(server, 2, redis=redis_database) as [one, other]:
        await refused(one, "openai:poor")
        for worker in (one, other):
            for _ in range(3):
                await worker.ask()
        await quiet(one, other)
        redis_server.kill()
        try:
            await asyncio.gather(*(worker.ask() for worker in (one, other) for _ in range(5)))
            assert "parked" in await refused(one, "openai:poor"), "what was learned is not forgotten"
            server.fail(Fault("billing", model="newly-poor"))
            await refused(one, "openai:newly-poor")
            await until(lambda: len(one.told("model.parked")) == 2)
        finally:
            redis_server.start()
        await until(lambda: one.bus.up and other.bus.up)
        assert "parked" in await refused(one, "openai:newly-poor")
        assert "parked" in await refused(one, "openai:poor")

        before = len(server.requests)
        await one.ask()
        await quiet(one, other)
        for poor in ("openai:poor", "openai:newly-poor"):
            assert "parked" in await refused(other, poor), "the empty bus was told again"
        assert len(server.requests) == before + 1
        assert len(one.told("model.parked")) == 2, "an alert is not repeated for a bus that came back"
        assert other.told("model.parked") == []
    assert refusals(server) == 0


@pytest.mark.redis
async def test_two_processes_share_one_quota(server: ModelServer, redis_database: str) -> None:
    server.limit(Limits(requests=40, window=4.0))
    first, second = await run_workers(server, redis_database, calls=30)
    assert first["answered"] + second["answered"] == 60
    assert refusals(server) == 0


@pytest.mark.redis
async def test_an_empty_purse_costs_one_call_a_worker_at_most(server: ModelServer, redis_database: str) -> None:
    server.fail(Fault("billing", times=None))
    first, second = await run_workers(server, redis_database, calls=50)
    assert first["failed"] + second["failed"] == 100
    assert first["parked"] + second["parked"] == 1
    assert len(server.requests) <= 2 * governor.WINDOW, "only what was under way before the first word of it"


async def run_workers(server: ModelServer, redis: str, *, calls: int) -> list[dict[str, int]]:
    """Run two worker processes that begin together; return what each printed."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.agents.governor_worker", server.url, redis, str(calls)]
    pipe = subprocess.PIPE
    running = [await asyncio.create_subprocess_exec(*command, cwd=root, stdin=pipe, stdout=pipe) for _ in range(2)]
    try:
        for one in running:
            assert one.stdout is not None
            assert await one.stdout.readline() == b"ready\n"
        ended = await asyncio.gather(*(one.communicate(b"go\n") for one in running))
    finally:
        for one in running:
            if one.returncode is None:
                one.kill()
                await one.wait()
    return [json.loads(out) for out, _ in ended]


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
        assert "parked (billing)" in (stage.runtime.blocked(stage.profile) or "")
        assert stage.runtime.blocked(replace(stage.profile, offline=True)) is None
        [event] = await stage.events("model.parked")
        assert event.data["provider"] == "openai"
        assert event.task_id is None


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
