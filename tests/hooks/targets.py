"""A program that receives webhooks, and says what it got."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Got:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def seq(self) -> int:
        return int(self.event["data"]["seq"])

    def signed_with(self, secret: str) -> bool:
        """Verify as the Standard Webhooks specification says, written here a second time."""
        key = base64.b64decode(secret.split("_", 1)[1])
        text = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
        return self.headers["webhook-signature"] == f"v1,{expected}"


@dataclass
class Receiver:
    """Receives at ``url``; ``answer`` decides what it says."""

    url: str = ""
    got: list[Got] = field(default_factory=list[Got])
    answer: Callable[[Got], int] = lambda _: 204
    location: str = ""
    silent: bool = False
    _never: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        got = Got(request.path_qs, dict(request.headers.items()), await request.read())
        self.got.append(got)
        if self.silent:
            await self._never.wait()
        headers = {"Location": self.location} if self.location else {}
        return web.Response(status=self.answer(got), headers=headers)

    def release(self) -> None:
        """Answer whatever waits."""
        self.silent = False
        self._never.set()

    def seqs(self) -> list[int]:
        return [one.seq for one in self.got]


@asynccontextmanager
async def receiving(port: int = 0) -> AsyncGenerator[Receiver]:
    """Receive on this machine while the block runs."""
    receiver = Receiver()
    app = web.Application(client_max_size=16 * 1024**2)
    app.router.add_route("*", "/{tail:.*}", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    where = runner.addresses[0]
    receiver.url = f"http://127.0.0.1:{where[1]}/hook"
    try:
        yield receiver
    finally:
        receiver.release()
        await runner.cleanup()
