"""Which workers of one data folder are alive, known from the kernel and not from a clock.

Each worker of an embedded fleet holds a lock on a file of its own for as long as its process lives. The kernel drops
the lock when the process dies, however it dies, so its leases can be given back at once, not after their time.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ezaigent.core.errors import UnavailableError


@contextmanager
def hold(folder: Path, worker: str) -> Generator[None]:
    """Be alive in ``folder`` while the block runs. Raises ``UnavailableError`` when the folder cannot be written."""
    own = folder / f"{worker}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = _locked(own)
    except OSError as error:
        raise UnavailableError(f"{str(folder)!r} cannot be written: {error.strerror}; set EZAIGENT_HOME") from None
    with handle:
        try:
            yield
        finally:
            own.unlink(missing_ok=True)


def alive(folder: Path) -> frozenset[str]:
    """Return the ids of the workers that are alive; the files of dead ones are removed."""
    return frozenset(path.stem for path in folder.glob("*.lock") if not _free(path))


def _locked(path: Path) -> TextIO:
    while True:
        handle = path.open("w")
        fcntl.flock(handle, fcntl.LOCK_EX)
        # Between the two lines another worker may have found the file free, and removed it as a dead one's.
        if path.exists() and path.stat().st_ino == os.fstat(handle.fileno()).st_ino:
            return handle
        handle.close()


def _free(path: Path) -> bool:
    try:
        with path.open("r+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    return True
