"""Each provider's own client, as pydantic-ai uses it, pointed at the scripted server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.mistral import MistralModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.deepseek import DeepSeekProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.mistral import MistralProvider
from pydantic_ai.providers.openai import OpenAIProvider

from ezaigent.testing import ModelServer, Script

KEY = "sk-test-0123456789"
APIS = ("openai-chat", "openai-responses", "anthropic", "google", "mistral", "deepseek")


class Serve(Protocol):
    """Starts a server that ends with the test."""

    async def __call__(self, script: Script, **options: Any) -> ModelServer: ...


@asynccontextmanager
async def model_for(api: str, server: ModelServer) -> AsyncGenerator[Model]:
    """Give pydantic-ai's model for one wire format, without the SDK's own retries."""
    if api == "anthropic":
        async with AsyncAnthropic(api_key=KEY, base_url=server.base_url("anthropic"), max_retries=0) as client:
            # With more output tokens to come, pydantic-ai streams even what was asked for plainly.
            yield AnthropicModel(
                "claude-haiku-4-5", provider=AnthropicProvider(anthropic_client=client), settings={"max_tokens": 4096}
            )
    elif api == "google":
        model = GoogleModel("gemini-2.5-pro", provider=GoogleProvider(api_key=KEY, base_url=server.base_url("google")))
        async with model:
            yield model
    elif api == "mistral":
        provider = MistralProvider(api_key=KEY, base_url=server.base_url("mistral"))
        async with MistralModel("mistral-large-latest", provider=provider) as model:
            yield model
    else:
        name = "deepseek" if api == "deepseek" else "openai"
        async with AsyncOpenAI(api_key=KEY, base_url=server.base_url(name), max_retries=0) as openai:
            if api == "deepseek":
                yield OpenAIChatModel("deepseek-chat", provider=DeepSeekProvider(openai_client=openai))
            elif api == "openai-responses":
                yield OpenAIResponsesModel("gpt-5", provider=OpenAIProvider(openai_client=openai))
            else:
                yield OpenAIChatModel("gpt-4.1", provider=OpenAIProvider(openai_client=openai))
