"""What every request and answer must keep to: a request id, limits on headers and body, headers for browsers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ezaigent.api.problems import BROKEN, HEADERS, TOO_LARGE, Refusal, problem
from ezaigent.core.ids import new_id

log = structlog.get_logger(__name__)

CSP: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
"""For answers that are data; the setup page and a dashboard widen it by what they bring themselves."""

_MAX_HEADERS: Final = 16 * 1024
_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),  # with no-referrer a form of our own page would send Origin: null
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(self)"),
)
_UNLESS_SAID: Final = (
    (b"content-security-policy", CSP.encode()),
    (b"cache-control", b"no-store"),
)

Seen = Callable[[Scope, int, float], None]


class Hygiene:
    """ASGI, outermost."""

    def __init__(self, app: ASGIApp, *, max_body: int, seen: Seen) -> None:
        """Refuse bodies above ``max_body`` bytes; tell ``seen`` each request's status and seconds."""
        self._app = app
        self._max_body = max_body
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, whatever happens inside."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 0
        request_id = new_id()
        scope.setdefault("state", {})["request_id"] = request_id

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _dress(list(message.get("headers", ())), request_id)
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, _Limited(receive, self._max_body), dressed)
        except Refusal as refusal:
            if not status:
                answer = problem(refusal.kind, str(refusal), request_id, headers=refusal.headers)
                await answer(scope, receive, dressed)
        except Exception:
            log.exception("a request broke", request=request_id, path=scope["path"])
            if not status:
                await problem(BROKEN, f"tell whoever runs the server: {request_id}", request_id)(
                    scope, receive, dressed
                )
        finally:
            self._seen(scope, status, time.perf_counter() - begun)

    def _check(self, scope: Scope) -> None:
        size = 0
        for name, value in scope["headers"]:
            size += len(name) + len(value) + 4
            if name == b"content-length" and (not value.isdigit() or int(value) > self._max_body):
                raise Refusal(TOO_LARGE, f"a body has at most {self._max_body} bytes", {"Connection": "close"})
        if size > _MAX_HEADERS or len(scope["headers"]) > 100:  # noqa: PLR2004 - more than any client sends
            raise Refusal(HEADERS, f"headers have at most {_MAX_HEADERS} bytes together", {"Connection": "close"})


class _Limited:
    """Counts a body that does not say its length."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._left = most
        self._most = most

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                raise Refusal(TOO_LARGE, f"a body has at most {self._most} bytes", {"Connection": "close"})
        return message


def _dress(headers: list[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    said = {name.lower() for name, _ in headers}
    added = [pair for pair in _UNLESS_SAID if pair[0] not in said]
    return [*headers, *added, *_ALWAYS, (b"x-request-id", request_id.encode())]
