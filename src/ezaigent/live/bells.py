"""The doorbells of one process on the server: one blocking connection for all its waiters."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from ezaigent.live.batching import Batcher
from ezaigent.live.doorbells import Waiter, Waiters
from ezaigent.live.link import Link, LostError
from ezaigent.live.ports import REMEMBERED, REMEMBERED_SECONDS
from ezaigent.live.scripts import RING
from ezaigent.live.wire import Wire

_BLOCK: Final = 2.0  # seconds that the server holds one pop; a server that hangs is noticed this much later
_PATIENCE: Final = _BLOCK + 2.0
_CLOSING: Final = 1.0


class Bells:
    """Rings and waits through lists on the server.

    A list per bell holds its rings; whoever pops one has it. The pop blocks on all bells that anybody here waits for,
    and on one list of our own, pushed to when a waiter comes with a bell that the present pop does not cover.
    """

    def __init__(self, wire: Wire, batcher: Batcher, link: Link, key: Callable[[str], str], own: str) -> None:
        """Pop on ``wire``, push through ``batcher``; ``key`` makes a bell's list name, ``own`` is our own list."""
        self._wire = wire
        self._batcher = batcher
        self._link = link
        self._key = key
        self._own = own
        self._waiters = Waiters()
        self._covered: frozenset[str] | None = None  # bells of the pop under way
        self._wanted = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self._closed = False
        self._returning: set[asyncio.Task[None]] = set()

    async def ring(self, bell: str, count: int = 1) -> None:
        """Wake waiters here first: that needs no server; the rest goes into the list."""
        left = count - self._waiters.wake(bell, count)
        if left > 0:
            with contextlib.suppress(LostError):
                milliseconds = int(REMEMBERED_SECONDS * 1000)
                await self._batcher.call("EVAL", RING, 1, self._key(bell), left, REMEMBERED, milliseconds)

    async def wait(self, bells: Sequence[str], timeout: float) -> str | None:
        """Wait for the first of ``bells``."""
        if self._closed:
            return None
        waiter = Waiter(bells)
        self._waiters.add(waiter)
        self._cover(waiter)
        try:
            return await waiter.wait(timeout)
        except asyncio.CancelledError:
            if (bell := waiter.taken) is not None:
                self._give_back(bell, 1)
            raise
        finally:
            self._waiters.remove(waiter)
            if not self._waiters:
                self._wanted.clear()

    async def close(self) -> None:
        """End all waits; a ring that was popped for nobody goes back first."""
        self._closed = True
        self._waiters.dismiss()
        self._wanted.set()
        if self._listening is not None:
            if self._link.up:
                self._poke()  # lets the pop end by itself, so that it cannot take a ring with it
                await asyncio.wait([self._listening], timeout=_CLOSING)
            self._listening.cancel()
            await asyncio.wait([self._listening])
        if self._returning:
            await asyncio.wait(self._returning)
        await self._wire.close()

    def _cover(self, waiter: Waiter) -> None:
        self._wanted.set()
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="live bus: doorbells")
        if self._covered is not None and not self._covered.issuperset(waiter.bells):
            self._covered = None  # one push is enough for all who come before the next pop
            self._poke()

    def _poke(self) -> None:
        self._batcher.post("EVAL", RING, 1, self._own, 1, 1, int(REMEMBERED_SECONDS * 1000))

    async def _listen(self) -> None:
        while not self._closed:
            await self._wanted.wait()
            await self._link.wait_up()
            bells = self._waiters.bells
            if not bells:
                self._wanted.clear()
                continue
            self._covered = bells
            try:
                await self._pop(bells)
            except LostError as error:
                self._link.lost(str(error))
            finally:
                self._covered = None

    async def _pop(self, bells: frozenset[str]) -> None:
        names = {self._key(bell): bell for bell in sorted(bells)}
        reply = await self._one("BLPOP", self._own, *names, _BLOCK)
        if reply is None or (key := bytes(reply[0]).decode()) == self._own:
            return
        bell = names[key]
        rings = 1
        if (more := self._waiters.count(bell) - 1) > 0:
            rings += len(await self._one("LPOP", key, more) or ())
        if left := rings - self._waiters.wake(bell, rings):
            self._give_back(bell, left)

    async def _one(self, *command: str | float) -> Any:
        [reply] = await self._wire.exchange([command], patience=_PATIENCE)
        if isinstance(reply, LostError):
            raise reply
        return reply

    def _give_back(self, bell: str, count: int) -> None:
        task = asyncio.create_task(self.ring(bell, count), name="live bus: giving a ring back")
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)
