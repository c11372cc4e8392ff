"""One request's way through the server: what is asked, what goes wrong, what is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from ezaigent.testing.conversation import Conversation, Reply, ToolCall, Turn
from ezaigent.testing.faults import REFUSALS, Fault
from ezaigent.testing.record import RequestRecord
from ezaigent.testing.usage import count, input_tokens

if TYPE_CHECKING:
    from ezaigent.testing.limits import Standing
    from ezaigent.testing.server import ModelServer
    from ezaigent.testing.wires.base import Wire

_HARMLESS = ("user-agent", "anthropic-version", "anthropic-beta", "idempotency-key", "x-stainless-retry-count")
_JSON = "application/json"


async def serve(server: ModelServer, request: web.BaseRequest, route: tuple[Wire, str, str, str]) -> web.StreamResponse:
    """Answer one model request and record how it ended."""
    wire, provider, model, verb = route
    # Read from the stream: request.read() would refuse long conversations at 1 MiB.
    body = await request.content.read()
    try:
        parsed: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):
        status, content, headers = wire.error("bad_request", None, message=None, retry_after=None)
        return web.Response(status=status, body=content, content_type=_JSON, headers=headers)
    turn = wire.turn(provider, model, parsed)  # pyright: ignore[reportUnknownArgumentType]
    turn.stream = turn.stream or verb == "stream"
    turn.headers = {name: request.headers[name] for name in _HARMLESS if name in request.headers}
    if verb == "count":
        tokens = input_tokens(turn)
        return web.Response(body=orjson.dumps({"input_tokens": tokens, "totalTokens": tokens}), content_type=_JSON)
    return await Exchange(server, request, wire, turn).run()


def sent_key(request: web.BaseRequest) -> str | None:
    """Return the API key of a request, wherever its provider puts it."""
    headers = request.headers
    bearer = headers.get("authorization", "")
    if bearer[:7].lower() == "bearer ":
        return bearer[7:].strip() or None
    return headers.get("x-api-key") or headers.get("x-goog-api-key") or request.query.get("key") or None


class Exchange:
    """The work on one request."""

    def __init__(self, server: ModelServer, request: web.BaseRequest, wire: Wire, turn: Turn) -> None:
        """Open the record of the request."""
        self._server = server
        self._request = request
        self._wire = wire
        self._turn = turn
        self._conversation = Conversation(turn)
        key = sent_key(request)
        ledger = server.ledger
        self.record = RequestRecord(
            number=len(ledger.records) + 1,
            provider=turn.provider,
            model=turn.model,
            api=turn.api,
            stream=turn.stream,
            conversation=turn.fingerprint(),
            step=self._conversation.replies,
            key=None if key is None else ledger.mark(key),
            at=time.monotonic(),
        )
        server.opened(self.record, turn)

    async def run(self) -> web.StreamResponse:
        """Answer, and note the outcome whatever happens."""
        record = self.record
        try:
            return await self._answer()
        except asyncio.CancelledError:
            # aiohttp cancels the handler when the client goes away; so does the server's own end.
            record.outcome = "cut"
            raise
        finally:
            record.seconds = time.monotonic() - record.at
            if record.outcome == "pending":
                record.outcome = "cut"
            self._server.changed()

    async def _answer(self) -> web.StreamResponse:
        server, turn = self._server, self._turn
        if self.record.key is None and server.require_key:
            return await self._refuse(Fault("auth"), "no_key")
        fault = server.next_fault(turn)
        if fault is not None and fault.kind in REFUSALS:
            return await self._refuse(fault)
        standing = None
        if server.limiter.active:
            standing = server.limiter.take(self.record.key, turn.provider, turn.model, input_tokens(turn))
        if standing is not None and standing.retry_after > 0:
            limited = Fault("rate_limit", retry_after=standing.retry_after)
            return await self._refuse(limited, "limit", standing)
        try:
            reply = await server.script(turn, self._conversation)
        except Exception as error:  # noqa: BLE001 - a broken script is the test's error; it is raised at the server's end
            server.script_errors.append(error)
            return await self._refuse(Fault("server_error", message=f"the script failed: {error!r}"), "script")
        if fault is None and reply.fault is not None and reply.fault.strikes(turn):
            fault = reply.fault
        if fault is not None and fault.kind in REFUSALS:
            return await self._refuse(fault)
        await self._wait(reply, fault)
        return await self._send(_bend(reply, fault, self._wire), fault, standing)

    async def _wait(self, reply: Reply, fault: Fault | None) -> None:
        if fault is not None:
            self.record.fault = fault.kind
            if fault.kind == "hang":
                self._server.changed()
                await self._server.released()
            elif fault.kind == "slow_first_byte":
                await asyncio.sleep(fault.seconds)
        latency = self._server.latency if reply.latency is None else reply.latency
        if latency > 0:
            await asyncio.sleep(latency)

    async def _refuse(
        self, fault: Fault, name: str | None = None, standing: Standing | None = None
    ) -> web.StreamResponse:
        self.record.outcome = "faulted"
        self.record.fault = name or fault.kind
        status, body, headers = self._wire.error(
            fault.kind, self._turn, message=fault.message, retry_after=fault.retry_after
        )
        if standing is not None:
            headers = {**headers, **self._wire.limit_headers(standing)}
        response = web.Response(status=fault.status or status, body=body, content_type=_JSON, headers=headers)
        await response.prepare(self._request)
        await response.write_eof()
        return response

    async def _send(self, reply: Reply, fault: Fault | None, standing: Standing | None) -> web.StreamResponse:
        usage = count(self._turn, reply)
        self.record.input_tokens, self.record.output_tokens = usage.input_tokens, usage.output_tokens
        headers = {} if standing is None else self._wire.limit_headers(standing)
        if self._turn.stream:
            return await self._send_stream(self._wire.events(self._turn, reply, usage), fault, headers)
        body = self._wire.whole(self._turn, reply, usage)
        kind = None if fault is None else fault.kind
        if kind == "stream_error":
            assert fault is not None
            return await self._refuse(replace(fault, kind="overloaded"), "stream_error")
        if kind in {"cut_stream", "truncated_stream"}:
            assert fault is not None
            return await self._cut(body, fault.at, _JSON, headers, length=len(body))
        if kind == "malformed_json":
            return await self._whole(body[: len(body) // 2], _JSON, headers, good=False)
        return await self._whole(body, _JSON, headers)

    async def _send_stream(
        self, events: list[bytes], fault: Fault | None, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        kind = "text/event-stream"
        good = True
        if fault is not None:
            share = max(1, min(len(events) - 1, int(len(events) * fault.at)))
            if fault.kind == "cut_stream":
                return await self._cut(b"".join(events), fault.at, kind, headers, length=None)
            if fault.kind == "truncated_stream":
                events, good = events[:share], False
            elif fault.kind == "stream_error":
                events, good = [*events[:share], self._wire.error_event(fault.message or "Overloaded")], False
            elif fault.kind == "malformed_json":
                # The event keeps its name and loses the end of its JSON, so that no client may skip it.
                middle = len(events) // 2
                events, good = list(events), False
                events[middle] = events[middle].rstrip()[:-2] + b"\n\n"
        if self._server.chunk_delay <= 0:
            return await self._whole(b"".join(events), kind, headers, good=good)
        response = web.StreamResponse(headers={**headers, "content-type": kind})
        await response.prepare(self._request)
        for event in events:
            await response.write(event)
            await self._breathe()
        await response.write_eof()
        self._close_record(good=good)
        return response

    async def _breathe(self) -> None:
        """Wait as long as the server now says that one waits between two events, also if it says so meanwhile."""
        clock = asyncio.get_running_loop().time
        began = clock()
        while (left := began + self._server.chunk_delay - clock()) > 0:  # noqa: ASYNC110 - it may change meanwhile
            await asyncio.sleep(min(left, 0.1))

    async def _whole(
        self, body: bytes, kind: str, headers: Mapping[str, str], *, good: bool = True
    ) -> web.StreamResponse:
        response = web.Response(body=body, content_type=kind, headers=headers)
        await response.prepare(self._request)
        await response.write_eof()
        self._close_record(good=good)
        return response

    async def _cut(
        self, body: bytes, at: float, kind: str, headers: Mapping[str, Any], *, length: int | None
    ) -> web.StreamResponse:
        """Send a part of the reply, then break the connection as a dying server would."""
        self.record.outcome = "cut"
        response = web.StreamResponse(headers={**headers, "content-type": kind})
        response.content_length = length
        await response.prepare(self._request)
        await response.write(body[: max(1, min(len(body) - 1, int(len(body) * at)))])
        if self._request.transport is not None:
            self._request.transport.close()
        return response

    def _close_record(self, *, good: bool) -> None:
        transport = self._request.transport
        open_still = transport is not None and not transport.is_closing()
        self.record.outcome = "cut" if not open_still else "finished" if good else "faulted"


def _bend(reply: Reply, fault: Fault | None, wire: Wire) -> Reply:
    """Return the reply with the fault worked in."""
    if fault is None:
        return reply
    if fault.kind == "empty":
        return replace(reply, text="", tool_calls=(), reasoning="")
    if fault.kind == "wrong_tool":
        first, *rest = reply.tool_calls or (ToolCall("", {}),)
        return replace(reply, tool_calls=(replace(first, name="no_such_tool"), *rest))
    if fault.kind == "bad_arguments" and reply.tool_calls:
        first, *rest = reply.tool_calls
        stray = wire.stray_arguments
        arguments: str | dict[str, Any] = '{"path": "a.py", "text": "unfinis' if stray else {"no_such_argument": [None]}
        return replace(reply, tool_calls=(replace(first, arguments=arguments), *rest))
    return reply
