"""Commands of many callers, sent together: a thousand agents share one connection and few round trips."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from ezaigent.live.link import Link, LostError
from ezaigent.live.wire import Command

Exchange = Callable[[Sequence[Command]], Awaitable[list[Any]]]
"""Sends commands and returns a reply for each, a ``LostError`` where the server refused one."""

_BATCH: Final = 512


class Batcher:
    """One queue of commands in front of one connection."""

    def __init__(self, exchange: Exchange, link: Link) -> None:
        """Send through ``exchange`` while ``link`` is up."""
        self._exchange = exchange
        self._link = link
        self._pending: deque[tuple[Command, asyncio.Future[Any]]] = deque()
        self._sending: asyncio.Task[None] | None = None

    def post(self, *command: str | bytes | float) -> asyncio.Future[Any]:
        """Queue a command and return its reply to come; ``LostError`` at once while the link is lost."""
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self._link.up:
            reply.set_exception(LostError("the live bus is lost"))
            reply.exception()  # nobody has to look
            return reply
        self._pending.append((command, reply))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="live bus: sending")
        return reply

    async def call(self, *command: str | bytes | float) -> Any:
        """Send a command and return the reply; raises ``LostError``."""
        return await self.post(*command)

    async def close(self) -> None:
        """Return when everything queued was sent or has failed."""
        if self._sending is not None:
            await asyncio.wait([self._sending])

    async def _send(self) -> None:
        try:
            while self._pending:
                batch = [self._pending.popleft() for _ in range(min(_BATCH, len(self._pending)))]
                try:
                    replies = await self._exchange([command for command, _ in batch])
                except LostError as error:
                    self._link.lost(str(error))
                    replies = [error] * len(batch)
                    batch += self._pending
                    replies += [error] * len(self._pending)
                    self._pending.clear()
                for (_, reply), value in zip(batch, replies, strict=True):
                    self._answer(reply, value)
        finally:
            self._sending = None

    def _answer(self, reply: asyncio.Future[Any], value: Any) -> None:
        if isinstance(value, LostError):
            self._link.lost(str(value))
        if reply.done():  # the caller was cancelled
            return
        if isinstance(value, LostError):
            reply.set_exception(LostError(str(value)))
            reply.exception()
        else:
            reply.set_result(value)
