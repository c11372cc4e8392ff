"""The live bus inside one process: the embedded default."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from ezaigent.live.buckets import Buckets
from ezaigent.live.channels import Subscribers, Subscription
from ezaigent.live.doorbells import Remembered, Waiter, Waiters
from ezaigent.live.ports import Draw, Drawn, Sheet
from ezaigent.live.presence import Presence
from ezaigent.live.sheets import Sheets


class MemoryBus:
    """A ``LiveBus`` that reaches only its own process and event loop."""

    def __init__(self) -> None:
        """Begin silent and empty."""
        self._waiters = Waiters()
        self._remembered = Remembered()
        self._subscribers = Subscribers()
        self._presence = Presence()
        self._buckets = Buckets()
        self._sheets = Sheets()
        self._closed = False

    @property
    def up(self) -> bool:
        """Always true: the process reaches itself."""
        return True

    async def ring(self, bell: str, count: int = 1) -> None:
        """See ``LiveBus.ring``."""
        left = count - self._waiters.wake(bell, count)
        if left > 0:
            self._remembered.keep(bell, left)

    async def wait(self, bells: Sequence[str], timeout: float) -> str | None:
        """See ``LiveBus.wait``."""
        if (bell := self._remembered.take(bells)) is not None or self._closed:
            return bell
        waiter = Waiter(bells)
        self._waiters.add(waiter)
        try:
            return await waiter.wait(timeout)
        except asyncio.CancelledError:
            if (bell := waiter.taken) is not None:
                await self.ring(bell)
            raise
        finally:
            self._waiters.remove(waiter)

    async def publish(self, channel: str, message: bytes) -> None:
        """See ``LiveBus.publish``."""
        self._subscribers.deliver(channel, message)

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncGenerator[AsyncIterator[tuple[str, bytes]], None]:
        """See ``LiveBus.subscribe``."""
        subscription = Subscription(channels)
        if self._closed:
            subscription.close()
        self._subscribers.add(subscription)
        try:
            yield subscription
        finally:
            self._subscribers.remove(subscription)

    async def announce(self, group: str, member: str, info: Mapping[str, Any], ttl: float) -> None:
        """See ``LiveBus.announce``."""
        self._presence.announce(group, member, info, ttl)

    async def leave(self, group: str, member: str) -> None:
        """See ``LiveBus.leave``."""
        self._presence.leave(group, member)

    async def present(self, group: str) -> dict[str, dict[str, Any]]:
        """See ``LiveBus.present``."""
        return self._presence.present(group)

    async def take(self, bucket: str, amount: float, *, rate: float, burst: float) -> float:
        """See ``LiveBus.take``."""
        return self._buckets.take(bucket, amount, rate=rate, burst=burst)

    async def swap(self, sheet: str, version: int, text: bytes, *, ttl: float) -> Sheet | None:
        """See ``LiveBus.swap``."""
        return self._sheets.swap(sheet, version, text, ttl=ttl)

    async def draw(
        self, sheet: str, version: int | None, draws: Sequence[Draw], *, patience: float, ttl: float
    ) -> Drawn | None:
        """See ``LiveBus.draw``."""
        return self._sheets.draw(sheet, version, draws, patience=patience, ttl=ttl)

    async def close(self) -> None:
        """See ``LiveBus.close``."""
        self._closed = True
        self._waiters.dismiss()
        self._subscribers.dismiss()
