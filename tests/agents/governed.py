"""A small fleet for tests of the governor: workers with a bus each, resilient models, one scripted server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.messages import ModelRequest, ModelResponse
from pydantic_ai.models import ModelRequestParameters

from ezaigent.agents.governor import Governor
from ezaigent.agents.meter import Meter
from ezaigent.agents.patience import Patience
from ezaigent.agents.profiles import Profile
from ezaigent.agents.resilient import Reserve, ResilientModel
from ezaigent.agents.transport import Transport
from ezaigent.core.errors import RunError
from ezaigent.core.settings import Settings
from ezaigent.live import LiveBus, MemoryBus, open_bus
from ezaigent.testing import ModelServer

GPT, CLAUDE = "openai:gpt-test", "anthropic:claude-test"
QUICK = Patience(first=0.001, longest=0.002)


class Worker:
    """One worker: a governor, its connections, and what it told."""

    def __init__(self, settings: Settings, bus: LiveBus) -> None:
        self.news: list[tuple[str, Mapping[str, Any]]] = []
        self.notes: list[tuple[str, Mapping[str, Any]]] = []
        self.meter = Meter()
        self.settings = settings
        self.bus = bus
        self.transport = Transport()
        self.governor = Governor(settings, bus, news=self._told)

    async def _told(self, kind: str, data: Mapping[str, Any]) -> None:
        self.news.append((kind, data))

    def model(
        self,
        model: str = GPT,
        *,
        fallbacks: tuple[str, ...] = (),
        patience: Patience = QUICK,
        reserve: Reserve | None = None,
    ) -> ResilientModel:
        return ResilientModel(
            Profile(name="test", model=model, fallbacks=fallbacks, max_tokens=1_000, context_window=200_000),
            self.settings,
            self.transport,
            meter=self.meter,
            reserve=reserve,
            on_note=lambda kind, data: self.notes.append((kind, data)),
            gate=self.governor,
            patience=patience,
        )

    async def ask(self, model: str = GPT, **more: Any) -> ModelResponse:
        return await self.model(model, **more).request(
            [ModelRequest.user_text_prompt("Say hello.")], None, ModelRequestParameters()
        )

    def told(self, kind: str) -> list[Mapping[str, Any]]:
        return [data for one, data in self.news if one == kind]

    def noted(self, kind: str) -> list[Mapping[str, Any]]:
        return [data for one, data in self.notes if one == kind]


def settings_for(server_url: str, **providers: Mapping[str, Any]) -> Settings:
    """Settings whose providers are the scripted server; ``providers`` adds fields to each."""
    paths = {"openai": "/openai/v1", "anthropic": "/anthropic", "google": "/google", "mistral": "/mistral"}
    given = {
        name: {"base_url": server_url + path, "api_key": "test-key", "timeout": 20, **providers.get(name, {})}
        for name, path in (paths | {"deepseek": "/deepseek/v1"}).items()
    }
    return Settings.model_validate({"home": Path("/nowhere"), "providers": given})


@asynccontextmanager
async def fleet(
    server: ModelServer, count: int = 2, *, redis: str | None = None, **providers: Mapping[str, Any]
) -> AsyncGenerator[list[Worker]]:
    """Make workers that share one bus in the process, or one Redis with a client each."""
    settings = settings_for(server.url, **providers)
    async with AsyncExitStack() as stack:
        inside = MemoryBus()
        workers: list[Worker] = []
        for _ in range(count):
            bus = inside if redis is None else await open_bus(redis)
            stack.push_async_callback(bus.close)
            worker = Worker(settings, bus)
            await stack.enter_async_context(worker.transport)
            await stack.enter_async_context(worker.governor)
            workers.append(worker)
        yield workers


async def quiet(*workers: Worker) -> None:
    """Let what the governors do in the background end."""
    for _ in range(200):
        await asyncio.sleep(0.005)
        if not any(worker.governor.busy for worker in workers):
            return


def refusals(server: ModelServer) -> int:
    """Return how many calls met a limit."""
    return sum(record.fault in {"limit", "rate_limit"} for record in server.requests)


async def refused(worker: Worker, model: str = GPT, patience: Patience = QUICK) -> str:
    """Ask, and return why there was no answer."""
    with pytest.raises(RunError) as caught:
        await worker.ask(model, patience=patience)
    return str(caught.value)
