"""A push service and a browser behind it: takes what is sent, and reads it as the browser would."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import http_ece  # pyright: ignore[reportMissingTypeStubs]
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02  # pyright: ignore[reportMissingTypeStubs]


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Client:
    """A browser's half of the keys."""

    name: str
    secret: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    auth: bytes = field(default_factory=lambda: b"sixteen bytes ok")

    @property
    def keys(self) -> dict[str, str]:
        point = self.secret.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {"p256dh": text(point), "auth": text(self.auth)}

    def read(self, body: bytes) -> dict[str, Any]:
        """Decrypt; raises for what was not meant for this browser."""
        opened: Any = http_ece.decrypt(body, private_key=self.secret, auth_secret=self.auth, version="aes128gcm")  # pyright: ignore[reportUnknownMemberType]
        return json.loads(opened)


@dataclass(frozen=True)
class Pushed:
    """One notification as it came."""

    client: str
    headers: dict[str, str]
    body: bytes
    note: dict[str, Any]

    def signed_by(self, public_key: str) -> dict[str, Any]:
        """Return the claims that the fleet signed; fails when another key did."""
        given = self.headers["authorization"]
        assert Vapid02.verify(given)  # pyright: ignore[reportUnknownMemberType]
        parts = dict(part.split("=", 1) for part in given.removeprefix("vapid ").split(","))
        assert parts["k"] == public_key
        claims = parts["t"].split(".")[1]
        return json.loads(base64.urlsafe_b64decode(claims + "=="))


@dataclass
class PushService:
    """Listens at ``url``; ``answer`` decides what it says to whom."""

    url: str = ""
    clients: dict[str, Client] = field(default_factory=dict[str, Client])
    got: list[Pushed] = field(default_factory=list[Pushed])
    answer: Callable[[str, int], int] = lambda _client, _times: 201
    asked: dict[str, int] = field(default_factory=dict[str, int])
    news: asyncio.Event = field(default_factory=asyncio.Event)
    hold: asyncio.Event | None = None
    """Nobody is answered before it."""

    def client(self, name: str) -> Client:
        return self.clients.setdefault(name, Client(name))

    def endpoint(self, name: str) -> str:
        self.client(name)
        return f"{self.url}/push/{name}"

    def notes(self, name: str) -> list[dict[str, Any]]:
        return [one.note for one in self.got if one.client == name]

    async def take(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        body = await request.read()
        self.asked[name] = self.asked.get(name, 0) + 1
        status = self.answer(name, self.asked[name])
        if self.hold is not None:
            self.news.set()
            await self.hold.wait()
        if status < 300:
            headers = {key.lower(): value for key, value in request.headers.items()}
            self.got.append(Pushed(name, headers, body, self.client(name).read(body)))
        self.news.set()
        return web.Response(status=status)

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(30):
            while not done():
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def push_service() -> AsyncGenerator[PushService]:
    """Run a push service while the block runs."""
    service = PushService()
    app = web.Application()
    app.router.add_post("/push/{name}", service.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    service.url = f"http://{host}:{port}"
    try:
        yield service
    finally:
        await runner.cleanup()
