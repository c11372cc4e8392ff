"""Lock files that a git left behind which was killed: by a power cut, or because its disk took too long.

Git itself never removes them, so a task whose ref was locked at that moment could not go on for good. A living git
holds such a lock for milliseconds, but for an index's: that one it holds for as long as it fills or looks at a tree,
and does not touch it meanwhile. So age tells nothing there; each opening of a tree has an index of its own instead.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

AGE: Final = 10.0
"""Seconds after which a lock counts as left behind."""
_REFUSED: Final = re.compile(r"Unable to create '(/[^'\n]+\.lock)': File exists")


def named_in(said: str, folders: Iterable[Path]) -> Path | None:
    """Return the lock file inside one of ``folders`` over which git complains; None where it does not."""
    found = _REFUSED.search(said)
    if found is None:
        return None
    lock = Path(os.path.normpath(found[1]))
    return lock if any(lock.is_relative_to(folder) for folder in folders) else None


def is_of_index(lock: Path, at: Path | None, index: Path | None) -> bool:
    """Tell whether it is the lock of ``index``, or where none is named of the index in the git folder ``at``."""
    used = index if index is not None else at / "index" if at is not None else None
    return used is not None and lock == Path(os.path.normpath(f"{used}.lock"))


def remove_stale(lock: Path) -> None:
    """Remove the lock if it was left behind; one that cannot be removed stays, and git says so again."""
    with suppress(OSError):
        if time.time() - lock.lstat().st_mtime > AGE:
            lock.unlink()
