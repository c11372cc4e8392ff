"""A control group that bounds the processes of one command in the kernel, where this caller may make one.

Needed because the kernel does not enforce ``RLIMIT_NPROC`` for root. Both versions of control groups are served; a
caller without the right to make one gets ``None`` and the watch counts instead.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_PREFIX = "ezaigent-"
_numbers = itertools.count()


def find_parent() -> Path | None:
    """Return the folder in which groups with a ``pids.max`` can be made, or ``None``."""
    for parent in _candidates():
        trial = parent / f"{_PREFIX}{os.getpid()}-probe"
        try:
            trial.mkdir()
        except OSError:
            continue
        try:
            (trial / "pids.max").write_text("16")
        except OSError:
            continue
        else:
            return parent
        finally:
            with contextlib.suppress(OSError):
                trial.rmdir()
    return None


def _candidates() -> list[Path]:
    """Our own group and its parent, in the hierarchy that has the pids controller."""
    found: list[Path] = []
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, own = line.split(":", 2)
        mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] if not controllers else ["/sys/fs/cgroup/pids"]
        if controllers and "pids" not in controllers.split(","):
            continue
        for mount in mounts:
            here = Path(mount) / own.lstrip("/")
            # In version 2 a group with processes of its own cannot hand controllers down: its parent can.
            found += [here, here.parent] if here != Path(mount) else [here]
    return [folder for folder in found if os.access(folder, os.W_OK)]


def sweep(parent: Path) -> None:
    """Remove the empty groups that workers killed outright have left behind."""
    for group in parent.glob(f"{_PREFIX}*-*"):
        owner = group.name.removeprefix(_PREFIX).split("-")[0]
        if not Path("/proc", owner).exists():
            with contextlib.suppress(OSError):
                group.rmdir()


@dataclass(frozen=True, slots=True)
class PidsGroup:
    """The group of one command."""

    path: Path

    @classmethod
    def make(cls, parent: Path, processes: int) -> Self:
        """Make a group that holds at most ``processes`` processes and threads."""
        path = parent / f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
        path.mkdir()
        (path / "pids.max").write_text(str(processes))
        return cls(path)

    def add(self, pid: int) -> None:
        """Move process ``pid`` in; its children will be born inside."""
        (self.path / "cgroup.procs").write_text(str(pid))

    def was_full(self) -> bool:
        """Whether a new process was refused."""
        try:
            words = (self.path / "pids.events").read_text().split()
        except OSError:
            return False
        return len(words) > 1 and words[1] != "0"

    def remove(self) -> None:
        """Remove the group once it is empty; one that is not yet empty is left to the next sweep."""
        with contextlib.suppress(OSError):
            self.path.rmdir()
