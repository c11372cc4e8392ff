"""Each provider's own API is spoken over the shared transport, with keys by their usual names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelRequest
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.settings import ModelSettings
from tests.agents.canned_server import Answer, anthropic, canned_server, chat, gemini, mistral, responses

from ezaigent.agents.providers import KEY_VARIABLES, build_model, keys_present, secrets_of, variables_of
from ezaigent.agents.transport import Transport
from ezaigent.core.errors import UnavailableError, UsageError
from ezaigent.core.settings import Settings


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for names in KEY_VARIABLES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)


def settings(**providers: Any) -> Settings:
    return Settings.model_validate({"home": Path("/nowhere"), "providers": providers})


def ask() -> list[ModelMessage]:
    return [ModelRequest.user_text_prompt("hello")]


CASES = [
    ("anthropic:claude-opus-5-5", anthropic(), "", "/v1/messages"),
    ("anthropic:claude-opus-5-5", anthropic(), "/v1", "/v1/messages"),
    ("openai:gpt-6.1-sol", chat(), "/v1", "/v1/chat/completions"),
    ("deepseek:deepseek-v4-pro", chat(), "/v1", "/v1/chat/completions"),
    ("mistral:mistral-large-4", mistral(), "/v1", "/v1/chat/completions"),
    ("google:gemini-4-argon", gemini(), "", "/v1beta/models/gemini-4-argon:generateContent"),
    ("google:gemini-4-argon", gemini(), "/v1beta", "/v1beta/models/gemini-4-argon:generateContent"),
    ("vllm:qwen3", chat(), "/v1", "/v1/chat/completions"),
]


@pytest.mark.parametrize(("model_id", "body", "suffix", "path"), CASES)
async def test_a_base_url_leads_to_the_providers_own_api(model_id: str, body: Any, suffix: str, path: str) -> None:
    provider, _, name = model_id.partition(":")
    async with canned_server(Answer(body=body)) as server, Transport() as transport:
        given = settings(**{provider: {"base_url": server.url + suffix, "api_key": "key-of-test"}})
        model = build_model(model_id, given, transport)
        response = await model.request(ask(), ModelSettings(max_tokens=50_000), ModelRequestParameters())
    assert response.text == "done"
    assert server.paths == [path]
    assert "key-of-test" in " ".join(server.headers[0].values())
    assert model.model_name == name


async def test_anthropic_marks_instructions_and_messages_for_the_cache() -> None:
    async with canned_server(Answer(body=anthropic())) as server, Transport() as transport:
        model = build_model("anthropic:claude-opus-5-5", settings(anthropic={"base_url": server.url}), transport)
        request = ModelRequest.user_text_prompt("hello", instructions="be brief")
        await model.request([request], ModelSettings(max_tokens=9), ModelRequestParameters())
    body = server.requests[0]
    assert body["max_tokens"] == 9
    assert body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "5m"}


@pytest.mark.parametrize("model_id", [case[0] for case in CASES])
async def test_no_sdk_tries_again_by_itself(model_id: str) -> None:
    provider = model_id.partition(":")[0]
    async with (
        canned_server(Answer(status=503, body={"error": {"message": "busy"}})) as server,
        Transport() as transport,
    ):
        model = build_model(model_id, settings(**{provider: {"base_url": server.url}}), transport)
        with pytest.raises(Exception, match="busy"):
            await model.request(ask(), ModelSettings(max_tokens=9), ModelRequestParameters())
    assert len(server.paths) == 1


async def test_openai_itself_gets_responses_and_others_chat_unless_told() -> None:
    async with Transport() as transport:
        key = {"api_key": "sk-x"}
        own = build_model("openai:gpt-6.1-sol", settings(openai=key), transport)
        assert isinstance(own, OpenAIResponsesModel)
        spelled = {**key, "base_url": "https://api.openai.com/v1"}
        assert isinstance(build_model("openai:gpt-6.1-sol", settings(openai=spelled), transport), OpenAIResponsesModel)
        gateway = {**key, "base_url": "https://gateway.example.com/v1"}
        assert isinstance(build_model("openai:gpt-6.1-sol", settings(openai=gateway), transport), OpenAIChatModel)
        told = {**gateway, "api": "responses"}
        assert isinstance(build_model("gate:x", settings(gate=told), transport), OpenAIResponsesModel)


async def test_responses_are_spoken() -> None:
    async with canned_server(Answer(body=responses())) as server, Transport() as transport:
        given = settings(openai={"base_url": server.url + "/v1", "api": "responses"})
        model = build_model("openai:gpt-6.1-sol", given, transport)
        response = await model.request(ask(), ModelSettings(max_tokens=9), ModelRequestParameters())
    assert server.paths == ["/v1/responses"]
    assert response.usage.output_reasoning_tokens == 3


async def test_a_model_is_built_once_for_unchanged_settings() -> None:
    async with Transport() as transport, Transport() as another:
        given = settings(openai={"api_key": "sk-x"})
        first = build_model("openai:gpt-6.1-sol", given, transport)
        assert build_model("openai:gpt-6.1-sol", given, transport) is first
        assert build_model("openai:gpt-6.1-sol", given, another) is not first
        assert build_model("openai:gpt-6.1-sol", settings(openai={"api_key": "sk-y"}), transport) is not first


@pytest.mark.parametrize("provider", sorted(KEY_VARIABLES))
async def test_a_missing_key_is_one_line_that_names_the_variable(provider: str) -> None:
    async with Transport() as transport:
        with pytest.raises(UnavailableError, match=KEY_VARIABLES[provider][0]):
            build_model(f"{provider}:x", settings(), transport)


async def test_a_private_server_needs_no_key_and_a_public_one_does() -> None:
    async with Transport() as transport:
        local = settings(ollama={"base_url": "http://localhost:11434/v1"})
        assert build_model("ollama:qwen3", local, transport).model_name == "qwen3"
        public = settings(router={"base_url": "https://router.example.com/v1"})
        with pytest.raises(UnavailableError, match="ROUTER_API_KEY"):
            build_model("router:x", public, transport)


@pytest.mark.parametrize("model_id", ["gpt", ":x", "openai:", "nowhere:x"])
async def test_a_malformed_or_unknown_model_is_a_usage_error(model_id: str) -> None:
    async with Transport() as transport:
        with pytest.raises(UsageError, match=r"model|provider"):
            build_model(model_id, settings(), transport)


def test_keys_are_reported_by_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "very-secret")
    given = settings(openai={"api_key": "also-secret"}, ollama={"base_url": "http://10.0.0.5:11434/v1"})
    assert keys_present(given) == {
        "anthropic": False,
        "openai": True,
        "deepseek": False,
        "mistral": False,
        "google": True,
        "ollama": True,
    }
    assert secrets_of(given) == {"very-secret", "also-secret"}
    assert variables_of("my-gate") == ("MY_GATE_API_KEY",)
