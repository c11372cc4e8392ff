"""Scripted servers and the wire formats to test them on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.testing.providers import APIS, Serve

from ezaigent.testing import ModelServer, Script


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start servers that end with the test."""
    async with AsyncExitStack() as stack:

        async def start(script: Script, **options: Any) -> ModelServer:
            return await stack.enter_async_context(ModelServer(script, **options))

        yield start


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest) -> str:
    """Each wire format in turn."""
    return str(request.param)
