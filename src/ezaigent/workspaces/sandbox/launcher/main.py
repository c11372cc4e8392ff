"""The launcher's own side: start the command, answer its questions, and leave nothing of it alive."""

from __future__ import annotations

import _socket
import os
import select
import struct
import sys

from . import kernel
from .confine import become
from .plan import Plan, parse
from .questions import Questions, descendants

_KILL = 9  # the module with the names takes longer to import than this one
_BUSY_WAIT = 2  # milliseconds between rounds of killing
_REAP = 200  # milliseconds between looks for orphans that ended


def main() -> None:
    """Run the plan in ``sys.argv``."""
    plan = parse(sys.argv[1:])
    for fd in (plan.status, plan.gate, plan.filter):
        if fd >= 0:
            os.set_inheritable(fd, False)  # noqa: FBT003
    kernel.become_subreaper()
    if plan.confined:
        kernel.no_new_privileges()
    plan.scoped = plan.scoped and _scope_signals()
    ours, theirs = _socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        become(plan, theirs)
    theirs.close()
    if plan.confined:
        kernel.drop_capabilities()
    code = _Watch(plan, child, ours).to_the_end()
    if code is not None:
        os.write(plan.status, b'{"exit-code": %d}\n' % code)
        os._exit(0)
    os._exit(1)


class _Watch:
    def __init__(self, plan: Plan, child: int, channel: _socket.socket) -> None:
        self._plan = plan
        self._child = child
        self._channel = channel
        self._questions: Questions | None = None
        self._failed = False
        self._code: int | None = None
        self._end = os.pidfd_open(child)

    def to_the_end(self) -> int | None:
        """Return the command's code; ``None`` when it was called off or never ran."""
        poll = select.poll()
        poll.register(self._plan.gate, 0)  # only its end: the worker wants the command gone, or is gone itself
        poll.register(self._end, select.POLLIN)
        poll.register(self._channel.fileno(), select.POLLIN)
        called_off = False
        while self._code is None and not called_off:
            self._reap()
            if self._code is not None:
                break
            for fd, event in poll.poll(_REAP):
                if fd == self._plan.gate and event & (select.POLLHUP | select.POLLERR):
                    called_off = True
                elif fd == self._channel.fileno():
                    self._listen(poll)
                elif self._questions is not None and fd == self._questions.listener:
                    if event & select.POLLIN:
                        self._questions.answer()
                    else:
                        poll.unregister(fd)
        # Who waits for an answer now can be killed, and gets none: an error would be told in the command's output.
        self._kill_everything()
        self._listen(poll)
        return None if called_off or self._failed else self._code

    def _listen(self, poll: select.poll) -> None:
        """Take what the child says on its way: the filter's descriptor, a failure, or the end of the talk."""
        if self._channel.fileno() < 0:
            return
        try:
            said, rights, _, _ = self._channel.recvmsg(64, 64, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        for _, _, data in rights:
            (listener,) = struct.unpack("i", data[:4])
            roots = [os.path.realpath(path) for path in self._plan.writable]
            self._questions = Questions(listener, roots)
            poll.register(listener, select.POLLIN)
        self._failed = self._failed or said == b"failed"
        if not said:
            poll.unregister(self._channel.fileno())
            self._channel.close()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._child:
                code = os.waitstatus_to_exitcode(status)
                self._code = code if code >= 0 else 128 - code

    def _kill_everything(self) -> None:
        """Kill until there is no descendant left."""
        while True:
            if self._plan.scoped:
                # One call that no fork can outrun: it reaches exactly those whom we may signal, our own.
                _kill(-1)
            else:
                for pid in descendants():
                    _kill(pid)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            select.poll().poll(_BUSY_WAIT)


def _scope_signals() -> bool:
    """Confine our signals to our descendants, and make sure of it before one is ever sent to everybody."""
    worker = os.getppid()
    if worker <= 0:
        return False
    os.kill(worker, 0)
    kernel.scope_signals()
    try:
        os.kill(worker, 0)
    except PermissionError:
        return True
    return False


def _kill(pid: int) -> None:
    try:
        os.kill(pid, _KILL)
    except OSError:
        return
