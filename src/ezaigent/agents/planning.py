"""The plan tool of pydantic-ai's harness, declared once for all runs."""

from __future__ import annotations

from typing import Final

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai_harness.planning import Planning, PlanningToolset, PlanStore

from ezaigent.agents.deps import Deps


class _PlanOfRun(Planning[Deps]):
    """Planning whose schemas are built once, with each run's own plan."""

    def resolve_store(self, ctx: RunContext[Deps]) -> PlanStore:
        """Return the plan of the run that asks."""
        return ctx.deps.plan


# Only ``write_plan``, which is given the whole plan each time: a replayed run needs no plan from before.
_PLANNING: Final = _PlanOfRun(tools=["write_plan"], inject=False)
_TOOLS: Final = PlanningToolset[Deps](_PLANNING)
_GUIDE: Final = str(_PLANNING.get_instructions())


class PlanTool(AbstractCapability[Deps]):
    """The harness's plan tool without its reminder, which would be a journaled read of the plan for each request.

    The plan stands in the history, and compaction leaves it there.
    """

    def get_toolset(self) -> PlanningToolset[Deps]:
        """Return the one toolset."""
        return _TOOLS

    def get_instructions(self) -> str:
        """Return when to plan."""
        return _GUIDE
