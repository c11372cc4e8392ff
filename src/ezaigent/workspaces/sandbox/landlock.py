"""The second level: Landlock and a system call filter, for places where namespaces are not allowed (containers)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ezaigent.core.errors import UnavailableError
from ezaigent.core.settings import SandboxSettings
from ezaigent.workspaces.sandbox.environment import environment
from ezaigent.workspaces.sandbox.launched import launcher, private_folder
from ezaigent.workspaces.sandbox.launcher.kernel import SCOPES_SIGNALS, landlock_abi
from ezaigent.workspaces.sandbox.limits import Limits
from ezaigent.workspaces.sandbox.ports import CommandResult, Level, OnOutput
from ezaigent.workspaces.sandbox.request import checked
from ezaigent.workspaces.sandbox.seccomp import AF_INET, AF_INET6, AF_NETLINK, Filter
from ezaigent.workspaces.sandbox.supervise import PATIENCE, Rules, Supervised, readable_pipe
from ezaigent.workspaces.sandbox.view import View

OLDEST_ABI = 3
"""Before this (Linux 6.2) any file could be emptied, wherever it lies."""

_MACHINE = (
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/filesystems", "/proc/loadavg"),
    *("/proc/uptime", "/proc/sys/kernel/ngroups_max", "/proc/sys/kernel/osrelease", "/proc/sys/kernel/pid_max"),
    *("/proc/sys/vm/overcommit_memory", "/sys/devices/system/cpu"),
)
"""Facts about the machine. The rest of ``/proc`` shows other processes and stays closed, even a command's own part:
there is no rule that means "whoever asks"."""

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class LandlockSandbox:
    """Files by Landlock, sockets and other processes by a filter, everything else by a supervisor."""

    level: Level = "landlock"

    def __init__(
        self,
        settings: SandboxSettings,
        view: View,
        *,
        groups: Path | None,
        own_network: bool,
        abi: int | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """Use ``view`` as the readable part of the machine.

        ``groups`` is where pids control groups can be made. ``own_network`` puts each command into an empty network,
        where the kernel lets this user make one. ``abi`` is what to assume of the kernel, by default what it says.
        ``patience`` is how many seconds a command may stay at its limit of processes.
        """
        self._settings = settings
        self._view = view
        self._abi = landlock_abi() if abi is None else abi
        self._own_network = own_network and not settings.network
        self._rules = Rules(
            counts=groups is not None or (self._own_network and os.getuid() != 0),
            own_user_namespace=self._own_network,
            ends_with_starter=False,
            groups=groups,
            patience=patience,
        )
        self._filter = Filter(
            families=(AF_INET, AF_INET6, AF_NETLINK) if self._own_network or settings.network else (),
            shares_processes=True,
            no_signals=self._abi < SCOPES_SIGNALS,
            asks=True,
        ).program()

    @property
    def description(self) -> str:
        """What is enforced here."""
        if self._settings.network:
            network = "the host's network without Unix sockets"
        elif self._own_network:
            network = "an empty network without Unix sockets"
        else:
            network = "no sockets of any kind"
        signals = "none may be sent" if self._abi < SCOPES_SIGNALS else "only among themselves"
        return (
            f"Landlock ABI {self._abi} and a system call filter: only the tree is writable, homes and /proc hidden, "
            f"{network}, signals: {signals}; processes bounded by {self._counter()}; names and sizes of hidden files "
            f"can be asked for, and /tmp is not there (TMPDIR is)"
        )

    async def run(
        self,
        command: str,
        *,
        cwd: Path,
        writable: Path,
        readable: Sequence[Path] = (),
        env: Mapping[str, str] = {},
        timeout: float | None = None,
        on_output: OnOutput | None = None,
    ) -> CommandResult:
        """Run ``command``; see ``Sandbox.run``."""
        if self._filter is None or self._abi < OLDEST_ABI:
            raise UnavailableError(f"Landlock ABI {self._abi} cannot confine commands on this machine: use bubblewrap")
        request = checked(command, cwd=cwd, writable=writable, readable=readable)
        limits = Limits.of(self._settings, timeout)
        async with private_folder() as home:
            variables = environment(home=str(home), tmp=str(home / "tmp"), programs=self._view.programs, extra=env)
            with readable_pipe(self._filter) as rules:

                def argv(status: int, gate: int) -> list[str]:
                    options = [
                        ("--status", str(status)),
                        ("--gate", str(gate)),
                        ("--filter", str(rules)),
                        ("--abi", str(self._abi)),
                        ("--network", self._network()),
                        ("--chdir", str(request.cwd)),
                        *(("--read", str(path)) for path in (*self._view.paths, *request.readable, *_MACHINE)),
                        *(("--write", str(path)) for path in (request.writable, home)),
                        *(("--device", path) for path in _DEVICES),
                    ]
                    return launcher(options, variables, command)

                return await Supervised(limits, self._rules, on_output).run(argv, (rules,))

    def _counter(self) -> str:
        if self._rules.groups is not None:
            return "a control group"
        return "the kernel" if self._rules.counts else "a watch every 0.1 s"

    def _network(self) -> str:
        if self._settings.network:
            return "host"
        return "own" if self._own_network else "none"
