"""Every failure of every provider, as it really comes over the wire, means one thing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.exceptions import ContentFilterError, ModelHTTPError, UnexpectedModelBehavior, UserError
from pydantic_ai.messages import ModelRequest
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.settings import ModelSettings
from tests.agents.canned_server import Answer, canned_server

from ezaigent.agents.provider_errors import classify, scrub
from ezaigent.agents.provider_failure import ProviderFailure
from ezaigent.agents.providers import build_model
from ezaigent.agents.transport import Transport
from ezaigent.core.errors import StaleFence
from ezaigent.core.settings import Settings

MODELS = {
    "anthropic": "anthropic:claude-opus-5-5",
    "openai": "openai:gpt-6.1-sol",
    "deepseek": "deepseek:deepseek-v4-pro",
    "mistral": "mistral:mistral-large-4",
    "google": "google:gemini-4-argon",
    "vllm": "vllm:qwen3",
}


async def failure_of(provider: str, answer: Answer, *, timeout: float = 5.0, url: str | None = None) -> ProviderFailure:
    async with canned_server(answer) as server, Transport() as transport:
        given = {"base_url": url or server.url + "/v1", "timeout": timeout, "api_key": "sk-secret-of-test"}
        settings = Settings.model_validate({"home": Path("/nowhere"), "providers": {provider: given}})
        model = build_model(MODELS[provider], settings, transport)
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, it must be understood
            await model.request(
                [ModelRequest.user_text_prompt("hello")], ModelSettings(max_tokens=9), ModelRequestParameters()
            )
    return classify(caught.value, secrets=["sk-secret-of-test"])


def claude(kind: str, message: str) -> Any:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def oai(message: str, *, code: str | None = None, kind: str | None = None) -> Any:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def goog(code: int, status: str, message: str, *details: Any) -> Any:
    return {"error": {"code": code, "status": status, "message": message, "details": list(details)}}


def google_quota(*ids: str) -> Any:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": one} for one in ids]}


GOOGLE_RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17.5s"}
GOOGLE_429 = "You exceeded your current quota, please check your plan and billing details."

# ruff: noqa: E501 - one row, one failure
SPOKEN: list[tuple[str, int, Any, str]] = [
    # Anthropic
    ("anthropic", 429, claude("rate_limit_error", "This request would exceed your rate limit of 50 per minute"), "rate_limit"),
    ("anthropic", 529, claude("overloaded_error", "Overloaded"), "overload"),
    ("anthropic", 500, claude("api_error", "Internal server error"), "transient"),
    ("anthropic", 504, claude("timeout_error", "Request timed out"), "transient"),
    ("anthropic", 400, claude("invalid_request_error", "Your credit balance is too low to access the API."), "billing"),
    ("anthropic", 402, claude("billing_error", "There is an issue with your billing"), "billing"),
    ("anthropic", 400, claude("invalid_request_error", "messages: roles must alternate"), "permanent"),
    ("anthropic", 401, claude("authentication_error", "invalid x-api-key"), "permanent"),
    ("anthropic", 404, claude("not_found_error", "model: claude-opus-5-5"), "permanent"),
    # OpenAI
    ("openai", 429, oai("Rate limit reached for gpt-6.1-sol in organization org on tokens per min (TPM)", code="rate_limit_exceeded"), "rate_limit"),
    ("openai", 429, oai(GOOGLE_429, code="insufficient_quota", kind="insufficient_quota"), "quota"),
    ("openai", 429, oai("Billing hard limit has been reached", code="billing_hard_limit_reached"), "billing"),
    ("openai", 500, oai("The server had an error", kind="server_error"), "transient"),
    ("openai", 502, "<html>Bad gateway</html>", "transient"),
    ("openai", 503, oai("The engine is currently overloaded", kind="overloaded"), "overload"),
    ("openai", 401, oai("Incorrect API key provided: sk-secre*****test.", code="invalid_api_key"), "permanent"),
    ("openai", 403, oai("Country, region, or territory not supported"), "permanent"),
    ("openai", 404, oai("The model `x` does not exist", code="model_not_found"), "permanent"),
    ("openai", 408, oai("Request timeout"), "transient"),
    ("openai", 409, oai("The request conflicts"), "transient"),
    ("openai", 418, oai("I'm a teapot"), "permanent"),
    # DeepSeek
    ("deepseek", 402, oai("Insufficient Balance", kind="unknown_error", code="invalid_request_error"), "billing"),
    ("deepseek", 429, oai("Rate limit reached"), "rate_limit"),
    ("deepseek", 503, oai("The server is overloaded due to high traffic"), "overload"),
    ("deepseek", 422, oai("Invalid parameters"), "permanent"),
    # Mistral
    ("mistral", 429, {"object": "error", "message": "Requests rate limit exceeded", "type": "rate_limited", "code": "1300"}, "rate_limit"),
    ("mistral", 429, {"message": "Service tier capacity exceeded for this model", "type": "x", "code": "3505"}, "overload"),
    ("mistral", 402, {"message": "Payment required", "code": "1"}, "billing"),
    ("mistral", 422, {"detail": [{"type": "missing", "loc": ["body", "model"], "msg": "Field required", "input": {}}]}, "permanent"),
    ("mistral", 500, {"message": "Service unavailable", "code": "3000"}, "transient"),
    # Google
    ("google", 429, goog(429, "RESOURCE_EXHAUSTED", GOOGLE_429, google_quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"), GOOGLE_RETRY), "rate_limit"),
    ("google", 429, goog(429, "RESOURCE_EXHAUSTED", GOOGLE_429, google_quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), GOOGLE_RETRY), "quota"),
    ("google", 503, goog(503, "UNAVAILABLE", "The model is overloaded. Please try again later."), "overload"),
    ("google", 500, goog(500, "INTERNAL", "An internal error has occurred"), "transient"),
    ("google", 504, goog(504, "DEADLINE_EXCEEDED", "Deadline exceeded"), "transient"),
    ("google", 400, goog(400, "FAILED_PRECONDITION", "Please enable billing on your project"), "billing"),
    ("google", 400, goog(400, "INVALID_ARGUMENT", "Invalid JSON payload received"), "permanent"),
    ("google", 403, goog(403, "PERMISSION_DENIED", "denied"), "permanent"),
    # gateways and local servers
    ("vllm", 429, oai("Insufficient balance, please top up"), "billing"),
    ("vllm", 429, oai("You have reached your monthly limit"), "quota"),
    ("vllm", 429, "slow down", "rate_limit"),
    ("vllm", 403, oai("Insufficient balance"), "billing"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "status", "body", "kind"),
    SPOKEN,
    ids=[f"{one[0]}-{one[1]}-{one[3]}-{n}" for n, one in enumerate(SPOKEN)],
)
async def test_what_a_provider_says(provider: str, status: int, body: Any, kind: str) -> None:
    failure = await failure_of(provider, Answer(status=status, body=body))
    assert failure.kind == kind
    assert failure.status == status
    assert failure.bill == "refused"
    assert not failure.too_long
    assert "secret" not in failure.message
    assert "\n" not in failure.message


@pytest.mark.parametrize(
    ("provider", "status", "body"),
    [
        ("anthropic", 400, claude("invalid_request_error", "prompt is too long: 1000123 tokens > 1000000 maximum")),
        ("anthropic", 413, claude("request_too_large", "Request exceeds the maximum size")),
        ("openai", 400, oai("This model's maximum context length is 8192 tokens", code="context_length_exceeded")),
        ("deepseek", 400, oai("This model's maximum context length is 131072 tokens", kind="invalid_request_error")),
        ("mistral", 400, {"message": "Prompt contains 99 tokens, too large for model", "code": "3051"}),
        ("google", 400, goog(400, "INVALID_ARGUMENT", "The input token count (2000000) exceeds the maximum")),
        ("vllm", 400, oai("maximum context length is 4096 tokens. However, you requested 5000")),
    ],
)
async def test_a_prompt_that_is_too_long_is_told_apart(provider: str, status: int, body: Any) -> None:
    failure = await failure_of(provider, Answer(status=status, body=body))
    assert (failure.kind, failure.too_long) == ("permanent", True)


@pytest.mark.parametrize("provider", sorted(MODELS))
@pytest.mark.parametrize(
    ("answer", "timeout"),
    [(Answer(drop=True), 5.0), (Answer(cut=True), 5.0), (Answer(hang=True), 0.2), (Answer(body='{"id": '), 5.0)],
    ids=["dropped", "cut", "hanging", "malformed"],
)
async def test_a_broken_answer_is_transient_and_may_be_billed(provider: str, answer: Answer, timeout: float) -> None:
    failure = await failure_of(provider, answer, timeout=timeout)
    assert (failure.kind, failure.bill, failure.status) == ("transient", "lost", None)


@pytest.mark.parametrize("provider", sorted(MODELS))
async def test_an_unreachable_server_is_transient_and_free(provider: str, unused_tcp_port: int) -> None:
    failure = await failure_of(provider, Answer(body={}), url=f"http://127.0.0.1:{unused_tcp_port}/v1")
    assert (failure.kind, failure.bill) == ("transient", "refused")


async def test_waits_are_read_in_every_spelling() -> None:
    busy = claude("rate_limit_error", "slow down")
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    for headers, low, high in (
        ({"Retry-After": "12"}, 12, 12),
        ({"Retry-After": "1.5"}, 1.5, 1.5),
        ({"retry-after-ms": "250"}, 0.25, 0.25),
        ({"Retry-After": later}, 80, 91),
    ):
        failure = await failure_of("anthropic", Answer(status=429, body=busy, headers=headers))
        assert failure.retry_after is not None
        assert low <= failure.retry_after <= high
    for headers in ({}, {"Retry-After": "soon"}, {"Retry-After": "-1"}):
        failure = await failure_of("anthropic", Answer(status=429, body=busy, headers=headers))
        assert failure.retry_after is None
    body = goog(429, "RESOURCE_EXHAUSTED", GOOGLE_429, google_quota("PerMinute"), GOOGLE_RETRY)
    assert (await failure_of("google", Answer(status=429, body=body))).retry_after == 17.5


def test_what_comes_from_elsewhere() -> None:
    assert classify(TimeoutError()).kind == "transient"
    assert classify(ConnectionRefusedError(111, "refused")).bill == "refused"
    assert classify(UnexpectedModelBehavior("no choices in the answer")).kind == "transient"
    assert classify(ContentFilterError("filtered")).kind == "permanent"
    assert classify(UserError("wrong use")) == ProviderFailure("permanent", "UserError: wrong use")
    assert classify(StaleFence("another run owns it")).kind == "permanent"
    assert classify(TypeError("our own mistake")).kind == "permanent"
    with pytest.raises(ValueError, match="Expecting") as malformed:
        json.loads("{")
    assert classify(malformed.value).kind == "transient"
    assert classify(ModelHTTPError(599, "m")).kind == "transient"


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("Incorrect API key provided: sk-proj-abcdef123456.", "abcdef123456"),
        ("Authorization: Bearer abcdefghijk", "abcdefghijk"),
        ("GET https://x/v1?key=AIzaSyD-abcdefgh failed", "abcdefgh"),
        ("header 'x-api-key': 'qwertyuiop'", "qwertyuiop"),
        ("connect to http://user:hunter2@proxy:3128 failed", "hunter2"),
        ("your key is zzz-in-no-known-shape", "zzz-in-no-known-shape"),
    ],
)
def test_keys_are_blotted_out(text: str, gone: str) -> None:
    assert gone not in scrub(text, ["zzz-in-no-known-shape", ""])


def test_a_message_is_one_short_line() -> None:
    told = scrub("a\n b\t" + "c" * 1000)
    assert told.startswith("a b c")
    assert len(told) == 300
