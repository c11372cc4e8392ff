"""The subscriptions of one process on the server: one connection for all its readers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from ezaigent.live.channels import Subscribers, Subscription
from ezaigent.live.link import ClosedError, Link, LostError
from ezaigent.live.wire import Wire

_QUIET: Final = 2.0  # seconds of silence after which the server is asked whether it is there
_CONFIRMED: Final = 2.0  # seconds that a new subscription waits for the server's word


class PubSub:
    """Listens to every channel that anybody here subscribed to."""

    def __init__(self, wire: Wire, link: Link, name: Callable[[str], str]) -> None:
        """Listen on ``wire``; ``name`` makes a channel's name on the server."""
        self._wire = wire
        self._link = link
        self._name = name
        self._subscribers = Subscribers()
        self._names: dict[bytes, str] = {}  # back from the server's names
        self._confirmed: dict[bytes, asyncio.Event] = {}
        self._wanted = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self._heard = False  # anything, on the present connection
        self._closed = False

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncGenerator[AsyncIterator[tuple[str, bytes]], None]:
        """Receive what is published on ``channels`` from here on."""
        subscription = Subscription(channels)
        if self._closed:
            subscription.close()
        try:
            await self._begin(subscription)
            yield subscription
        finally:
            await self._end(subscription)

    async def close(self) -> None:
        """End every subscription."""
        self._closed = True
        self._subscribers.dismiss()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        await self._wire.close()

    async def _begin(self, subscription: Subscription) -> None:
        if self._closed:
            return
        self._subscribers.add(subscription)
        new: list[bytes] = []
        for channel in subscription.channels:
            name = self._name(channel).encode()
            self._names[name] = channel
            if name not in self._confirmed:
                self._confirmed[name] = asyncio.Event()
                new.append(name)
        self._wanted.set()
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="live bus: subscriptions")
        with contextlib.suppress(LostError, TimeoutError):  # the listener notices, too, and reports it
            async with asyncio.timeout(_CONFIRMED):
                if new:
                    await self._wire.send("SUBSCRIBE", *new)
                for channel in subscription.channels:
                    if self._link.up and (event := self._confirmed.get(self._name(channel).encode())) is not None:
                        await event.wait()

    async def _end(self, subscription: Subscription) -> None:
        silent = [self._name(channel).encode() for channel in self._subscribers.remove(subscription)]
        for name in silent:
            self._names.pop(name, None)
            self._confirmed.pop(name, None)
        if not self._subscribers:
            self._wanted.clear()
        if silent and not self._closed:
            with contextlib.suppress(LostError, TimeoutError):
                async with asyncio.timeout(_CONFIRMED):
                    await self._wire.send("UNSUBSCRIBE", *silent)

    async def _listen(self) -> None:
        while True:
            await self._wanted.wait()
            await self._link.wait_up()
            self._heard = False
            try:
                await self._wire.reopen()
                if names := list(self._names):
                    await self._wire.send("SUBSCRIBE", *names)
                await self._receive()
            except ClosedError as error:
                if not self._heard:  # not merely cut: trying again at once would spin
                    self._link.lost(str(error))
            except LostError as error:
                self._link.lost(str(error))
            finally:
                for event in self._confirmed.values():
                    event.clear()

    async def _receive(self) -> None:
        asked = False
        while True:
            said = await self._wire.receive(_QUIET)
            if said is not None:
                asked = False
                self._heard = True
                self._hear(said)
            elif asked:
                raise LostError("the server does not answer on the connection for subscriptions")
            else:
                asked = True
                await self._wire.send("PING")

    def _hear(self, said: Any) -> None:
        match said:
            case [b"message", bytes() as name, bytes() as message]:
                if (channel := self._names.get(name)) is not None:
                    self._subscribers.deliver(channel, message)
            case [b"subscribe", bytes() as name, *_]:
                if (event := self._confirmed.get(name)) is not None:
                    event.set()
            case _:
                pass  # the answer to PING, or to UNSUBSCRIBE
