"""What goes into a run and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ezaigent.agents.controls import Controls
from ezaigent.core.change import CheckResult
from ezaigent.tasks import Claim

if TYPE_CHECKING:
    from ezaigent.agents.ports import Workplace
    from ezaigent.agents.profiles import Profile


@dataclass(frozen=True, slots=True)
class Step:
    """One finished and journaled step, as it is told to whoever watches the run."""

    seq: int
    """Position in the journal of this session, from 0."""
    what: Literal["model", "tool", "check", "message"]
    name: str
    """Model, tool, or first check command."""
    ms: float
    """Wall time in milliseconds; 0 where it was replayed."""
    files_changed: bool
    """Whether the step left a new checkpoint."""
    replayed: bool
    """Whether its result came from the journal of an earlier run instead of from work done now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run: who does which task, where, and how it can be stopped."""

    claim: Claim
    profile: Profile
    workspace: Workplace
    """Open, and restored to ``Journal.last_checkpoint`` where the claim resumes an earlier run."""
    controls: Controls
    check_rounds: int = 3
    """Times that failing checks go back to the agent before the attempt fails."""
    models_to_skip: int = 0
    """How many of the profile's models have had their chances already."""
    on_step: Callable[[Step], None] | None = None
    """Called after each step, from the run's event loop; must not block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to. A run that fails raises instead."""

    summary: str
    """The agent's own closing words, one short text for people."""
    checks: tuple[CheckResult, ...]
    """All passed; each is tied to the hash of the tree that it ran on."""
    steps: int
    """Steps in the journal of this session, replayed ones included."""
    checkpoint: str | None
    """Last checkpoint commit of the work tree; None where nothing changed."""
