"""Deciding on changes of a file's mode, owner or times.

Landlock confines what is read and written, not these. The filter holds each such call and asks: the launcher
opens the file itself, sees where it really lies, and makes the change only inside the writable folders. Since it acts
on the file that it opened, a link swapped in between changes nothing.
"""

from __future__ import annotations

import errno
import os
import struct
import time

TYPE_CHECKING = False  # typing takes longer to import than this module
if TYPE_CHECKING:
    from collections.abc import Callable

_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_EMPTY_PATH = 0x1000
_LONGEST_PATH = 4096
_PAGE = 4096
_NOW, _OMIT = 0x3FFFFFFF, 0x3FFFFFFE  # UTIME_NOW, UTIME_OMIT
_UNSIGNED = 0xFFFFFFFF
_SAME = _UNSIGNED  # (uid_t)-1
_NOBODY = 65534  # how the caller's own number looks in a user namespace
_MODE = 0o1777


class Call:
    """One held system call of process ``pid``, its arguments taken apart."""

    def __init__(self, pid: int, name: str, arguments: list[int]) -> None:
        """Read the paths and times that the arguments point at from the caller's memory."""
        first, second, third, fourth, fifth, _ = arguments
        self._pid = pid
        self._name = name
        self._at, path, self._flags, self._values = _AT_FDCWD, first, 0, (second, third)
        if name in {"fchmod", "fchown"}:
            self._at, path, self._flags = first, 0, _AT_EMPTY_PATH
        elif name == "lchown":
            self._flags = _AT_SYMLINK_NOFOLLOW
        elif name not in {"chmod", "chown"}:
            self._at, path, self._values = first, second, (third, fourth)
            flags = {"fchmodat2": fourth, "utimensat": fourth, "fchownat": fifth}.get(name, 0) & _UNSIGNED
            self._flags = flags if path or name != "utimensat" else flags | _AT_EMPTY_PATH
        self._path = _text(pid, path) if path else b""
        self._times = _memory(pid, third, 32) if name == "utimensat" and third else b""

    def decide(self, still_asked: Callable[[], None], roots: list[str]) -> None:
        """Make the change if the file lies in ``roots``; raises ``OSError`` with what the caller is to get."""
        fd = _opened(self._pid, self._at, self._path, self._flags)
        try:
            # Only now is it sure that all this was read from the one who asked, not from a successor of its number.
            still_asked()
            lies = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115  (pathlib takes longer to import than all else)
            if not any(lies == root or lies.startswith(root + "/") for root in roots):
                raise PermissionError(errno.EPERM, "outside")
            self._change(fd)
        finally:
            os.close(fd)

    def _change(self, fd: int) -> None:
        itself = f"/proc/self/fd/{fd}"
        if "chmod" in self._name:
            os.chmod(itself, self._values[0] & _MODE)  # noqa: PTH101
        elif "chown" in self._name:
            now = os.stat(fd)
            # Nobody but root gives files away, and root here has no such right: only "as it is" succeeds.
            for wanted, owner in zip(self._values, (now.st_uid, now.st_gid), strict=True):
                if wanted & _UNSIGNED not in {_SAME, _NOBODY, owner}:
                    raise PermissionError(errno.EPERM, "chown")
        elif self._name == "utimensat":
            os.utime(itself, ns=_moments(fd, self._times)) if self._times else os.utime(itself)
        else:
            raise OSError(errno.ENOSYS, "unknown call")


def _opened(pid: int, at: int, name: bytes, flags: int) -> int:
    at = at & _UNSIGNED
    at = at - (1 << 32) if at >= 1 << 31 else at
    here = f"/proc/{pid}/cwd" if at == _AT_FDCWD else f"/proc/{pid}/fd/{at}"
    if not name:
        if not flags & _AT_EMPTY_PATH:
            raise FileNotFoundError(errno.ENOENT, "empty path")
        return os.open(here, os.O_PATH | os.O_CLOEXEC)
    follow = os.O_NOFOLLOW if flags & _AT_SYMLINK_NOFOLLOW else 0
    if name.startswith(b"/"):
        return os.open(name, os.O_PATH | os.O_CLOEXEC | follow)
    base = os.open(here, os.O_PATH | os.O_CLOEXEC)
    try:
        return os.open(name, os.O_PATH | os.O_CLOEXEC | follow, dir_fd=base)
    finally:
        os.close(base)


def _moments(fd: int, times: bytes) -> tuple[int, int]:
    accessed, accessed_ns, modified, modified_ns = struct.unpack("=qqqq", times)
    before = os.stat(fd)
    now = time.time_ns()
    result: list[int] = []
    for seconds, part, old in (
        (accessed, accessed_ns, before.st_atime_ns),
        (modified, modified_ns, before.st_mtime_ns),
    ):
        result.append(now if part == _NOW else old if part == _OMIT else seconds * 10**9 + part)
    return result[0], result[1]


def _memory(pid: int, address: int, size: int) -> bytes:
    fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, size, address)
    finally:
        os.close(fd)


def _text(pid: int, address: int) -> bytes:
    """Read a string up to its zero byte, page by page, as the next page may not exist."""
    found = b""
    while len(found) < _LONGEST_PATH:
        chunk = _memory(pid, address + len(found), _PAGE - (address + len(found)) % _PAGE)
        if not chunk:
            raise OSError(errno.EFAULT, "path")
        found += chunk
        if b"\0" in chunk:
            return found[: found.index(b"\0")]
    raise OSError(errno.ENAMETOOLONG, "path")
