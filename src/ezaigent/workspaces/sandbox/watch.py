"""What the processes of a command use together, found by walking down from the sandbox's first process."""

from __future__ import annotations

import os
from dataclasses import dataclass

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """Processes and threads alive, and bytes of memory they hold."""

    tasks: int
    resident: int


def usage(root: int, *, enough: int) -> Usage:
    """Count everything below process ``root``, itself not counted; stop once there are more than ``enough`` tasks.

    A process whose parent ended is handed to the namespace's first process or to the supervisor, both below or at
    ``root``, so nothing escapes the walk by double forking. Shared pages count once for each process.
    """
    tasks = resident = 0
    queue = [root]
    while queue and tasks <= enough:
        pid = queue.pop()
        try:
            threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208  (hot path)
            if pid != root:
                tasks += len(threads)
                resident += _resident(pid)
            for thread in threads:
                with open(f"/proc/{pid}/task/{thread}/children", "rb") as children:  # noqa: PTH123  (hot path)
                    queue.extend(map(int, children.read().split()))
        except (OSError, IndexError):
            continue  # it ended while we looked
    return Usage(tasks, resident)


def descendants(root: int) -> list[int]:
    """Return every process below ``root``, parents before children."""
    found: list[int] = []
    queue = [root]
    while queue:
        pid = queue.pop()
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
                with open(f"/proc/{pid}/task/{thread}/children", "rb") as children:  # noqa: PTH123
                    young = list(map(int, children.read().split()))
                found += young
                queue += young
        except OSError:
            continue
    return found


def _resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm", "rb") as statm:  # noqa: PTH123
        return int(statm.read().split()[1]) * _PAGE
