"""Counters that worker processes leave in shared memory, so that counting costs the measured system nothing.

Only the standard library: this module is imported into the peers' environments, too.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path

_LAYOUT = struct.Struct("qd")


class Mark:
    """One process's count of tasks and the time of the last one (seconds of the machine's monotonic clock)."""

    def __init__(self) -> None:
        """Make this process's file in the folder that ``BENCH_MARKS`` names."""
        path = Path(os.environ["BENCH_MARKS"]) / str(os.getpid())
        path.write_bytes(bytes(_LAYOUT.size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _LAYOUT.size)
        self._count = 0

    def hit(self, count: int = 1) -> None:
        """Count so many tasks, now."""
        self._count += count
        _LAYOUT.pack_into(self._memory, 0, self._count, time.monotonic())


_mine: dict[int, Mark] = {}


def hit(count: int = 1) -> None:
    """Count for the calling process, which may have been forked after this module was imported."""
    pid = os.getpid()
    if pid not in _mine:
        _mine[pid] = Mark()
    _mine[pid].hit(count)


def read(folder: Path) -> list[tuple[int, float]]:
    """Return count and last time of every process that has counted."""
    found: list[tuple[int, float]] = []
    for path in folder.iterdir():
        data = path.read_bytes()
        if len(data) == _LAYOUT.size:
            count, last = _LAYOUT.unpack(data)
            if count:
                found.append((count, last))
    return found
