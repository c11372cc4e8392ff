"""A model that says hello, and what the workers share their quotas over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ezaigent.testing import ModelServer, from_steps


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer(from_steps(["Hello."])) as made:
        yield made


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def redis(request: pytest.FixtureRequest) -> str | None:
    """Address of a Redis; None: the bus inside the process."""
    return None if request.param == "memory" else str(request.getfixturevalue("redis_database"))
