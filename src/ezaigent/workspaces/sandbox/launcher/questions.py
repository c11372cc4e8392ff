"""Answering the system calls that the filter holds: changes of file attributes."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from .attributes import Call

_RECEIVE, _SEND, _STILL_VALID = 0xC0502100, 0xC0182101, 0x40082102  # SECCOMP_IOCTL_NOTIF_*
_QUESTION = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")

_X86_64 = {90: "chmod", 91: "fchmod", 92: "chown", 93: "fchown", 94: "lchown"}
_X86_64_AT = {260: "fchownat", 268: "fchmodat", 280: "utimensat", 452: "fchmodat2"}
_AARCH64 = {52: "fchmod", 53: "fchmodat", 54: "fchownat", 55: "fchown", 88: "utimensat", 452: "fchmodat2"}
_calls = {"x86_64": _X86_64 | _X86_64_AT, "aarch64": _AARCH64}.get(os.uname().machine, {})


class Questions:
    """The descriptor on which the filter asks, and what the answers depend on."""

    def __init__(self, listener: int, roots: list[str]) -> None:
        """Allow changes of attributes inside ``roots`` (real paths)."""
        self.listener = listener
        self._roots = roots

    def answer(self) -> None:
        """Take one question and answer it."""
        question = bytearray(_QUESTION.size)
        try:
            fcntl.ioctl(self.listener, _RECEIVE, question, True)  # noqa: FBT003
        except OSError:
            return  # whoever asked is dead
        identity, pid, _, number, _, _, *arguments = _QUESTION.unpack(question)
        name = _calls.get(number, "")
        failure = 0
        try:
            Call(pid, name, arguments).decide(lambda: self._check(identity), self._roots)
        except OSError as error:
            failure = -(error.errno or errno.EPERM)
        try:
            fcntl.ioctl(self.listener, _SEND, _ANSWER.pack(identity, 0, failure, 0))
        except OSError:
            return

    def _check(self, identity: int) -> None:
        fcntl.ioctl(self.listener, _STILL_VALID, struct.pack("=Q", identity))


def descendants() -> list[int]:
    """Return the processes below this one, parents before children."""
    found: list[int] = []
    queue = [os.getpid()]
    while queue:
        pid = queue.pop()
        try:
            for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
                fd = os.open(f"/proc/{pid}/task/{task}/children", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    young = [int(word) for word in os.read(fd, 1 << 20).split()]
                finally:
                    os.close(fd)
                found += young
                queue += young
        except OSError:
            continue  # it ended while we looked
    return found
