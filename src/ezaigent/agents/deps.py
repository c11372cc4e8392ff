"""What the tools of one run hold: its tree, its limits, its journal. pydantic-ai hands it to each call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ezaigent.workspaces import outside

if TYPE_CHECKING:
    from pydantic_ai_harness.planning import InMemoryPlanStore

    from ezaigent.agents.files import TreeFiles
    from ezaigent.agents.ports import Workplace


@dataclass(slots=True)
class Deps:
    """One run, as its tools see it."""

    workspace: Workplace
    files: TreeFiles
    plan: InMemoryPlanStore
    scope: tuple[str, ...]
    secrets: frozenset[str] = frozenset()
    """What must not be told of a call."""
    call: str = ""
    """What is told of the call that is under way, or was the last."""

    def in_scope(self, path: str) -> bool:
        """Whether the task may change ``path`` (relative to the root, with slashes)."""
        return not outside([path], self.scope)
