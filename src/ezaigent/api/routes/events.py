"""``/api/v1/events``: the event log, live, as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from ezaigent.api.access import Access, Principal
from ezaigent.api.backstage import Caller, On, Stage
from ezaigent.api.gate import STREAM_KEY, needs, session_cookie
from ezaigent.api.hearing import Ear, with_speech
from ezaigent.api.models import Text
from ezaigent.api.problems import TOO_MANY, UNAVAILABLE, Refusal, documented
from ezaigent.api.window import Filter
from ezaigent.core.errors import UnavailableError
from ezaigent.live import Piece

router = APIRouter(prefix="/api/v1", tags=["events"], responses=documented())

HEARTBEAT: Final = 15.0
"""Seconds of silence after which a comment is sent, so that both ends know of each other."""
_STUCK: Final = 30.0
"""Seconds after which a client that takes nothing is let go."""
_RETRY: Final = (500, 1500)
"""Milliseconds, least and most, after which a browser comes again when the stream ended."""
_RETRY_EACH: Final = 3
"""Milliseconds more, at the most, for each stream that is open: all come again when a server has ended."""


class EventStream(Response):
    """An answer that goes on until the client or the server leaves."""

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncGenerator[bytes], stage: Stage) -> None:
        """Send ``pieces`` as they come."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._pieces = pieces
        self._fanout = stage.fanout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until either side has gone. A client that takes nothing is cut off, and what waits for it goes, too."""
        cut: Callable[[], None] = scope["state"]["cut"]
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_left(receive))
        with self._fanout.client(cut):
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done() and not sending.cancelled() and isinstance(sending.exception(), TimeoutError):
                    cut()
                    await leaving
            finally:
                for task in (sending, leaving):
                    task.cancel()
                await asyncio.wait({sending, leaving})
        if not sending.cancelled() and (error := sending.exception()) and not isinstance(error, TimeoutError):
            raise error

    async def _send(self, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for piece in self._pieces:
                async with asyncio.timeout(_STUCK):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._pieces.aclose()


def check_room(on: Stage) -> None:
    """Refuse a stream that the server has no room for, or no time."""
    if on.fanout.closing:
        raise Refusal(UNAVAILABLE, "the server is stopping; come again in a moment")
    if on.fanout.clients >= on.fanout.most:
        raise Refusal(TOO_MANY, f"{on.fanout.clients} streams are open, which is the most", {"Retry-After": "5"})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@router.get(
    "/events",
    operation_id="stream_events",
    openapi_extra={**needs(Access.READ), STREAM_KEY: True},
    response_class=EventStream,
    status_code=200,
    responses={
        200: {
            "description": "Server-sent events: ``id`` is the sequence number, ``event`` the kind, ``data`` the event "
            "as JSON. ``resync`` says that the client was too slow and is now caught up from the store; "
            "``bye`` that the server ends the stream; ``speech``, where asked for, is a piece of what a model says.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def stream_events(  # noqa: PLR0917 - FastAPI reads parameters as they are
    request: Request,
    on: On,
    caller: Caller,
    after: Annotated[
        int | None, Query(ge=0, le=2**62, description="Go on behind this number; left out: from now on.")
    ] = None,
    last_event_id: Annotated[str | None, Header(description="The same, sent by browsers; it wins.")] = None,
    kind: Annotated[
        list[Text] | None, Query(description="Only these kinds; ``task.`` means all that begin so.", max_length=100)
    ] = None,
    task: Annotated[Text | None, Query(description="Only events of this task.", max_length=64)] = None,
    agent: Annotated[Text | None, Query(description="Only events of this agent.", max_length=200)] = None,
    speech: Annotated[  # noqa: FBT002
        bool, Query(description="Also send what models say, as they say it, of the task or agent named, or of all.")
    ] = False,
) -> EventStream:
    """Follow the event log, with no gap and no duplicate, also over restarts of the server."""
    check_room(on)
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 19:  # noqa: PLR2004
        after = int(last_event_id)
    head = await on.fanout.head()
    place = (head if after is None else after, head)
    wanted = Filter(kinds=frozenset(kind or ()), task_id=task, agent=agent, private=caller.access >= Access.ADMIN)
    if speech:
        return EventStream(_with_speech(on, request, wanted, place), on)
    return EventStream(_pieces(on, request, wanted, place), on)


async def _with_speech(on: Stage, request: Request, wanted: Filter, place: tuple[int, int]) -> AsyncGenerator[bytes]:
    with on.hearing.listen(task_id=wanted.task_id, agent=wanted.agent) as ear:
        async with contextlib.aclosing(_pieces(on, request, wanted, place, ear)) as pieces:
            async for piece in pieces:
                yield piece


async def _pieces(
    on: Stage, request: Request, wanted: Filter, place: tuple[int, int], ear: Ear | None = None
) -> AsyncGenerator[bytes]:
    """Yield what is sent; ``place`` is where the client stands, and the end of the log."""
    caller = request.state.principal
    start, head = place
    at = min(start, head)
    yield _again(on) + b"id: %d\n\n" % at  # so that a client knows its place before the first event
    if start > head:  # another database, or an older copy of it
        yield _mark(b"resync", start, head)
    follower = on.fanout.follow(at, wanted, HEARTBEAT)
    batches = follower if ear is None else with_speech(follower, ear)
    checked = asyncio.get_running_loop().time()
    try:
        async for batch in batches:
            if isinstance(batch, list):
                yield b"".join(_spoken(piece) for piece in batch)
            else:
                if batch.resync:
                    yield _mark(b"resync", at, on.fanout.tip)
                at = batch.position
                yield batch.frames or b": still here\nid: %d\n\n" % at  # past what it does not want, too
            if (now := asyncio.get_running_loop().time()) - checked >= HEARTBEAT:
                checked = now
                if not await still_allowed(on, caller, request):
                    return
    except UnavailableError:
        pass  # the client comes again, and resumes
    finally:
        await batches.aclose()
        await follower.aclose()
    yield _again(on) + _mark(b"bye", at, on.fanout.tip)


def _again(on: Stage) -> bytes:
    """Tell a client when to come again, should the stream end: not all at the same time."""
    least, most = _RETRY
    return b"retry: %d\n" % random.randint(least, most + _RETRY_EACH * on.fanout.clients)  # noqa: S311 - no secret


async def still_allowed(on: Stage, caller: Principal, request: Request) -> bool:
    """Look whether the credential that opened the stream is still good, and as good."""
    if caller.via == "token":
        present = await on.accounts.by_token(request.headers["authorization"].partition(" ")[2].strip())
    else:
        present = await on.accounts.by_session(session_cookie(request.headers.get("cookie", "")) or "")
    return present is not None and present.access >= caller.access


def _spoken(piece: Piece) -> bytes:
    """Return a piece of speech: like a mark it has no id, for it is in no log."""
    return b"event: speech\ndata: %s\n\n" % piece.encode()


def _mark(name: bytes, after: int, head: int) -> bytes:
    """Return a mark: it has no id, so the client's position stays where it is."""
    return b"event: %s\ndata: %s\n\n" % (name, orjson.dumps({"after": after, "head": head}))
