"""Opening files below a root, race-free: no symlink is followed and nothing but regular files is opened.

A path that was checked by name may be swapped before it is opened. So the folders are walked one by one, each opened
relative to the one before and never through a symlink; what was opened is what is then used.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Non-blocking, so that a pipe somebody put there cannot make the open wait for its other end.
_FILE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class NotPlainFile(PermissionError):
    """The path is not a regular file of this tree: a symlink, pipe, device, folder, or a file with further names."""


def open_for_reading(root: Path, relative: Path) -> BinaryIO:
    """Open the regular file ``relative`` below ``root``. Raises ``NotPlainFile`` or the ``OSError`` of the open."""
    return os.fdopen(_open(root, relative, os.O_RDONLY), "rb")


def open_for_writing(root: Path, relative: Path, *, read_back: bool, create: bool) -> tuple[BinaryIO, bool]:
    """Open ``relative`` below ``root`` without truncating it; return it and whether this call created it.

    A file with several hard links is refused: one of its names may be outside the tree. Raises ``NotPlainFile``,
    ``FileNotFoundError`` where it does not exist and ``create`` is false, or the ``OSError`` of the open.
    """
    access = os.O_RDWR if read_back else os.O_WRONLY
    created = False
    try:
        descriptor = _open(root, relative, access)
    except FileNotFoundError:
        if not create:
            raise
        descriptor = _open(root, relative, access | os.O_CREAT | os.O_EXCL)
        created = True
    if os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        raise NotPlainFile(errno.EPERM, "has several hard links; write to a copy of it", str(relative))
    return os.fdopen(descriptor, "rb+" if read_back else "wb"), created


def _open(root: Path, relative: Path, flags: int) -> int:
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise NotPlainFile(errno.EPERM, "is not a file below the root of the work tree", str(relative))
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in relative.parts[:-1]:
            inner = _at(part, _FOLDER, folder, relative)
            os.close(folder)
            folder = inner
        descriptor = _at(relative.parts[-1], flags | _FILE, folder, relative)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotPlainFile(errno.EPERM, "is not a regular file", str(relative))
    return descriptor


def _at(name: str, flags: int, folder: int, relative: Path) -> int:
    try:
        return os.open(name, flags, 0o666, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EISDIR):
            raise NotPlainFile(error.errno, "is not a regular file of the work tree", str(relative)) from None
        raise
