"""Being told on the event loop when a process has ended, without threads and without polling (pidfd, Linux 5.3)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable


class Exit:
    """The end of one process as a future."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pid: int, reap: Callable[[], object] | None) -> None:
        """Watch process ``pid``; a child of ours is collected with ``reap`` when it ended."""
        self.future: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._reap = reap
        self._fd: int | None = None
        try:
            self._fd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._ended()
        else:
            loop.add_reader(self._fd, self._ended)

    def _ended(self) -> None:
        self.close()
        if self._reap is not None:
            self._reap()
        if not self.future.done():
            self.future.set_result(None)

    def kill(self) -> None:
        """Kill the process; certainly this one, never a successor of its number."""
        if self._fd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    def close(self) -> None:
        """Stop watching."""
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None


async def settle(future: asyncio.Future[None], within: float) -> None:
    """Wait for ``future``, at most ``within`` seconds, even while this task is being cancelled; then be cancelled."""
    cancelled = False
    deadline = time.monotonic() + within
    while not future.done() and (left := deadline - time.monotonic()) > 0:
        try:
            await asyncio.wait({future}, timeout=left)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
