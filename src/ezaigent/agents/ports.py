"""The contract of a run, named once. Nothing outside this room knows which runtime, or which library, does the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ezaigent.core.change import CheckResult

if TYPE_CHECKING:
    from ezaigent.agents.models import Job, Outcome
    from ezaigent.agents.profiles import Profile
    from ezaigent.tasks import Claim
    from ezaigent.workspaces import CommandResult, OnOutput


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why no model of a profile is to be asked."""

    reason: str
    """One line: what is used up, and what the provider said."""
    until: float | None
    """When somebody may find out, seconds since 1970; None: somebody does, or may, now."""
    trial: bool = False
    """Whether that time has come: one agent may find out whether a model answers again."""


class Runtime(Protocol):
    """Something that can work a task to its end."""

    def blocked(self, profile: Profile) -> Blocked | None:
        """Return why a run of the profile would come to nothing now; None: nothing is known that speaks against it.

        It waits for nothing and makes no request.
        """
        ...

    def hear(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take in an event that tells of a model (``model.…``), from whichever worker it comes."""
        ...

    async def checkpoint(self, claim: Claim) -> str | None:
        """Return the commit to which the work tree must be restored before ``run``; None for a fresh tree."""
        ...

    async def run(self, job: Job) -> Outcome:
        """Work the task in its workspace until its checks pass; go on where an earlier run of the session stopped.

        Raises ``RunError`` (``BudgetExceeded``, ``StuckError``) where the attempt fails, ``ModelsParked`` where it
        cannot go on before its models answer again, and a ``ControlSignal`` where it must stop. In each case everything
        done so far is journaled and checkpointed.
        """
        ...


class Workplace(Protocol):
    """What a runtime needs of an open workspace; ``workspaces.Workspace`` is one."""

    @property
    def path(self) -> Path:
        """Root of the work tree."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What an agent should know about the tree, one sentence each."""
        ...

    async def checkpoint(self, label: str) -> str | None:
        """Save the tree as a hidden commit; return its id, or None where nothing changed since the last one."""
        ...

    async def run(
        self, command: str, *, timeout: float | None = None, on_output: OnOutput | None = None
    ) -> CommandResult:
        """Run a shell command in the sandbox; cancelling ends it with all its descendants."""
        ...

    async def check(self, commands: Sequence[str]) -> tuple[CheckResult, ...]:
        """Run check commands in the sandbox on the checkpointed tree; each result names the tree's hash."""
        ...

    async def violations(self, scope: Sequence[str]) -> list[str]:
        """Return the changed files that match none of the globs."""
        ...
