"""What models say, brought from the live bus to the streams that asked for it.

Present only while somebody listens: the server then announces whom it wants to hear, and models speak up with their
next request. Each listener keeps a bounded number of pieces; one that is slow loses the oldest, sees the gap by
``start``, and gets the whole with the event of the step.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import contextmanager
from typing import Final, TypeVar

from ezaigent.core.ids import new_id
from ezaigent.live import LISTENING, SPEECH, LiveBus, Piece, interest

_KEPT: Final = 200
"""Pieces kept for one listener."""
T = TypeVar("T")


class Ear:
    """One listener."""

    def __init__(self, task_id: str | None, agent: str | None) -> None:
        """Hear one task, one agent, or, without either, everybody."""
        self.task_id = task_id
        self.agent = agent
        self.heard = asyncio.Event()
        self._pieces: deque[Piece] = deque(maxlen=_KEPT)

    def wants(self, piece: Piece) -> bool:
        """Tell whether the piece is for this listener."""
        return self.task_id in {None, piece.task_id} and self.agent in {None, piece.agent}

    def hear(self, piece: Piece) -> None:
        """Keep a piece until it is taken."""
        self._pieces.append(piece)
        self.heard.set()

    def take(self) -> list[Piece]:
        """Return what was heard since the last time."""
        self.heard.clear()
        taken = list(self._pieces)
        self._pieces.clear()
        return taken


class Hearing:
    """All listeners of the process."""

    def __init__(self, bus: LiveBus) -> None:
        """Hear over ``bus``."""
        self._bus = bus
        self._name = new_id()
        self._ears: set[Ear] = set()
        self._changed = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    @contextmanager
    def listen(self, *, task_id: str | None = None, agent: str | None = None) -> Generator[Ear]:
        """Hear a task or an agent, or everybody, while the block runs."""
        ear = Ear(task_id, agent)
        self._ears.add(ear)
        self._changed.set()
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run(), name="hearing")
        try:
            yield ear
        finally:
            self._ears.discard(ear)
            self._changed.set()

    async def aclose(self) -> None:
        """Stop listening."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _run(self) -> None:
        """Listen, and say so, while there are listeners; then be away until the next one comes."""
        while True:
            await self._changed.wait()
            if not self._ears:
                self._changed.clear()
                continue
            async with self._bus.subscribe(SPEECH) as news:
                hearing = asyncio.create_task(self._hear(news))
                try:
                    await self._announce()
                finally:
                    hearing.cancel()
                    await asyncio.wait([hearing])

    async def _announce(self) -> None:
        """Say who is wanted, anew when that changes; return when nobody is."""
        try:
            while self._ears:
                self._changed.clear()
                wanted = interest((ear.task_id, ear.agent) for ear in self._ears)
                await self._bus.announce(SPEECH, self._name, wanted, LISTENING)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LISTENING / 3):
                        await self._changed.wait()
        finally:
            await self._bus.leave(SPEECH, self._name)

    async def _hear(self, news: AsyncIterator[tuple[str, bytes]]) -> None:
        async for _, message in news:
            piece = Piece.decode(message)
            if piece is None:
                continue
            for ear in self._ears:
                if ear.wants(piece):
                    ear.hear(piece)


async def with_speech(follower: AsyncGenerator[T], ear: Ear) -> AsyncGenerator[T | list[Piece]]:
    """Yield what ``follower`` yields, and between it what the ear hears. Ends, and raises, as ``follower`` does."""
    following = asyncio.ensure_future(anext(follower))
    hearing = asyncio.ensure_future(ear.heard.wait())
    try:
        while True:
            await asyncio.wait({following, hearing}, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                yield ear.take()
                hearing = asyncio.ensure_future(ear.heard.wait())
            if following.done():
                try:
                    item = following.result()
                except StopAsyncIteration:
                    return
                yield item
                following = asyncio.ensure_future(anext(follower))
    finally:
        following.cancel()
        hearing.cancel()
        await asyncio.wait({following, hearing})
