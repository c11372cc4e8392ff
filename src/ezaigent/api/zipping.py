"""Compresses large answers that are data, for those who take gzip."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LEAST: Final = 2048
"""Bytes below which an answer is sent as it is. Nothing that holds a secret is as large."""
_APART: Final = 64 * 1024
"""Bytes from which on it is done in a thread; other requests would feel the wait."""
_LEVEL: Final = 1
"""Of 9. Lists of JSON become hardly smaller by more, and it takes several times as long."""
_KINDS: Final = ("application/json", "application/openapi+json")


def accepts(takes: str, coding: str) -> bool:
    """Whether an ``Accept-Encoding`` names the coding and does not refuse it with ``q=0``."""
    for one in takes.split(","):
        name, _, weight = one.strip().lower().partition(";")
        if name.strip() == coding:
            return set(weight.partition("=")[2].strip()) - set("0.") != set() or "=" not in weight
    return False


class Zipping:
    """ASGI: compresses whole answers to GET. What comes in pieces, such as events, goes through as it comes."""

    def __init__(self, app: ASGIApp) -> None:
        """Compress what ``app`` answers."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        if not accepts(Headers(scope=scope).get("accept-encoding", ""), "gzip"):
            await self._app(scope, receive, send)
            return
        held: Message | None = None

        async def zipped(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _fit(message):
                held = message
                return
            if held is not None:
                start, held = held, None
                if not message.get("more_body", False):
                    message = {**message, "body": await _zip(message.get("body", b""))}
                    headers = MutableHeaders(raw=start["headers"])
                    headers["Content-Encoding"] = "gzip"
                    headers["Content-Length"] = str(len(message["body"]))
                    headers.add_vary_header("Accept-Encoding")
                await send(start)
            await send(message)

        await self._app(scope, receive, zipped)


def _fit(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    return (
        headers.get("content-type", "").partition(";")[0] in _KINDS
        and "content-encoding" not in headers
        and int(headers.get("content-length", "0")) >= _LEAST
    )


async def _zip(body: bytes) -> bytes:
    if len(body) < _APART:
        return _gzip(body)
    return await asyncio.to_thread(_gzip, body)


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()
