"""From ``provider:name`` to a model that speaks the provider's own API over the shared transport.

The SDKs' own retries are off everywhere: waiting, trying again and failing over are decided in one place
(``resilient``), where they are counted, told and paid for once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from ezaigent.agents.transport import Transport
from ezaigent.core.errors import UnavailableError, UsageError
from ezaigent.core.settings import ProviderSettings, Settings
from ezaigent.costs import NATIVE, private_host

if TYPE_CHECKING:
    from pydantic_ai.models import Model

KEY_VARIABLES: Final[dict[str, tuple[str, ...]]] = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "google": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
}
"""Environment variables that hold each provider's key; the first one set counts."""

_NO_KEY: Final = "none"
"""Sent to private servers, which ask for no key; the SDKs insist on something."""


def variables_of(provider: str) -> tuple[str, ...]:
    """Return the names of the environment variables that are looked at for the provider's key."""
    return KEY_VARIABLES.get(provider, (f"{provider.upper().replace('-', '_')}_API_KEY",))


def keys_present(settings: Settings) -> dict[str, bool]:
    """Return for each provider whether it can be called: its key is set, or its server is private and needs none."""
    names = [*KEY_VARIABLES, *(name for name in settings.providers if name not in KEY_VARIABLES)]
    return {name: key_of(name, _settings_of(name, settings)) is not None for name in names}


def secrets_of(settings: Settings) -> frozenset[str]:
    """Return every key in use, so that texts can be scrubbed of them."""
    keys = {key_of(name, _settings_of(name, settings)) for name in (*KEY_VARIABLES, *settings.providers)}
    keys |= {one.api_key.get_secret_value() for given in settings.providers.values() for one in given.keys}
    return frozenset(key for key in keys if key and key != _NO_KEY)


def build_model(model_id: str, settings: Settings, transport: Transport, *, key: str | None = None) -> Model:
    """Return the model ``provider:name``, the same object each time for one transport and unchanged settings.

    ``key`` is one of several keys of the provider; left out: the only one, or the first.

    Raises ``UsageError`` for a malformed name or an unknown provider without ``base_url``, and ``UnavailableError``
    naming the variable where the provider's key is missing.
    """
    provider, colon, name = model_id.partition(":")
    if not (provider and colon and name):
        raise UsageError(f'model {model_id!r} is wrong; write it as "provider:name"')
    given = _settings_of(provider, settings)
    if provider not in NATIVE and not given.base_url:
        raise UsageError(f"unknown provider {provider!r} in {model_id!r}; set base_url in [providers.{provider}]")
    key = key or key_of(provider, given)
    if key is None:
        wanted = " or ".join(variables_of(provider))
        raise UnavailableError(f"no key for provider {provider!r}; set {wanted}")
    known = _built.setdefault(transport, {})
    place = (model_id, given.base_url, given.api, given.timeout, key)
    if place not in known:
        known[place] = _MAKERS.get(provider, _compatible)(provider, name, key, given, transport)
    return known[place]


_built: WeakKeyDictionary[Transport, dict[tuple[object, ...], Model]] = WeakKeyDictionary()
"""Models are stateless and dear to build (each SDK client takes milliseconds), so runs share them."""


def _settings_of(provider: str, settings: Settings) -> ProviderSettings:
    return settings.providers.get(provider) or ProviderSettings()


def key_of(provider: str, given: ProviderSettings) -> str | None:
    """Return the provider's key, the first of several; None where there is none and one is needed."""
    if given.keys:
        return given.keys[0].api_key.get_secret_value()
    if given.api_key is not None:
        return given.api_key.get_secret_value()
    for variable in variables_of(provider):
        if value := os.environ.get(variable, "").strip():
            return value
    return _NO_KEY if private_host(given.base_url) else None


def _trimmed(url: str | None, suffix: str) -> str | None:
    """Return ``url`` without the version that the SDK adds by itself, so that either spelling works."""
    return url.rstrip("/").removesuffix(suffix) if url else None


def _anthropic(_: str, name: str, key: str, given: ProviderSettings, transport: Transport) -> Model:
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel, AnthropicModelSettings
    from pydantic_ai.providers.anthropic import AnthropicProvider

    from ezaigent.agents.remembering import remembering

    client = AsyncAnthropic(
        api_key=key,
        base_url=_trimmed(given.base_url, "/v1"),
        http_client=transport.client(timeout=given.timeout),
        timeout=given.timeout,
        max_retries=0,
    )
    # An agent's next request repeats the whole history: without cache marks every step pays for all of it again.
    caching = AnthropicModelSettings(
        anthropic_cache_instructions="5m", anthropic_cache_tool_definitions="5m", anthropic_cache_messages="5m"
    )
    return remembering(AnthropicModel)(name, provider=AnthropicProvider(anthropic_client=client), settings=caching)


def _google(_: str, name: str, key: str, given: ProviderSettings, transport: Transport) -> Model:
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    from ezaigent.agents.remembering import remembering

    provider = GoogleProvider(
        api_key=key,
        base_url=_trimmed(given.base_url, "/v1beta"),
        http_client=transport.client(timeout=given.timeout),
    )
    return remembering(GoogleModel)(name, provider=provider)


def _mistral(_: str, name: str, key: str, given: ProviderSettings, transport: Transport) -> Model:
    from pydantic_ai.models.mistral import MistralModel
    from pydantic_ai.providers.mistral import MistralProvider
    from pydantic_ai.settings import ModelSettings

    from ezaigent.agents.remembering import remembering

    provider = MistralProvider(
        api_key=key, base_url=_trimmed(given.base_url, "/v1"), http_client=transport.client(timeout=given.timeout)
    )
    # The SDK puts five minutes of its own over the client's timeout unless each request brings one.
    return remembering(MistralModel)(name, provider=provider, settings=ModelSettings(timeout=given.timeout))


def _deepseek(_: str, name: str, key: str, given: ProviderSettings, transport: Transport) -> Model:
    from pydantic_ai.providers.deepseek import DeepSeekProvider

    from ezaigent.agents.chat_model import ChatModel
    from ezaigent.agents.lean_openai import LeanOpenAI
    from ezaigent.agents.remembering import remembering

    client = LeanOpenAI(
        api_key=key,
        base_url=given.base_url or "https://api.deepseek.com",
        http_client=transport.client(timeout=given.timeout),
        timeout=given.timeout,
        max_retries=0,
    )
    return remembering(ChatModel)(name, provider=DeepSeekProvider(openai_client=client))


def _openai(_: str, name: str, key: str, given: ProviderSettings, transport: Transport) -> Model:
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    from ezaigent.agents.chat_model import ChatModel
    from ezaigent.agents.lean_openai import LeanOpenAI
    from ezaigent.agents.remembering import remembering

    client = LeanOpenAI(
        api_key=key,
        base_url=given.base_url or "https://api.openai.com/v1",
        http_client=transport.client(timeout=given.timeout),
        timeout=given.timeout,
        max_retries=0,
    )
    provider = OpenAIProvider(openai_client=client)
    itself = not given.base_url or urlsplit(given.base_url).hostname == "api.openai.com"
    if (given.api or ("responses" if itself else "chat")) == "responses":
        return remembering(OpenAIResponsesModel)(name, provider=provider)
    return remembering(ChatModel)(name, provider=provider)


def _compatible(provider: str, name: str, key: str, given: ProviderSettings, transport: Transport) -> Model:
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

    from ezaigent.agents.chat_model import ChatModel
    from ezaigent.agents.lean_openai import LeanOpenAI
    from ezaigent.agents.remembering import remembering

    client = LeanOpenAI(
        api_key=key,
        base_url=given.base_url,
        http_client=transport.client(timeout=given.timeout),
        timeout=given.timeout,
        max_retries=0,
    )
    # The provider's own name keeps its history apart from OpenAI's: encrypted reasoning never travels between them.
    compatible = OpenAICompatibleProvider(provider, openai_client=client)
    if given.api == "responses":
        return remembering(OpenAIResponsesModel)(name, provider=compatible)
    return remembering(ChatModel)(name, provider=compatible)


_MAKERS: Final[dict[str, Callable[[str, str, str, ProviderSettings, Transport], Model]]] = {
    "anthropic": _anthropic,
    "google": _google,
    "mistral": _mistral,
    "deepseek": _deepseek,
    "openai": _openai,
}
