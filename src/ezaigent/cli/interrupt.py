"""Ctrl-C and SIGTERM as something to await: once to drain, twice to stop at once."""

from __future__ import annotations

import asyncio
import signal
from types import TracebackType
from typing import Self


class Interrupts:
    """Counts SIGINT and SIGTERM while the block runs, in place of the default handlers."""

    def __init__(self) -> None:
        """Use as a context manager inside a running event loop."""
        self._count = 0
        self._changed = asyncio.Event()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def _note(self) -> None:
        self._count += 1
        self._changed.set()

    async def once(self) -> None:
        """Return at the first signal."""
        await self._at_least(1)

    async def twice(self) -> None:
        """Return at the second signal."""
        await self._at_least(2)

    async def _at_least(self, count: int) -> None:
        while self._count < count:
            self._changed.clear()
            await self._changed.wait()
