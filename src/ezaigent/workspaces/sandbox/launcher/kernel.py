"""System calls that Python has no function for. Structures and constants are those of the kernel's UAPI headers."""

from __future__ import annotations

import ctypes
import os
import struct

_SIGKILL, _SIGPIPE, _SIGXFSZ = 9, 13, 25
_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_CHILD_SUBREAPER = 36
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_LAST_CAPABILITY = 63
_CAPABILITY_VERSION_3 = 0x20080522

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH = 1  # LANDLOCK_RULE_PATH_BENEATH
_NET_BITS = 0b11  # bind and connect with TCP
SCOPES_SIGNALS = 6
"""The ABI (Linux 6.12) from which Landlock confines signals."""
SCOPE_ABSTRACT_UNIX, SCOPE_SIGNAL = 1, 2

_FILE_READ = 1 << 0 | 1 << 2  # execute, read file
_READ_DIR = 1 << 3
_FILE_WRITE = 1 << 1 | 1 << 14  # write, truncate
_MAKE_DEVICE = 1 << 6 | 1 << 11
_FILE_IOCTL = 1 << 15

CLONE_NEWNET, CLONE_NEWUSER = 0x40000000, 0x10000000

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SECCOMP_SET_MODE_FILTER = 1
_NEW_LISTENER = 1 << 3
_WAIT_KILLABLE = 1 << 5  # Linux 5.19: no signal but a fatal one interrupts a call that is being decided on
_INSTRUCTION = 8  # bytes of struct sock_filter


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _syscall(what: str, number: int, *arguments: object) -> int:
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments), what)


def _prctl(option: int, value: int = 0) -> int:
    return _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


def no_new_privileges() -> None:
    """Make set-id programs and file capabilities worth nothing from here on."""
    _checked(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "no_new_privs")


def become_subreaper() -> None:
    """Adopt every orphan among our descendants, so that none leaves the tree."""
    _checked(_prctl(_PR_SET_CHILD_SUBREAPER, 1), "child subreaper")


def die_with_parent() -> None:
    """Be killed when the launcher ends in whatever way."""
    _checked(_prctl(_PR_SET_PDEATHSIG, _SIGKILL), "parent death signal")


def drop_capabilities() -> None:
    """Give up every capability, now and for all programs started later."""
    for capability in range(_LAST_CAPABILITY + 1):
        _prctl(_PR_CAPBSET_DROP, capability)  # refused without CAP_SETPCAP; no_new_privs then does the same
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITY_VERSION_3, 0), 8)
    nothing = ctypes.create_string_buffer(24)
    _checked(_libc.capset(header, nothing), "capset")


def default_signals() -> None:
    """Undo what Python ignores at its start: a full pipe and a full file end a program again."""
    for signal in (_SIGPIPE, _SIGXFSZ):
        _libc.signal(signal, None)


def unshare(flags: int) -> None:
    """Leave the namespaces named by ``flags``."""
    _checked(_libc.unshare(flags), "unshare")


def landlock_abi() -> int:
    """Return the version of Landlock in this kernel; 0 where there is none."""
    return max(0, _libc.syscall(ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION)))


def _ruleset(files: int, net: int, scoped: int) -> int:
    attributes = struct.pack("QQQ", files, net, scoped)
    size = 24 if scoped else 16 if net else 8  # older kernels know shorter structures
    return _syscall("landlock_create_ruleset", _CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))


def _enforce(ruleset: int) -> None:
    try:
        _syscall("landlock_restrict_self", _RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def scope_signals() -> None:
    """From here on we and our descendants can signal none but ourselves (ABI 6)."""
    _enforce(_ruleset(0, 0, SCOPE_SIGNAL))


def restrict(abi: int, *, readable: list[str], writable: list[str], devices: list[str], net: bool) -> None:
    """Confine this process to these paths; with ``net`` also refuse TCP where ABI 4 can."""
    handled = (1 << 13) - 1
    handled |= 1 << 13 if abi >= 2 else 0  # noqa: PLR2004  (refer)
    handled |= 1 << 14 if abi >= 3 else 0  # noqa: PLR2004  (truncate)
    handled |= _FILE_IOCTL if abi >= 5 else 0  # noqa: PLR2004
    scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL if abi >= SCOPES_SIGNALS else 0
    ruleset = _ruleset(handled, _NET_BITS if net and abi >= 4 else 0, scoped)  # noqa: PLR2004
    everything = handled & ~(_MAKE_DEVICE | _FILE_IOCTL)
    for paths, rights in (
        (readable, _FILE_READ | _READ_DIR),
        (writable, everything),
        (devices, _FILE_READ & ~1 | _FILE_WRITE & handled),
    ):
        for path in paths:
            _allow(ruleset, path, rights)
    _enforce(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no permission
    try:
        if not os.path.isdir(f"/proc/self/fd/{fd}"):  # noqa: PTH112
            rights &= _FILE_READ | _FILE_WRITE
        rule = struct.pack("=Qi", rights, fd)
        _syscall("landlock_add_rule", _ADD_RULE, ctypes.c_int(ruleset), _PATH_BENEATH, rule, ctypes.c_uint32(0))
    finally:
        os.close(fd)


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install_filter(program: bytes) -> int:
    """Install a system call filter; return the descriptor on which its questions arrive."""
    number = _SECCOMP[os.uname().machine]
    described = _Program(len(program) // _INSTRUCTION, program)
    flags = ctypes.c_ulong(_NEW_LISTENER | _WAIT_KILLABLE)
    return _syscall("seccomp", number, ctypes.c_ulong(_SECCOMP_SET_MODE_FILTER), flags, ctypes.byref(described))
