"""Several keys of one provider."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from tests.agents.governed import fleet, quiet, refusals

from ezaigent.testing import Fault, Limits, ModelServer

KEYS = [{"api_key": "sk-heavy-0123456789", "weight": 3}, {"api_key": "sk-light-0123456789", "weight": 1}]


async def test_keys_are_used_by_their_weights(server: ModelServer) -> None:
    async with fleet(server, 1, openai={"keys": KEYS}) as [worker]:
        for _ in range(40):
            await worker.ask()
    used = Counter(record.key for record in server.requests)
    assert used[server.key_mark("sk-heavy-0123456789")] in range(27, 34)
    assert used[server.key_mark("sk-light-0123456789")] in range(7, 14)


async def test_a_key_without_room_leaves_the_call_to_another(server: ModelServer) -> None:
    server.limit(Limits(requests=8, window=60.0))
    async with fleet(server, 1, openai={"keys": KEYS}) as [worker]:
        await asyncio.gather(*(worker.ask() for _ in range(14)))
    used = Counter(record.key for record in server.requests)
    assert refusals(server) == 0
    assert max(used.values()) <= 8


@pytest.mark.parametrize("kind", ["billing", "auth"])
async def test_a_key_that_is_out_is_left_out(server: ModelServer, kind: str) -> None:
    server.fail(Fault("billing" if kind == "billing" else "auth"))
    async with fleet(server, 1, openai={"keys": KEYS}) as [worker]:
        for _ in range(5):
            assert (await worker.ask()).text == "Hello."
        await quiet(worker)
        [alert] = worker.told("model.parked")
        assert alert["kind"] == kind
        assert "0123456789" not in str(worker.news) + str(worker.notes)
    used = Counter(record.key for record in server.requests)
    assert sorted(used.values()) == [1, 5]
