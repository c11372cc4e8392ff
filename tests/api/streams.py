"""Reading server-sent events in tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
from tests.api.conftest import Inside
from tests.services import until


class Sent(NamedTuple):
    """One event of a stream."""

    id: int | None
    event: str
    data: Any


async def read_stream(answer: httpx.Response) -> AsyncIterator[Sent]:
    """Yield what comes; a stream that only tells a place yields an event without a name."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
            continue
        if {"data", "id"} & fields.keys():
            data = json.loads(fields["data"]) if "data" in fields else None
            yield Sent(int(fields["id"]) if "id" in fields else None, fields.get("event", ""), data)
        fields = {}


async def collect(client: httpx.AsyncClient, count: int, *, seconds: float = 20, **params: Any) -> list[Sent]:
    """Return the first ``count`` named events of a stream."""
    headers = params.pop("headers", {})
    found: list[Sent] = []
    async with (
        asyncio.timeout(seconds),
        client.stream("GET", "/api/v1/events", params=params, headers=headers) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for sent in read_stream(answer):
            if sent.event:
                found.append(sent)
            if len(found) >= count:
                break
    return found


async def until_streams(served: Inside, count: int) -> None:
    """Return when so many streams are open."""
    async with served.client() as client:

        async def there() -> bool:
            return f"ezaigent_event_streams {count}.0" in (await client.get("/metrics")).text

        await until(there, what=f"{count} streams are open")
