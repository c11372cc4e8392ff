"""Answering the system calls that the filter holds: new processes, and changes of file attributes."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time

from .attributes import Call

_RECEIVE, _SEND, _STILL_VALID = 0xC0502100, 0xC0182101, 0x40082102  # SECCOMP_IOCTL_NOTIF_*
_QUESTION = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_IN_FLIGHT = 0.005  # seconds that a new process takes to appear
_GO_ON = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE

_X86_64 = {56: "clone", 57: "fork", 58: "vfork", 90: "chmod", 91: "fchmod", 92: "chown", 93: "fchown", 94: "lchown"}
_X86_64_AT = {260: "fchownat", 268: "fchmodat", 280: "utimensat", 452: "fchmodat2"}
_AARCH64 = {52: "fchmod", 53: "fchmodat", 54: "fchownat", 55: "fchown", 88: "utimensat", 220: "clone", 452: "fchmodat2"}
_calls = {"x86_64": _X86_64 | _X86_64_AT, "aarch64": _AARCH64}.get(os.uname().machine, {})


class Questions:
    """The descriptor on which the filter asks, and what the answers depend on."""

    def __init__(self, listener: int, roots: list[str], processes: int) -> None:
        """Allow changes of attributes inside ``roots`` (real paths), and ``processes`` processes and threads."""
        self.listener = listener
        self._roots = roots
        self._limit = processes
        self._seen = 1
        self.refused = 0

    def answer(self) -> None:
        """Take one question and answer it."""
        question = bytearray(_QUESTION.size)
        try:
            fcntl.ioctl(self.listener, _RECEIVE, question, True)  # noqa: FBT003
        except OSError:
            return  # whoever asked is dead
        identity, pid, _, number, _, _, *arguments = _QUESTION.unpack(question)
        name = _calls.get(number, "")
        failure = flags = 0
        try:
            if name in {"clone", "fork", "vfork"}:
                self._one_more()
                flags = _GO_ON  # nothing that it points at was looked at: there is nothing to swap
            else:
                Call(pid, name, arguments).decide(lambda: self._check(identity), self._roots)
        except OSError as error:
            failure = -(error.errno or errno.EPERM)
        try:
            fcntl.ioctl(self.listener, _SEND, _ANSWER.pack(identity, 0, failure, flags))
        except OSError:
            return

    def _check(self, identity: int) -> None:
        fcntl.ioctl(self.listener, _STILL_VALID, struct.pack("=Q", identity))

    def _one_more(self) -> None:
        """Count upwards, and anew when the count says that there are too many: most have ended by then."""
        if self._seen >= self._limit:
            time.sleep(_IN_FLIGHT)  # those let through a moment ago are not yet to be seen
            self._seen = len(descendants(threads=True, enough=self._limit))
        if self._seen >= self._limit:
            self.refused += 1
            raise BlockingIOError(errno.EAGAIN, "too many processes")
        self._seen += 1


def descendants(*, threads: bool = False, enough: int = 1 << 22) -> list[int]:
    """Return the processes below this one, or all their threads; no further once there are ``enough``."""
    found: list[int] = []
    queue = [os.getpid()]
    while queue and len(found) < enough:
        pid = queue.pop()
        try:
            tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
            if pid != os.getpid():
                found += map(int, tasks) if threads else [pid]
            for task in tasks:
                fd = os.open(f"/proc/{pid}/task/{task}/children", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    queue += map(int, os.read(fd, 1 << 20).split())
                finally:
                    os.close(fd)
        except OSError:
            continue  # it ended while we looked
    return found
