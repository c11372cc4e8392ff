"""Reading files of a tree that an agent may be changing: never out of the tree, never following a link.

A command of the agent could swap a folder for a symbolic link between the moment a path is listed and the moment it
is read; then a checkpoint would hold a file of the host. So every path is opened component by component, each without
following links, starting from the tree's own handle.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

REGULAR: Final = "100644"
PROGRAM: Final = "100755"
LINK: Final = "120000"
SUBMODULE: Final = "160000"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Blob:
    """Content of a regular file or the target of a link, as git stores it."""

    mode: str
    name: str
    """Git's name for the content."""
    size: int
    """Bytes."""
    data: bytes | None
    """None where it was too large to be kept; read it again when it is needed."""


def is_savable(path: bytes, mode: str) -> bool:
    """Tell whether git would check the path out again: no ``.git`` in any case, no linked ``.gitmodules``."""
    names = path.lower().split(b"/")
    return b".git" not in names and not (mode == LINK and names[-1] == b".gitmodules")


Missing = Literal["gone", "unreadable", "folder", "special"]
"""Why there is no content: nothing there, no permission, a folder there, a socket or pipe or device there."""


class Tree:
    """A work tree, open for reading."""

    def __init__(self, path: Path, *, sha256: bool) -> None:
        """Open the tree at ``path``; its repository names objects by SHA-256 or SHA-1."""
        self._root = os.open(path, _FOLDER)
        self._hash = hashlib.sha256 if sha256 else hashlib.sha1

    def close(self) -> None:
        """Let go of the tree."""
        os.close(self._root)

    def blob(self, path: bytes, keep: int | None = None) -> Blob | Missing:
        """Read the file or link at ``path``, relative to the tree; keep its data up to ``keep`` bytes."""
        try:
            with self._folder_of(path) as (folder, name):
                return self._read(folder, name, keep)
        except (FileNotFoundError, NotADirectoryError):
            return "gone"
        except OSError as error:
            # A link in place of a folder or file (ELOOP) means the listed path is no longer there.
            return "gone" if error.errno == 40 else "unreadable"  # noqa: PLR2004  (ELOOP on Linux)

    def names(self, path: bytes) -> list[bytes]:
        """Return the names in the folder at ``path``; none when it is no folder, or cannot be read."""
        try:
            with self._folder_of(path) as (parent, name):
                handle = os.open(name, _FOLDER, dir_fd=parent)
                try:
                    return [os.fsencode(entry) for entry in os.listdir(handle)]  # noqa: PTH208  (a handle, not a path)
                finally:
                    os.close(handle)
        except OSError:
            return []

    def is_folder(self, path: bytes) -> bool:
        """Tell whether there is a real folder at ``path``."""
        try:
            with self._folder_of(path) as (parent, name):
                return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
        except OSError:
            return False

    def remove(self, path: bytes) -> None:
        """Remove the file or link at ``path`` and the folders that this leaves empty; nothing there is fine."""
        while path:
            try:
                with self._folder_of(path) as (parent, name):
                    if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                        os.rmdir(name, dir_fd=parent)
                    else:
                        os.unlink(name, dir_fd=parent)
            except FileNotFoundError:
                pass
            except OSError:
                return  # a folder that still holds something, or one that may not be written
            path = path.rpartition(b"/")[0]

    def _read(self, folder: int, name: bytes, keep: int | None) -> Blob | Missing:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            target = os.readlink(name, dir_fd=folder)
            return Blob(LINK, self._hash(b"blob %d\0" % len(target) + target).hexdigest(), len(target), target)
        if stat.S_ISDIR(mode):
            return "folder"
        if not stat.S_ISREG(mode):
            return "special"
        handle = os.open(name, _FILE, dir_fd=folder)
        try:
            seen = os.fstat(handle)
            if not stat.S_ISREG(seen.st_mode):
                return "special"
            kept = keep is None or seen.st_size <= keep
            kind = PROGRAM if seen.st_mode & stat.S_IXUSR else REGULAR
            return self._content(handle, kind, seen.st_size, kept=kept)
        finally:
            os.close(handle)

    def _content(self, handle: int, mode: str, size: int, *, kept: bool) -> Blob:
        """Read exactly ``size`` bytes: what a file gains or loses meanwhile is a matter for the next snapshot."""
        digest = self._hash(b"blob %d\0" % size)
        pieces: list[bytes] = []
        left = size
        while left:
            piece = os.read(handle, min(left, _CHUNK)) or bytes(min(left, _CHUNK))
            digest.update(piece)
            if kept:
                pieces.append(piece)
            left -= len(piece)
        return Blob(mode, digest.hexdigest(), size, b"".join(pieces) if kept else None)

    @contextmanager
    def _folder_of(self, path: bytes) -> Generator[tuple[int, bytes]]:
        *folders, name = path.split(b"/")
        opened: list[int] = []
        try:
            at = self._root
            for folder in folders:
                at = os.open(folder, _FOLDER, dir_fd=at)
                opened.append(at)
            yield at, name
        finally:
            for handle in opened:
                os.close(handle)
