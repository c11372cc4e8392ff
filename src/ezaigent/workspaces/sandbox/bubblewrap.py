"""The strongest level: Linux namespaces set up by bubblewrap."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ezaigent.core.settings import SandboxSettings
from ezaigent.workspaces.sandbox.environment import environment
from ezaigent.workspaces.sandbox.etc import EtcCopy
from ezaigent.workspaces.sandbox.limits import Limits
from ezaigent.workspaces.sandbox.ports import CommandResult, Level, OnOutput
from ezaigent.workspaces.sandbox.request import checked
from ezaigent.workspaces.sandbox.seccomp import AF_INET, AF_INET6, AF_NETLINK, Filter
from ezaigent.workspaces.sandbox.supervise import PATIENCE, Rules, Supervised, readable_pipe
from ezaigent.workspaces.sandbox.view import SYSTEM, View

TMP_SHARE = 2
"""The private ``/tmp`` holds at most the memory limit divided by this: it lives in memory."""

_HOME = "/tmp/home"  # noqa: S108  (inside the sandbox, on its private /tmp)
_NOBODY = "65534"
_SHM = 64 * 1024**2

_BEHIND_THE_GATE = 'read -r go && [ "$go" = go ] && unset go && exec /bin/sh -c "$0" </dev/null; exit 125'

_HARDENING: Final = (
    "--unshare-all",
    "--unshare-user",
    "--uid",
    _NOBODY,
    "--gid",
    _NOBODY,
    "--hostname",
    "sandbox",
    "--cap-drop",
    "ALL",
    "--die-with-parent",
    "--new-session",
    "--clearenv",
)


class BubblewrapSandbox:
    """Own user, PID, network, IPC, mount, host name and control-group namespaces for each command."""

    level: Level = "bubblewrap"

    def __init__(
        self,
        settings: SandboxSettings,
        view: View,
        *,
        groups: Path | None,
        seal: bool = True,
        patience: float = PATIENCE,
    ) -> None:
        """Use ``view`` as the readable part of the machine; ``groups`` is where pids control groups can be made.

        ``seal`` forbids further user namespaces inside with bubblewrap's own option, which came with 0.8; the system
        call filter forbids them too. ``patience`` is how many seconds a command may stay at its limit of processes.
        """
        self._seal = seal
        self._settings = settings
        self._view = view
        self._etc = EtcCopy([path for path in view.paths if path.is_relative_to("/etc")])
        self._program = shutil.which("bwrap") or "bwrap"
        self._rules = Rules(
            counts=groups is not None or os.getuid() != 0,  # the kernel exempts root from RLIMIT_NPROC
            own_user_namespace=True,
            ends_with_starter=True,
            groups=groups,
            patience=patience,
        )

    @property
    def description(self) -> str:
        """What is enforced here."""
        network = "the host's network" if self._settings.network else "no network"
        if self._rules.groups is not None:
            processes = "a control group"
        else:
            processes = "a watch every 0.1 s" if os.getuid() == 0 else "the kernel"
        return (
            f"bubblewrap: own namespaces, read-only system, hidden homes, private /tmp, {network}; "
            f"processes bounded by {processes}"
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
        # No Unix sockets beside the host's network: the abstract ones of its services would be in reach.
        families = (AF_INET, AF_INET6, AF_NETLINK) if self._settings.network else None
        program = Filter(families=families).program()
        request = checked(command, cwd=cwd, writable=writable, readable=readable)
        variables = environment(home=_HOME, tmp="/tmp", programs=self._view.programs, extra=env)  # noqa: S108
        limits = Limits.of(self._settings, timeout)

        with contextlib.ExitStack() as stack:
            rules = stack.enter_context(readable_pipe(program)) if program else None

            def argv(status: int, gate: int) -> list[str]:
                return [
                    self._program,
                    *_HARDENING,
                    *(("--disable-userns",) if self._seal else ()),
                    *(("--share-net",) if self._settings.network else ()),
                    *self._mounts(limits, request.writable, request.readable),
                    *(word for name, value in variables.items() for word in ("--setenv", name, value)),
                    *("--chdir", str(request.cwd), "--json-status-fd", str(status), "--block-fd", str(gate)),
                    *(("--seccomp", str(rules)) if rules is not None else ()),
                    *("--", "/bin/sh", "-c", _BEHIND_THE_GATE, command),
                ]

            inherit = () if rules is None else (rules,)
            return await Supervised(limits, self._rules, on_output).run(argv, inherit)

    def _mounts(self, limits: Limits, writable: Path, readable: Sequence[Path]) -> list[str]:
        words = ["--proc", "/proc", "--dev", "/dev", "--size", str(_SHM), "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
        words += ["--remount-ro", "/dev"]
        words += ["--size", str(limits.memory // TMP_SHARE), "--perms", "1777", "--tmpfs", "/tmp", "--dir", _HOME]  # noqa: S108
        words += ["--ro-bind", str(self._etc.path), "/etc"]
        for path in self._view.paths:
            if path.is_relative_to("/etc"):
                continue
            if str(path) in SYSTEM and path.is_symlink():
                words += ["--symlink", str(path.readlink()), str(path)]
            else:
                words += ["--ro-bind", str(path), str(path)]
        # Parents before their parts, so that a readable part of the writable tree stays read-only.
        binds = [(path, "--ro-bind") for path in readable] + [(writable, "--bind")]
        for path, how in sorted(binds, key=lambda bind: len(bind[0].parts)):
            words += [how, str(path), str(path)]
        return [*words, "--remount-ro", "/"]
