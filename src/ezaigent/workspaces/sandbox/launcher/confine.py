"""The command's side of the launcher: give everything up, then become the shell."""

from __future__ import annotations

import _socket
import fcntl
import os
import struct
from contextlib import suppress

from . import kernel
from .plan import Plan

_LONGEST_PROGRAM = 32768  # bytes: BPF_MAXINSNS instructions
_NOBODY = 65534
_SIOCSIFFLAGS = 0x8914
_UP_AND_RUNNING = 0x41


def become(plan: Plan, channel: _socket.socket) -> None:
    """Never returns. ``channel`` takes the filter's descriptor to the launcher; it closes when the shell runs."""
    try:
        os.setsid()
        if plan.own_network:
            _leave_the_network()
        kernel.die_with_parent()  # only now: a change of user namespace would undo it
        os.write(plan.status, b'{"child-pid": %d}\n' % os.getpid())
        if not os.read(plan.gate, 1):
            os._exit(1)  # the worker gave up before it began
        os.chdir(plan.folder)
        os.dup2(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC), 0)
        kernel.default_signals()
        if plan.confined:
            _confine(plan, channel)
        os.execve("/bin/sh", ["/bin/sh", "-c", plan.command], plan.environment)  # noqa: S606
    except BaseException as error:  # noqa: BLE001  (whatever it was, the launcher must not be run twice)
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        channel.send(b"failed")
        os._exit(1)


def _confine(plan: Plan, channel: _socket.socket) -> None:
    program = os.read(plan.filter, _LONGEST_PROGRAM)
    with suppress(OSError):  # only root may, and only root has groups to lose
        os.setgroups([])
    kernel.drop_capabilities()
    kernel.no_new_privileges()
    kernel.restrict(
        plan.abi,
        readable=plan.readable,
        writable=plan.writable,
        devices=plan.devices,
        net=plan.no_network and not plan.own_network,
    )
    listener = kernel.install_filter(program)
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", listener))
    channel.sendmsg([b"listener"], [rights])


def _leave_the_network() -> None:
    """Enter an empty network with a loopback of its own, as nobody in a user namespace of its own."""
    uid, gid = os.getuid(), os.getgid()
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{_NOBODY} {uid} 1"),
        ("gid_map", f"{_NOBODY} {gid} 1"),
    ):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, text.encode())
        os.close(fd)
    loopback = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    fcntl.ioctl(loopback.fileno(), _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _UP_AND_RUNNING))
    loopback.close()
