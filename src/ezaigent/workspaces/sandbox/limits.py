"""The limits of one command, and the part of them that the kernel enforces for each process."""

from __future__ import annotations

import contextlib
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ezaigent.core.settings import SandboxSettings

OPEN_FILES = 4096
"""Open files for each process: plenty for a build, too few to starve the machine."""

RESIDENT_FACTOR = 4
"""All processes of a command together may hold this many times the memory limit of one process."""

_FIRST_TO_GO = "500"  # short of memory, the kernel ends a command before the worker
_HOST_SHARE = 2
"""... but at most this fraction (one half) of the machine's memory."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one command; the fields mean what they mean in ``SandboxSettings``."""

    seconds: float
    memory: int
    processes: int
    file_size: int
    output: int

    @classmethod
    def of(cls, settings: SandboxSettings, timeout: float | None) -> Self:
        """Take the operator's limits; ``timeout`` (seconds) can shorten the time, never lengthen it."""
        return cls(
            seconds=settings.timeout if timeout is None else min(timeout, settings.timeout),
            memory=settings.memory,
            processes=settings.processes,
            file_size=settings.file_size,
            output=settings.output,
        )

    @property
    def resident(self) -> int:
        """Bytes of memory that all processes of the command together may hold."""
        return min(self.memory * RESIDENT_FACTOR, max(self.memory, host_memory() // _HOST_SHARE))

    def apply(self, pid: int, *, count_processes: bool) -> None:
        """Set the kernel's limits on process ``pid``, before it starts the command; children inherit them.

        ``count_processes`` only where ``pid`` lives in a user namespace of its own: elsewhere the kernel would count
        every process of this user on the machine.
        """
        wanted = {
            resource.RLIMIT_AS: self.memory,
            resource.RLIMIT_FSIZE: self.file_size,
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_NOFILE: OPEN_FILES,
        }
        if count_processes:
            wanted[resource.RLIMIT_NPROC] = self.processes
        for kind, value in wanted.items():
            _, hard = resource.prlimit(pid, kind)
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            # A command that is already gone needs no limits; its end is reported elsewhere.
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, kind, (bound, bound))
        with contextlib.suppress(OSError):  # not everywhere ours to say
            Path(f"/proc/{pid}/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")


def host_memory() -> int:
    """Bytes of memory in this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
