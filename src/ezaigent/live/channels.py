"""Who listens in this process to which channels."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from ezaigent.live.ports import BACKLOG


class Subscription:
    """One reader's messages; an async iterator that ends when it is closed."""

    def __init__(self, channels: Sequence[str]) -> None:
        """Listen to ``channels``."""
        self.channels = tuple(dict.fromkeys(channels))
        self._messages: deque[tuple[str, bytes]] = deque(maxlen=BACKLOG)
        self._news = asyncio.Event()
        self._closed = False

    def put(self, channel: str, message: bytes) -> None:
        """Add a message; the oldest one goes when the reader is too slow."""
        self._messages.append((channel, message))
        self._news.set()

    def close(self) -> None:
        """End the iteration after what has come already."""
        self._closed = True
        self._news.set()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> tuple[str, bytes]:
        while not self._messages:
            if self._closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._messages.popleft()


class Subscribers:
    """The subscriptions of this process by channel."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._by_channel: dict[str, dict[Subscription, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_channel)

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels that somebody listens to."""
        return tuple(self._by_channel)

    def add(self, subscription: Subscription) -> None:
        """Let ``subscription`` receive what is published on its channels."""
        for channel in subscription.channels:
            self._by_channel.setdefault(channel, {})[subscription] = None

    def remove(self, subscription: Subscription) -> list[str]:
        """End ``subscription`` and return the channels that nobody listens to any more."""
        subscription.close()
        silent: list[str] = []
        for channel in subscription.channels:
            if (listening := self._by_channel.get(channel)) is not None:
                listening.pop(subscription, None)
                if not listening:
                    del self._by_channel[channel]
                    silent.append(channel)
        return silent

    def deliver(self, channel: str, message: bytes) -> None:
        """Give ``message`` to everybody who listens to ``channel``."""
        for subscription in self._by_channel.get(channel, ()):
            subscription.put(channel, message)

    def dismiss(self) -> None:
        """End every subscription."""
        for subscription in {one: None for listening in self._by_channel.values() for one in listening}:
            subscription.close()
        self._by_channel.clear()
