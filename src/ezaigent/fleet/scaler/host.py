"""The host guard: whether this machine bears more agents. Only where agents run beside the autoscaler."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import psutil

MEMORY: Final = 0.10
"""Share of the memory that must be available, for growth."""
DISK: Final = 1024**3
"""Bytes that must be free on the disk of the worktrees."""
PRESSURE: Final = 60.0
"""Percent of the last ten seconds in which all work waited for the disk or for memory, above which nothing grows."""


class Host:
    """One machine."""

    def __init__(
        self, home: Path, *, pressure: Path = Path("/proc/pressure"), cgroup: Path = Path("/sys/fs/cgroup")
    ) -> None:
        """Watch the disk of ``home``. ``pressure`` and ``cgroup`` are where the kernel tells how it is."""
        self._home = home
        self._pressure = pressure
        self._cgroup = cgroup

    def strained(self) -> str:
        """Return why no agent should be added here now, in a few words; empty when nothing speaks against it."""
        left = self._memory()
        if left < MEMORY:
            return f"{left:.0%} of the memory is left"
        free = shutil.disk_usage(next(one for one in (self._home, *self._home.parents) if one.exists())).free
        if free < DISK:
            return f"{free / DISK:.1f} GiB are free on its disk"
        for what in ("io", "memory"):
            share = self._stalled(what)
            if share > PRESSURE:
                return f"all work waits {share:.0f} % of the time for {what}"
        return ""

    def _memory(self) -> float:
        """Return the share of memory that is available, of the machine or of the container, whichever is less."""
        whole = psutil.virtual_memory()
        left = whole.available / whole.total
        try:
            limit = int((self._cgroup / "memory.max").read_text(encoding="ascii"))
            used = int((self._cgroup / "memory.current").read_text(encoding="ascii"))
            cached = dict(line.split() for line in (self._cgroup / "memory.stat").read_text("ascii").splitlines())
        except (OSError, ValueError):  # no limit ("max"), or no such file
            return left
        return min(left, 1 - (used - int(cached.get("inactive_file", 0))) / limit) if limit else left

    def _stalled(self, what: str) -> float:
        """Return the percentage of the last ten seconds in which nothing could go on for want of ``what``."""
        try:
            lines = (self._pressure / what).read_text(encoding="ascii").splitlines()
            full = next(line for line in lines if line.startswith("full"))
            return float(full.split("avg10=")[1].split()[0])
        except (OSError, ValueError, IndexError, StopIteration):  # the kernel does not count it
            return 0.0
