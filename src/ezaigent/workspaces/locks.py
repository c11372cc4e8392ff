"""A lock that holds across tasks of one process and across processes."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

_RETRY: Final = 0.02
"""Seconds between looks at a lock that another process holds; within one process waiting costs nothing."""


class Locks:
    """Exclusive locks by file; the kernel drops a process's locks when it dies."""

    def __init__(self) -> None:
        self._inside: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, path: Path) -> AsyncGenerator[None]:
        """Hold the lock ``path`` (a file that is made, and stays) until the block ends."""
        lock = self._inside.get(path)
        if lock is None:
            lock = self._inside[path] = asyncio.Lock()
        async with lock:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                while True:
                    try:
                        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        await asyncio.sleep(_RETRY)
                yield
            finally:
                os.close(handle)
