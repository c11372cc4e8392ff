"""A system-call filter (seccomp BPF) as bytes: what no command of an agent has a use for is refused.

Both levels use it. Under Landlock it also closes what Landlock leaves open: sockets of every kind (UDP, and the
Unix sockets of the host's services), System V IPC, and calls that act on other processes of the same user.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ezaigent.workspaces.sandbox.syscalls import Architecture, this_architecture

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_NOTIFY = 0x7FC00000

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_IF_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

_Step = tuple[int, int, int, int]  # struct sock_filter: code, jump if true, jump if false, k

_ALLOW_VERDICT: Final[_Step] = (_RETURN, 0, 0, _ALLOW)
_REFUSED_VERDICT: Final[_Step] = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
_ABSENT_VERDICT: Final[_Step] = (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)

_NUMBER = 0  # offsets in struct seccomp_data
_ARCH = 4
_ARGUMENTS = 16

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16

_NAMESPACES = 0x7E020000  # CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
_SET_ID = 0o6000
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX

_NEVER: Final = (
    *("mount", "umount2", "pivot_root", "unshare", "setns", "open_tree", "move_mount", "fsopen", "fsconfig"),
    *("fsmount", "fspick", "mount_setattr", "name_to_handle_at", "open_by_handle_at", "fanotify_init"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf", "perf_event_open"),
    *("keyctl", "add_key", "request_key", "userfaultfd", "kcmp", "pidfd_getfd"),
    *("reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog", "vhangup", "iopl", "ioperm"),
    *("settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "sethostname", "setdomainname"),
)
_ABSENT: Final = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")
"""Answered with ENOSYS, for which libraries have another way; their arguments are out of a filter's sight."""

_SET_ID_MODES: Final = (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("fchmodat2", 2))
_OWN_PROCESS_ONLY: Final = (
    *(("prlimit64", 0), ("sched_setparam", 0), ("sched_setscheduler", 0), ("sched_setaffinity", 0)),
    *(("sched_setattr", 0), ("setpriority", 1), ("ioprio_set", 1)),
)
_OTHER_PROCESSES: Final = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease"),
    *("move_pages", "migrate_pages"),
)
_SHARED_IPC: Final = (*("shmget", "shmat", "shmctl", "semget", "semctl", "msgget", "msgctl", "mq_open", "mq_unlink"),)
_SIGNALS: Final = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal")
ASKED: Final = (*("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat", "utimensat"),)
"""Calls that change modes, owners and times: Landlock does not confine them, so the launcher decides each one."""
_OTHER_ATTRIBUTES: Final = (
    *("utime", "utimes", "futimesat"),
    *("setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
    *("removexattr", "lremovexattr", "fremovexattr", "removexattrat"),
)
"""The rest of that kind, which hardly a program uses or misses: not supported under Landlock."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What is refused beyond that which nobody needs."""

    families: tuple[int, ...] | None = None
    """Address families that a socket may have; ``None``: all."""
    shares_processes: bool = False
    """The command lives among the host's processes: it may touch none but itself, nor System V IPC."""
    no_signals: bool = False
    """Nothing else confines signals here: none may be sent."""
    asks: bool = False
    """Whether changes of file attributes are put to the launcher.

    New processes are not: a signal that arrives while a call is held ends it with EINTR, which shells, whose children
    end all the time, take for a fork that failed."""

    def program(self) -> bytes | None:
        """Return the filter for this machine, or ``None`` on an architecture that it does not know."""
        arch = this_architecture()
        return None if arch is None else b"".join(struct.pack("=HBBI", *step) for step in self._steps(arch))

    def _steps(self, arch: Architecture) -> list[_Step]:
        steps = [(_LOAD, 0, 0, _ARCH), (_IF_EQUAL, 1, 0, arch.audit), _ABSENT_VERDICT, (_LOAD, 0, 0, _NUMBER)]
        if arch.foreign is not None:
            steps += [(_IF_AT_LEAST, 0, 1, arch.foreign), _ABSENT_VERDICT]
        for names, verdict in self._verdicts():
            for number in (arch.numbers[name] for name in names if name in arch.numbers):
                steps += [(_IF_EQUAL, 0, 1, number), verdict]
        for name, checks in self._conditions():
            if name in arch.numbers:
                body = [*checks, _ALLOW_VERDICT]
                steps += [(_IF_EQUAL, 0, len(body), arch.numbers[name]), *body]
        return [*steps, _ALLOW_VERDICT]

    def _verdicts(self) -> list[tuple[Iterable[str], _Step]]:
        """Calls that are answered whatever their arguments."""
        verdicts: list[tuple[Iterable[str], _Step]] = [(_ABSENT, _ABSENT_VERDICT), (_NEVER, _REFUSED_VERDICT)]
        if self.shares_processes:
            verdicts += [(_OTHER_PROCESSES, _REFUSED_VERDICT), (_SHARED_IPC, _REFUSED_VERDICT)]
        if self.no_signals:
            verdicts.append((_SIGNALS, _REFUSED_VERDICT))
        if self.asks:
            verdicts.append((_OTHER_ATTRIBUTES, (_RETURN, 0, 0, _ERRNO | errno.EOPNOTSUPP)))
        return verdicts

    def _conditions(self) -> Iterator[tuple[str, list[_Step]]]:
        """Calls whose arguments decide; what no check decides is allowed."""
        asked = [(_RETURN, 0, 0, _NOTIFY)] if self.asks else []
        yield "clone", [_argument(0), (_IF_ANY_BIT, 0, 1, _NAMESPACES), _REFUSED_VERDICT]
        tty = [step for code in _TERMINAL_INPUT for step in ((_IF_EQUAL, 0, 1, code), _REFUSED_VERDICT)]
        yield "ioctl", [_argument(1), *tty]
        modes = dict(_SET_ID_MODES)
        for name in ASKED if self.asks else modes:
            refused = [_argument(modes[name]), (_IF_ANY_BIT, 0, 1, _SET_ID), _REFUSED_VERDICT] if name in modes else []
            yield name, [*refused, *asked]
        if self.shares_processes:
            for name, index in _OWN_PROCESS_ONLY:
                yield name, [_argument(index), (_IF_EQUAL, 1, 0, 0), _REFUSED_VERDICT]
        if self.families is not None:
            good = [step for family in self.families for step in ((_IF_EQUAL, 0, 1, family), _ALLOW_VERDICT)]
            yield "socket", [_argument(0), *good, _REFUSED_VERDICT]


def _argument(index: int) -> _Step:
    """Load the lower half of an argument: all the values checked here are of 32 bits."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)
