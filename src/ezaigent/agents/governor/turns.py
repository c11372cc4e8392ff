"""Whose turn it is: calls to one model go one by one, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress


class Turn:
    """A place in the queue."""

    def __init__(self, queue: Turns) -> None:
        """Stand in ``queue``."""
        self._queue = queue
        self._word = asyncio.Event()

    @property
    def ahead(self) -> int:
        """How many come before."""
        return self._queue.before(self)

    @property
    def come(self) -> bool:
        """Whether nobody comes before."""
        return self._queue.first(self)

    def wake(self) -> None:
        """End the present wait."""
        self._word.set()

    async def wait(self, seconds: float) -> None:
        """Wait until something changed, at most so long."""
        self._word.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._word.wait()


class Turns:
    """The queue: whoever leaves it wakes the next; a change of what is known wakes all."""

    def __init__(self) -> None:
        """Begin empty."""
        self._turns: deque[Turn] = deque()

    @contextmanager
    def enter(self) -> Generator[Turn]:
        """Stand at the end of the queue while the block runs."""
        turn = Turn(self)
        self._turns.append(turn)
        try:
            yield turn
        finally:
            self._turns.remove(turn)
            self.wake_first()

    def first(self, turn: Turn) -> bool:
        """Whether it is this one's turn."""
        return self._turns[0] is turn

    def before(self, turn: Turn) -> int:
        """Return how many come before."""
        return self._turns.index(turn)

    def wake_first(self) -> None:
        """Let the first one look again."""
        if self._turns:
            self._turns[0].wake()

    def wake_all(self) -> None:
        """Let everybody look again."""
        for turn in self._turns:
            turn.wake()
