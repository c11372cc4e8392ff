"""The plan tool of pydantic-ai's harness, declared once for all runs.

Its reminder is left out: it would be a journaled read of the plan for each request. The plan stands in the history,
and compaction leaves it there.
"""

from __future__ import annotations

from typing import Final

from pydantic_ai import RunContext, Tool
from pydantic_ai_harness.planning import Planning, PlanningToolset, PlanStore

from ezaigent.agents.deps import Deps


class _PlanOfRun(Planning[Deps]):
    """Planning whose schemas are built once, with each run's own plan."""

    def resolve_store(self, ctx: RunContext[Deps]) -> PlanStore:
        """Return the plan of the run that asks."""
        return ctx.deps.plan


# Only ``write_plan``, which is given the whole plan each time: a replayed run needs no plan from before.
_PLANNING: Final = _PlanOfRun(tools=["write_plan"], inject=False)

PLAN_TOOLS: Final[tuple[Tool[Deps], ...]] = tuple(PlanningToolset[Deps](_PLANNING).tools.values())
"""The one tool, with its schema."""
PLAN_GUIDE: Final = str(_PLANNING.get_instructions())
"""What an agent is told about when to plan."""
