"""One run's model waits, fails over, pays, and says why it gave up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ThinkingPart
from pydantic_ai.models import ModelRequestParameters
from tests.agents.canned_server import Answer, CannedServer, anthropic, canned_server, chat

from ezaigent.agents.governor import OPEN, Ask, Permit
from ezaigent.agents.meter import Meter
from ezaigent.agents.patience import Patience
from ezaigent.agents.profiles import Profile
from ezaigent.agents.provider_failure import ProviderFailure
from ezaigent.agents.resilient import ResilientModel
from ezaigent.agents.transport import Transport
from ezaigent.core.errors import BudgetExceeded, RunError, StaleFence, UnavailableError
from ezaigent.core.settings import Settings
from ezaigent.costs import worst_case

QUICK = Patience(first=0.001, longest=0.002)
BUSY = Answer(status=503, body={"error": {"message": "overloaded"}})
LIMIT = Answer(status=429, body={"error": {"message": "Rate limit reached"}}, headers={"retry-after-ms": "1"})
POOR = Answer(status=402, body={"error": {"message": "Insufficient Balance"}})
WRONG = Answer(status=400, body={"error": {"message": "no such thing"}})
BROKEN = Answer(status=500, body={"error": {"message": "server error"}})

CLAUDE, GPT = "anthropic:claude-opus-5-5", "openai:gpt-6.1-sol"


class Rig:
    """A resilient model between real servers, and everything it said and paid."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, Mapping[str, Any]]] = []
        self.held: list[tuple[int | None, str, str]] = []
        self.gated: list[tuple[str, str]] = []
        self.meter = Meter()
        self.stack = AsyncExitStack()
        self.servers: dict[str, CannedServer] = {}
        self.transport = Transport()
        self.refusal: Exception | None = None
        self.shut: Exception | None = None
        self.noted = asyncio.Event()

    async def reserve(self, amount: int | None, provider: str, model: str) -> str | None:
        if self.refusal:
            raise self.refusal
        self.held.append((amount, provider, model))
        return f"r{len(self.held)}"

    async def admit(self, ask: Ask) -> Permit:
        self.gated.append((ask.provider, ask.model))
        if self.shut:
            raise self.shut
        return await OPEN.admit(ask)

    def note(self, kind: str, data: Mapping[str, Any]) -> None:
        self.notes.append((kind, data))
        self.noted.set()

    async def model(
        self,
        *,
        fallbacks: tuple[str, ...] = (),
        timeout: float = 5.0,
        patience: Patience = QUICK,
        temperature: float | None = None,
        **answers: list[Answer],
    ) -> ResilientModel:
        await self.stack.enter_async_context(self.transport)
        providers: dict[str, Any] = {}
        for provider, prepared in answers.items():
            server = await self.stack.enter_async_context(canned_server(*prepared))
            self.servers[provider] = server
            providers[provider] = {"base_url": server.url + "/v1", "api_key": "k-of-test", "timeout": timeout}
        first = CLAUDE if "anthropic" in answers else GPT
        profile = Profile(name="test", model=first, fallbacks=fallbacks, max_tokens=1_000, temperature=temperature)
        settings = Settings.model_validate({"home": Path("/nowhere"), "providers": providers})
        return ResilientModel(
            profile,
            settings,
            self.transport,
            meter=self.meter,
            reserve=self.reserve,
            on_note=self.note,
            gate=self,
            patience=patience,
        )

    def kinds(self) -> list[str]:
        return [data["kind"] for kind, data in self.notes if kind == "run.provider_error"]

    def outcomes(self) -> list[tuple[str, str, str | None]]:
        return [(record.provider, record.outcome, held) for record, held in self.meter.drain()]


@pytest.fixture
async def rig() -> Any:
    made = Rig()
    async with made.stack:
        yield made


def hello() -> list[ModelMessage]:
    return [ModelRequest.user_text_prompt("hello")]


async def ask(model: ResilientModel, messages: list[ModelMessage] | None = None) -> ModelResponse:
    return await model.request(messages or hello(), None, ModelRequestParameters())


async def test_an_answered_call_is_reserved_gated_and_metered(rig: Rig) -> None:
    model = await rig.model(openai=[Answer(body=chat(prompt=100, cached=40, output=20))])
    assert (await ask(model)).text == "done"
    [(record, held)] = rig.meter.drain()
    assert (record.outcome, record.input_tokens, record.cache_read_tokens, held) == ("ok", 100, 40, "r1")
    assert (record.output_tokens, record.reasoning_tokens) == (20, 5)
    assert record.cost_nusd == 60 * 2_000 + 40 * 100 + 20 * 10_000
    [(worst, provider, name)] = rig.held
    assert worst is not None
    assert worst > record.cost_nusd
    assert (provider, name) == ("openai", "gpt-6.1-sol")
    assert rig.gated == [("openai", "gpt-6.1-sol")]
    assert rig.servers["openai"].requests[0]["max_completion_tokens"] == 1_000
    assert rig.notes == []
    assert rig.meter.drain() == []


async def test_a_rate_limit_and_a_fault_are_waited_out_with_one_reservation(rig: Rig) -> None:
    model = await rig.model(openai=[LIMIT, BROKEN, LIMIT, Answer(body=chat())])
    assert (await ask(model)).text == "done"
    assert rig.kinds() == ["rate_limit", "transient", "rate_limit"]
    assert [data["attempt"] for _, data in rig.notes] == [1, 2, 3]
    assert rig.notes[0][1]["retry_after"] == 0.001
    assert len(rig.gated) == 4
    assert rig.outcomes() == [("openai", "ok", "r1")]


async def test_overload_fails_over_after_its_chances_and_stays_there(rig: Rig) -> None:
    model = await rig.model(anthropic=[BUSY], openai=[Answer(body=chat())], fallbacks=(GPT,))
    assert (await ask(model)).text == "done"
    assert (await ask(model)).text == "done"
    assert len(rig.servers["anthropic"].paths) == QUICK.overloads
    assert len(rig.servers["openai"].paths) == 2
    assert rig.notes[-1] == ("run.failover", {"from": CLAUDE, "to": GPT, "reason": "overload"})
    assert (model.current, model.model_id, model.model_name) == (GPT, CLAUDE, "gpt-6.1-sol")
    assert rig.outcomes() == [("anthropic", "refused", "r1"), ("openai", "ok", "r2"), ("openai", "ok", "r3")]


async def test_an_empty_account_fails_over_at_once_past_a_model_without_a_key(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MISTRAL_API_KEY", raising=False)
    model = await rig.model(anthropic=[POOR], openai=[Answer(body=chat())], fallbacks=("mistral:mistral-large-4", GPT))
    assert (await ask(model)).text == "done"
    assert len(rig.servers["anthropic"].paths) == 1
    assert rig.notes[-1][1]["to"] == GPT


async def test_the_history_goes_along_without_what_only_its_author_reads(rig: Rig) -> None:
    model = await rig.model(anthropic=[POOR], openai=[Answer(body=chat())], fallbacks=(GPT,))
    thought = ModelResponse(
        parts=[ThinkingPart("deep", signature="sealed-by-anthropic", provider_name="anthropic"), TextPart("first")],
        provider_name="anthropic",
        model_name="claude-opus-5-5",
    )
    await ask(model, [*hello(), thought, ModelRequest.user_text_prompt("and now?")])
    sent = str(rig.servers["openai"].requests[0]["messages"])
    assert "first" in sent
    assert "and now?" in sent
    assert "sealed-by-anthropic" not in sent


async def test_a_refused_request_ends_the_run_for_good(rig: Rig) -> None:
    model = await rig.model(anthropic=[WRONG], openai=[Answer(body=chat())], fallbacks=(GPT,))
    with pytest.raises(RunError, match=r"anthropic:claude-opus-5-5.*400: no such thing") as caught:
        await ask(model)
    assert not caught.value.retryable
    assert rig.outcomes() == [("anthropic", "refused", "r1")]
    assert rig.servers["openai"].paths == []


async def test_a_prompt_that_is_too_long_is_named(rig: Rig) -> None:
    long = Answer(status=400, body={"error": {"message": "too", "code": "context_length_exceeded"}})
    model = await rig.model(openai=[long])
    with pytest.raises(RunError, match="the prompt is too long"):
        await ask(model)


@pytest.mark.parametrize(
    ("answer", "requests", "retryable"),
    [(BROKEN, 8, True), (BUSY, 3, True), (POOR, 1, False)],
    ids=["transient", "overload", "billing"],
)
async def test_when_nobody_answers(rig: Rig, answer: Answer, requests: int, retryable: bool) -> None:  # noqa: FBT001
    model = await rig.model(openai=[answer])
    with pytest.raises(RunError, match="no model answered") as caught:
        await ask(model)
    assert caught.value.retryable is retryable
    assert len(rig.servers["openai"].paths) == requests


async def test_an_overloaded_first_choice_makes_the_failure_retryable(rig: Rig) -> None:
    model = await rig.model(anthropic=[BUSY], openai=[POOR], fallbacks=(GPT,))
    with pytest.raises(RunError, match="billing") as caught:
        await ask(model)
    assert caught.value.retryable


async def test_a_lost_answer_keeps_its_reservation_and_the_next_try_takes_another(rig: Rig) -> None:
    model = await rig.model(openai=[Answer(hang=True), Answer(cut=True), Answer(body=chat())], timeout=0.3)
    assert (await ask(model)).text == "done"
    assert rig.kinds() == ["transient", "transient"]
    assert rig.notes[0][1]["message"] == "no answer within 0.3 seconds"
    (acted,) = [data for kind, data in rig.notes if kind == "recovery.acted"]
    assert (acted["what"], acted["action"]) == ("model call beyond its deadline", "it is asked again")
    assert acted["reason"] == f"{GPT}: no answer within 0.3 seconds"
    records = rig.meter.drain()
    assert [(record.outcome, held) for record, held in records] == [("lost", "r1"), ("lost", "r2"), ("ok", "r3")]
    assert records[0][0].cost_nusd is None


async def test_a_wait_longer_than_our_patience_goes_to_the_next_model(rig: Rig) -> None:
    tomorrow = Answer(status=429, body={"error": {"message": "limit"}}, headers={"Retry-After": "80000"})
    model = await rig.model(anthropic=[tomorrow], openai=[Answer(body=chat())], fallbacks=(GPT,))
    assert (await ask(model)).text == "done"
    assert rig.notes[0][1]["wait"] is None


async def test_cancelling_ends_a_wait_at_once(rig: Rig) -> None:
    slow = Answer(status=429, body={"error": {"message": "limit"}}, headers={"Retry-After": "500"})
    model = await rig.model(openai=[slow])
    running = asyncio.create_task(ask(model))
    await rig.noted.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert rig.outcomes() == [("openai", "refused", "r1")]


async def test_cancelling_ends_a_request_at_once_and_its_price_is_unknown(rig: Rig) -> None:
    model = await rig.model(openai=[Answer(hang=True)], timeout=100)
    running = asyncio.create_task(ask(model))
    await rig.servers["openai"].asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert rig.outcomes() == [("openai", "lost", "r1")]


async def test_a_refused_reservation_sends_nothing(rig: Rig) -> None:
    model = await rig.model(openai=[Answer(body=chat())])
    rig.refusal = BudgetExceeded("no more money")
    with pytest.raises(BudgetExceeded):
        await ask(model)
    assert rig.servers["openai"].paths == []
    assert rig.meter.drain() == []


async def test_a_signal_from_the_gate_passes_unchanged(rig: Rig) -> None:
    model = await rig.model(openai=[Answer(body=chat())])
    rig.shut = StaleFence("gone")
    with pytest.raises(StaleFence):
        await ask(model)
    assert rig.outcomes() == [("openai", "refused", "r1")]


async def test_it_drives_an_agent_and_learns_the_prompts_size(rig: Rig) -> None:
    model = await rig.model(anthropic=[Answer(body=anthropic())])
    agent = Agent(model, instructions="be brief " * 500)
    first = await agent.run("x" * 20_000)
    second = await agent.run("again", message_history=first.all_messages())
    assert second.output == "done"
    [one, two] = [worst for worst, _, _ in rig.held]
    assert one is not None
    assert two is not None
    # The provider counted 900 tokens for the first prompt: the second is bounded by that and by what is new.
    most = worst_case(provider="anthropic", model="claude-opus-5-5", input_tokens=900 + 4_000, output_tokens=1_000)
    assert most is not None
    assert two < most < one
    assert model.context_window == 1_000_000


async def test_the_profiles_limits_are_sent_with_every_call(rig: Rig) -> None:
    warm = await rig.model(openai=[Answer(body=chat())], temperature=0.5)
    assert warm.settings == {"max_tokens": 1_000, "temperature": 0.5}
    model = await rig.model(openai=[Answer(body=chat())])
    async with model as entered:
        assert entered is model
    assert (await Agent(model, model_settings={"max_tokens": 77}).run("hello")).output == "done"
    assert rig.servers["openai"].requests[0]["max_completion_tokens"] == 77


async def test_streams_are_replayed_from_whole_answers(rig: Rig) -> None:
    model = await rig.model(openai=[LIMIT, Answer(body=chat("streamed"))])
    async with Agent(model).run_stream("hello") as result:
        assert await result.get_output() == "streamed"
    assert rig.outcomes() == [("openai", "ok", "r1")]
    assert rig.servers["openai"].requests[-1]["stream"] is False


async def test_without_a_key_for_the_first_model_there_is_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    profile = Profile(name="t", model=GPT)
    settings = Settings(home=Path("/nowhere"))
    with pytest.raises(UnavailableError, match="OPENAI_API_KEY"):
        ResilientModel(profile, settings, Transport(), meter=Meter())


def test_patience_keeps_what_the_provider_asked_and_jitters_its_own() -> None:
    patience = Patience(attempts=5, overloads=2, total=100, first=1, longest=8)
    asked = ProviderFailure("rate_limit", "", retry_after=20)
    own = ProviderFailure("transient", "")
    for _ in range(50):
        wait = patience.wait(asked, failures=1, overloads=0, elapsed=0)
        assert wait is not None
        assert 20 <= wait <= 21
        wait = patience.wait(own, failures=3, overloads=0, elapsed=0)
        assert wait is not None
        assert 0 <= wait <= 4
    assert patience.wait(asked, failures=1, overloads=0, elapsed=99) is None
    assert patience.wait(own, failures=5, overloads=0, elapsed=0) is None
    assert patience.wait(ProviderFailure("overload", ""), failures=2, overloads=2, elapsed=0) is None
    assert patience.wait(ProviderFailure("quota", "", retry_after=1), failures=1, overloads=0, elapsed=0) is None
