"""The plan tool of pydantic-ai's harness, declared once for all runs."""

from __future__ import annotations

from typing import Final

from pydantic_ai import RunContext
from pydantic_ai.toolsets import AgentToolset
from pydantic_ai_harness.planning import Planning, PlanStore

from ezaigent.agents.deps import Deps


class SharedPlanning(Planning[Deps]):
    """Planning whose schemas are built once, with each run's own plan.

    Only ``write_plan``, which is given the whole plan each time: a replayed run needs no plan from before. No
    reminder is added to requests; the plan stands in the history, and compaction leaves it there.
    """

    async def for_run(self, ctx: RunContext[Deps]) -> SharedPlanning:
        """Return itself: it holds nothing of a run."""
        del ctx
        return self

    def resolve_store(self, ctx: RunContext[Deps]) -> PlanStore:
        """Return the plan of the run that asks."""
        return ctx.deps.plan

    def get_toolset(self) -> AgentToolset[Deps] | None:
        """Return the one toolset."""
        if self._shared is None:
            self._shared = super().get_toolset()
        return self._shared

    _shared: AgentToolset[Deps] | None = None


PLANNING: Final = SharedPlanning(tools=["write_plan"], inject=False)
