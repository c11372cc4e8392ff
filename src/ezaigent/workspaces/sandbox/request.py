"""What a caller asks for, checked before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ezaigent.core.errors import UsageError

LONGEST_COMMAND = 128 * 1024 - 1
"""Bytes of one argument that Linux takes (``MAX_ARG_STRLEN``)."""


@dataclass(frozen=True, slots=True)
class Request:
    """Real paths, every one of them there."""

    cwd: Path
    writable: Path
    readable: tuple[Path, ...]


def checked(command: str, *, cwd: Path, writable: Path, readable: Sequence[Path]) -> Request:
    """Resolve the paths of a request.

    Raises ``UsageError`` when the tree is missing, ``cwd`` lies outside of it (also by way of a symbolic link), or
    the command cannot be passed to a shell. Readable paths that do not exist are left out.
    """
    if "\0" in command:
        raise UsageError("the command holds a NUL character, which no shell can take: leave it out")
    if len(command.encode("utf-8", "surrogateescape")) > LONGEST_COMMAND:
        raise UsageError(f"the command is longer than {LONGEST_COMMAND} bytes: put it into a file and run that")
    try:
        tree, folder = writable.resolve(strict=True), cwd.resolve(strict=True)
    except (OSError, RuntimeError):
        raise UsageError(f"the folder {str(cwd)!r} does not exist: commands run in the task's own tree") from None
    if not folder.is_dir() or not folder.is_relative_to(tree):
        raise UsageError(
            f"the folder {str(cwd)!r} is not inside {str(writable)!r}: commands run in the task's own tree"
        )
    seen = (way for path in readable if path.exists() for way in (path.absolute(), path.resolve()))
    return Request(folder, tree, tuple(dict.fromkeys(seen)))
