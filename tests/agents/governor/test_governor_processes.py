"""The shared quota over processes, and over the loss of what they share it by."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.agents.governed import fleet, quiet, refusals, refused
from tests.services import RedisServer, until

from ezaigent.agents.governor.lane import WINDOW
from ezaigent.testing import Fault, Limits, ModelServer


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
    assert len(server.requests) <= 2 * WINDOW, "only what was under way before the first word of it"


async def run_workers(server: ModelServer, redis: str, *, calls: int) -> list[dict[str, int]]:
    """Run two worker processes that begin together; return what each printed."""
    root = Path(__file__).parents[3]
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
