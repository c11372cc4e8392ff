"""How much disk the workspaces take."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ezaigent.core.errors import UnavailableError
from ezaigent.workspaces.layout import Layout
from ezaigent.workspaces.models import DiskUse

_BLOCK = 512  # bytes: what st_blocks counts in, whatever the file system
_LEAST_FREE = 64 * 1024**2


def measure(layout: Layout, limit: int) -> DiskUse:
    """Add up what lies on the disk; files that vanish meanwhile do not count."""
    return DiskUse(
        mirrors=_size(layout.mirrors),
        trees=_size(layout.trees) + _size(layout.notes),
        limit=limit,
        free=shutil.disk_usage(_existing(layout.root)).free,
    )


def require_room(use: DiskUse) -> None:
    """Raise ``UnavailableError`` when no further tree should be made."""
    if use.total >= use.limit:
        raise UnavailableError(
            f"the workspaces take {_shown(use.total)} of at most {_shown(use.limit)}: let them be cleaned up, or raise "
            "workspaces.max_disk"
        )
    if use.free < _LEAST_FREE:
        raise UnavailableError(f"the disk has only {_shown(use.free)} left: make room before new work starts")


def _shown(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB" if size >= 1024**3 else f"{size / 1024**2:.1f} MiB"


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _size(root: Path) -> int:
    total = 0
    waiting = [os.fsencode(root)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    try:
                        total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                    except OSError:
                        continue
        except OSError:
            continue
    return total
