"""One run's model: it waits, tries again, goes on with the next model, and pays within the budget.

Each call: reserve its worst case, send it, note what it cost. pydantic-ai's messages are neutral, so the next model
gets the whole history; what only its author could read (reasoning signatures, encrypted reasoning, response ids) is
left out by pydantic-ai for any other provider.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Self

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import CompletedStreamedResponse, Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings, merge_model_settings
from pydantic_ai.tools import RunContext

from ezaigent.agents.governor import LONG_WAIT, OPEN, Ask, Gate, Permit, Refused
from ezaigent.agents.heard import Heard, listening
from ezaigent.agents.meter import Meter, record_of
from ezaigent.agents.patience import Patience
from ezaigent.agents.profiles import Profile
from ezaigent.agents.prompt_bound import PromptMeasure
from ezaigent.agents.provider_errors import classify
from ezaigent.agents.provider_failure import ProviderFailure
from ezaigent.agents.providers import build_model, key_of, secrets_of
from ezaigent.agents.transport import Transport
from ezaigent.agents.voice import Voice
from ezaigent.core.errors import ModelsParked, RunError, UnavailableError
from ezaigent.core.money import NANO
from ezaigent.core.settings import ProviderSettings, Settings
from ezaigent.costs import CallRecord, Outcome, context_window, worst_case

Reserve = Callable[[int | None, str, str], Awaitable[str | None]]
"""Called with the worst case in nano-USD (None: unknown price), provider and model; returns the reservation's id, or
None where no limit is in force. Raises ``BudgetExceeded`` where the call must not be made."""
Note = Callable[[str, Mapping[str, Any]], None]
"""Called with an event kind and its data, when something happened that people should see."""

_LATE: Final = "no answer within"
_PASSES: Final = frozenset({"rate_limit", "overload", "transient"})


@dataclass(frozen=True, slots=True)
class _Call:
    """What the loop wants to have sent."""

    messages: list[ModelMessage]
    sent: ModelSettings
    parameters: ModelRequestParameters


class _Hold:
    """The reservation for the next request to one model: ended once, by an answer, a refusal or a loss."""

    def __init__(self, meter: Meter, provider: str, model: str) -> None:
        self._meter = meter
        self._provider = provider
        self._model = model
        self._reservation: str | None = None
        self.open = False

    def take(self, reservation: str | None) -> None:
        self._reservation, self.open = reservation, True

    def pay(self, record: CallRecord) -> None:
        self._meter.add(record, self._reservation)
        self.open = False

    def end(self, outcome: Outcome) -> None:
        """Note that no answer came. A wait that is cancelled after a loss has nothing left to end."""
        if self.open:
            self._meter.add_failed(outcome, provider=self._provider, model=self._model, reservation=self._reservation)
            self.open = False

    @contextmanager
    def unless_stopped(self) -> Generator[None]:
        """Free the hold where the wait in the block ends the call: nothing is on its way."""
        try:
            yield
        except BaseException:
            self.end("refused")
            raise


class ResilientModel(WrapperModel):
    """The profile's model for one run, with its fallbacks, its patience and its purse.

    Raises ``RunError`` when no model can answer: retryable where waiting may help, not retryable where the request
    itself is refused, ``ModelsParked`` where all accounts are empty. Raises ``BudgetExceeded`` as ``reserve`` does.
    After a failover the run stays with the new model. Cancelling a call ends its wait or its request at once.
    """

    def __init__(
        self,
        profile: Profile,
        settings: Settings,
        transport: Transport,
        *,
        meter: Meter,
        reserve: Reserve | None = None,
        on_note: Note | None = None,
        gate: Gate = OPEN,
        patience: Patience | None = None,
        voice: Voice | None = None,
        skip: int = 0,
    ) -> None:
        """Build the profile's first model; the others are built when they are needed.

        Without ``reserve`` no worst cases are computed: there is no limit to keep. What the model says goes through
        ``voice``, where there is one. ``skip`` so many of the models, as far as there are others. Raises
        ``UsageError`` or ``UnavailableError`` as ``build_model`` does for the first model.
        """
        super().__init__(build_model(profile.model, settings, transport))
        self._agent_profile = profile
        self._product = settings
        self._transport = transport
        self._meter = meter
        self._reserve = reserve
        self._note: Note = on_note or (lambda _kind, _data: None)
        self._gate = gate
        self._patience = patience or Patience()
        self._voice = voice
        self._secrets = secrets_of(settings)
        self._measure = PromptMeasure()
        self._measured = reserve is not None
        self._asked = profile.model
        self._left = list(profile.fallbacks)
        for _ in range(skip):
            self._fail_over("it got nowhere")

    @property
    def current(self) -> str:
        """The model in use, as ``provider:name``."""
        return self._asked

    @property
    def model_id(self) -> str:
        """The profile's first model, before and after a failover: what the journal knows this model by."""
        return self._agent_profile.model

    @property
    def context_window(self) -> int | None:
        """Tokens that the model in use can hold."""
        return self._agent_profile.context_window or self.wrapped.context_window

    @property
    def settings(self) -> ModelSettings | None:
        """The model's own settings with the profile's limits; ``max_tokens`` is always sent, it bounds the cost."""
        ours = ModelSettings(max_tokens=self._agent_profile.max_tokens)
        if self._agent_profile.temperature is not None:
            ours["temperature"] = self._agent_profile.temperature
        return merge_model_settings(self.wrapped.settings, ours)

    async def __aenter__(self) -> Self:
        return self  # the connections belong to the transport, which outlives the run

    async def __aexit__(self, *_: object) -> None:
        return None

    def prepare_messages(
        self, messages: list[ModelMessage], model_request_parameters: ModelRequestParameters | None = None
    ) -> list[ModelMessage]:
        """Leave the history as it is: each model prepares it for itself when it is asked."""
        del model_request_parameters
        return messages

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Return the first answer that a model gives. See the class for what is raised."""
        sent = merge_model_settings(self.settings, model_settings) or ModelSettings()
        call = _Call(messages, sent, model_request_parameters)
        failures: list[ProviderFailure] = []
        while True:
            answer = await self._ask(call)
            if isinstance(answer, ModelResponse):
                return answer
            failures.append(answer)
            if answer.kind == "permanent" or not self._fail_over(answer.kind):
                raise self._given_up(failures)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Replay a whole answer as a stream.

        A cut stream can neither be repeated unseen nor moved to another model, so the loop gets answers whole;
        listeners hear them through the voice.
        """
        del run_context
        response = await self.request(messages, model_settings, model_request_parameters)
        yield CompletedStreamedResponse(response, model_request_parameters=model_request_parameters, replay_events=True)

    async def _ask(self, call: _Call) -> ModelResponse | ProviderFailure:
        """Ask the model in use until it answers or has had its chances; return the answer or the last failure."""
        provider, _, model = self._asked.partition(":")
        limit = self._settings_of(provider).timeout
        prepared = self.wrapped.prepare_messages(call.messages, call.parameters)
        started = time.monotonic()
        overloads = failures = 0
        hold = _Hold(self._meter, provider, model)
        while True:
            if not hold.open:
                hold.take(await self._hold(provider, model, call))
            came = time.monotonic()
            try:
                with hold.unless_stopped():
                    permit = await self._gate.admit(self._wish(provider, model, call))
            except Refused as refused:
                self._tell(refused.failure, provider, model, failures + 1, None)
                return refused.failure
            started += time.monotonic() - came  # the gate has a patience of its own
            heard = Heard()
            try:
                with listening() as heard:
                    async with asyncio.timeout(limit):
                        response = await self._said(self._by(permit), prepared, call)
            except asyncio.CancelledError:
                permit.dropped()
                hold.end("lost")
                raise
            except TimeoutError:
                failure = ProviderFailure("transient", f"{_LATE} {limit:g} seconds", bill="lost")
            except Exception as error:  # noqa: BLE001 - the classifier decides about every one
                failure = classify(error, secrets=self._secrets)
            else:
                try:
                    return self._paid(provider, model, call, response, hold)
                finally:
                    usage = response.usage
                    permit.answered(heard, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
            held = permit.failed(failure, heard)
            failures += 1
            overloads += failure.kind == "overload"
            elapsed = time.monotonic() - started
            wait = self._patience.wait(failure, failures=failures, overloads=overloads, elapsed=elapsed, held=held)
            self._tell(failure, provider, model, failures, wait)
            if failure.bill == "lost" or wait is None:
                hold.end(failure.bill)
            if wait is None:
                return failure
            with hold.unless_stopped():
                await asyncio.sleep(wait)

    async def _said(self, model: Model, prepared: list[ModelMessage], call: _Call) -> ModelResponse:
        if self._voice is None:
            return await model.request(prepared, call.sent, call.parameters)
        return await self._voice.request(model, prepared, call.sent, call.parameters)

    def _wish(self, provider: str, model: str, call: _Call) -> Ask:
        """Return what the gate is asked for."""

        def tokens() -> int:
            self._measured = True
            window = self._agent_profile.context_window or context_window(provider=provider, model=model)
            return self._measure.bound(self._asked, call.messages, call.parameters, window=window).tokens

        names = [one.partition(":")[0] for one in self._left]
        others = any(key_of(name, self._settings_of(name)) is not None for name in names)
        return Ask(provider, model, tokens, self._patience.total, alternatives=others, note=self._note)

    def _by(self, permit: Permit) -> Model:
        """Return the model in use, called with the permit's key."""
        if permit.key is None:
            return self.wrapped
        return build_model(self._asked, self._product, self._transport, key=permit.key)

    async def _hold(self, provider: str, model: str, call: _Call) -> str | None:
        if self._reserve is None:
            return None
        window = self._agent_profile.context_window or context_window(provider=provider, model=model)
        prompt = self._measure.bound(self._asked, call.messages, call.parameters, window=window)
        worst = worst_case(
            provider=provider,
            model=model,
            base_url=self._settings_of(provider).base_url,
            input_tokens=prompt.tokens,
            output_tokens=call.sent.get("max_tokens", self._agent_profile.max_tokens),
            media=prompt.media,
        )
        return await self._reserve(worst, provider, model)

    def _paid(self, provider: str, model: str, call: _Call, response: ModelResponse, hold: _Hold) -> ModelResponse:
        base_url = self._settings_of(provider).base_url
        record = record_of(response, provider=provider, model=model, base_url=base_url)
        hold.pay(record)
        if record.cost_nusd is not None:
            response.usage.cost = Decimal(record.cost_nusd) / NANO  # else the library would look it up once more
        if self._measured:
            self._measure.answered(self._asked, call.messages, call.parameters, record.input_tokens)
        return response

    def _tell(self, failure: ProviderFailure, provider: str, model: str, attempt: int, wait: float | None) -> None:
        data = {
            "kind": failure.kind,
            "provider": provider,
            "model": model,
            "retry_after": failure.retry_after,
            "attempt": attempt,
            "status": failure.status,
            "message": failure.message,
            "wait": None if wait is None else round(wait, 3),
        }
        self._note("run.provider_error", data)
        if failure.message.startswith(_LATE):
            self._tell_late(failure, wait)

    def _tell_late(self, failure: ProviderFailure, wait: float | None) -> None:
        if wait is not None:
            action = "it is asked again"
        else:
            action = "the next model is asked" if self._left else "the attempt fails"
        data = {"what": "model call beyond its deadline", "reason": f"{self._asked}: {failure.message}"}
        self._note("recovery.acted", data | {"action": action, "worker": None})

    def _fail_over(self, reason: str) -> bool:
        """Go on with the next model that can be built; return whether there is one."""
        while self._left:
            before, following = self._asked, self._left.pop(0)
            try:
                model: Model = build_model(following, self._product, self._transport)
            except UnavailableError:
                continue  # no key for it
            self.wrapped = model
            self._asked = following
            self._note("run.failover", {"from": before, "to": following, "reason": reason})
            return True
        return False

    def _given_up(self, failures: list[ProviderFailure]) -> RunError:
        last = failures[-1]
        if last.kind == "permanent":
            what = "the prompt is too long for it" if last.too_long else "it refused the request"
            return RunError(f"model {self._asked!r}: {what}: {last.message}", retryable=False)
        advice = {"billing": "check the account's balance", "quota": "raise the quota or wait for its reset"}
        next_step = advice.get(last.kind, "the task is tried again later")
        text = f"no model answered; last {self._asked!r} ({last.kind}): {last.message}; {next_step}"
        if all(_parks(failure) for failure in failures):
            return ModelsParked(text)
        return RunError(text, retryable=any(failure.kind in _PASSES for failure in failures))

    def _settings_of(self, provider: str) -> ProviderSettings:
        return self._product.providers.get(provider) or ProviderSettings()


def _parks(failure: ProviderFailure) -> bool:
    """Say whether a failure means that a quota or a purse is empty, as the gate judges it."""
    long = failure.kind == "rate_limit" and (failure.retry_after or 0.0) >= LONG_WAIT
    return long or failure.kind in ("quota", "billing")
