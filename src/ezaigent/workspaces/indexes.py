"""Private indexes of trees: one for each time that a tree is opened.

A git holds the lock of its index for as long as it fills or looks at a tree. One of an earlier run may live on, and
nobody can tell it from one that was killed; with an index of its own a run meets neither.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path


def new_index(folder: Path) -> Path:
    """Return the name of an index in ``folder`` that nobody has used."""
    return folder / f"index-{secrets.token_hex(4)}"


def remove_indexes(folder: Path) -> None:
    """Remove what earlier openings left in ``folder``, their locks too; the one before must be over."""
    for left in folder.glob("index-*"):
        with suppress(OSError):
            left.unlink()
