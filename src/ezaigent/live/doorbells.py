"""Who waits in this process for which bells, and rings that nobody waited for."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from ezaigent.live.ports import REMEMBERED, REMEMBERED_SECONDS

_BELLS = 10_000  # bells with remembered rings; a fleet has a handful, so the bound only guards against made-up names


class Waiter:
    """One call that waits for a ring; its future's result is the bell that rang, or None when the bus was closed."""

    __slots__ = ("bells", "rung")

    def __init__(self, bells: Sequence[str]) -> None:
        """Wait for the first of ``bells``."""
        self.bells = tuple(dict.fromkeys(bells))
        self.rung: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    async def wait(self, timeout: float) -> str | None:
        """Return the bell that rang, ``None`` after ``timeout`` seconds.

        When this is cancelled the ring may have come in the same moment: then ``rung`` holds it, and the caller must
        pass it on.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self.rung
        except TimeoutError:
            return self.taken

    @property
    def taken(self) -> str | None:
        """The ring that this waiter holds, if any."""
        return self.rung.result() if self.rung.done() and not self.rung.cancelled() else None


class Waiters:
    """The waiters of this process by bell, longest waiting first."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._by_bell: dict[str, dict[Waiter, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_bell)

    @property
    def bells(self) -> frozenset[str]:
        """Bells that somebody waits for."""
        return frozenset(self._by_bell)

    def count(self, bell: str) -> int:
        """How many wait for ``bell``."""
        return len(self._by_bell.get(bell, ()))

    def add(self, waiter: Waiter) -> None:
        """Let ``waiter`` be found under each of its bells."""
        for bell in waiter.bells:
            self._by_bell.setdefault(bell, {})[waiter] = None

    def remove(self, waiter: Waiter) -> None:
        """Forget ``waiter``; fine when it is already forgotten."""
        for bell in waiter.bells:
            if (waiting := self._by_bell.get(bell)) is not None:
                waiting.pop(waiter, None)
                if not waiting:
                    del self._by_bell[bell]

    def wake(self, bell: str, count: int = 1) -> int:
        """Wake at most ``count`` waiters of ``bell``, each exactly once; return how many."""
        woken = 0
        while woken < count and (waiting := self._by_bell.get(bell)):
            waiter = next(iter(waiting))
            self.remove(waiter)
            if not waiter.rung.done():  # a cancelled one is still listed until its own clean-up runs
                waiter.rung.set_result(bell)
                woken += 1
        return woken

    def dismiss(self) -> None:
        """Let every wait end without a ring."""
        for waiter in {waiter: None for waiting in self._by_bell.values() for waiter in waiting}:
            if not waiter.rung.done():
                waiter.rung.set_result(None)
        self._by_bell.clear()


class Remembered:
    """Rings kept for those who come later: bounded in number and in time."""

    def __init__(self) -> None:
        """Begin with none."""
        self._rings: dict[str, deque[float]] = {}

    def keep(self, bell: str, count: int) -> None:
        """Keep ``count`` rings of ``bell``."""
        until = time.monotonic() + REMEMBERED_SECONDS
        kept = self._rings.pop(bell, deque[float](maxlen=REMEMBERED))
        kept.extend([until] * min(count, REMEMBERED))
        self._rings[bell] = kept  # at the end: the bell that rang longest ago is dropped first
        if len(self._rings) > _BELLS:
            del self._rings[next(iter(self._rings))]

    def take(self, bells: Sequence[str]) -> str | None:
        """Take one ring of the first of ``bells`` that has one."""
        now = time.monotonic()
        for bell in bells:
            kept = self._rings.get(bell)
            while kept:
                until = kept.popleft()
                if not kept:
                    del self._rings[bell]
                if until > now:
                    return bell
        return None
