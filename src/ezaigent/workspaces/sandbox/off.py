"""No confinement, on the operator's word: only the limits, the cleared environment and the killing of leftovers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ezaigent.core.settings import SandboxSettings
from ezaigent.workspaces.sandbox.environment import environment
from ezaigent.workspaces.sandbox.launched import launcher, private_folder
from ezaigent.workspaces.sandbox.limits import Limits
from ezaigent.workspaces.sandbox.ports import CommandResult, Level, OnOutput
from ezaigent.workspaces.sandbox.request import checked
from ezaigent.workspaces.sandbox.supervise import PATIENCE, Rules, Supervised
from ezaigent.workspaces.sandbox.view import View


class NoSandbox:
    """Commands run as the worker's user and can reach whatever it can."""

    level: Level = "off"

    def __init__(
        self, settings: SandboxSettings, view: View, *, groups: Path | None, patience: float = PATIENCE
    ) -> None:
        """Take only the toolchain's ``PATH`` from ``view``; the rest is as in ``BubblewrapSandbox``."""
        self._settings = settings
        self._view = view
        self._rules = Rules(
            counts=groups is not None,
            own_user_namespace=False,
            ends_with_starter=False,
            groups=groups,
            patience=patience,
        )

    @property
    def description(self) -> str:
        """What is enforced here."""
        return (
            "off: commands can read and write everything that this user can, and use the network; "
            "limits hold and the environment is cleared"
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
        request = checked(command, cwd=cwd, writable=writable, readable=readable)
        async with private_folder() as home:
            variables = environment(home=str(home), tmp=str(home / "tmp"), programs=self._view.programs, extra=env)

            def argv(status: int, gate: int) -> list[str]:
                options = [("--status", str(status)), ("--gate", str(gate)), ("--chdir", str(request.cwd))]
                return launcher(options, variables, command)

            return await Supervised(Limits.of(self._settings, timeout), self._rules, on_output).run(argv)
