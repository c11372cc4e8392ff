"""A bound on every tool's result, whatever the tool itself lets through: the harness's, cutting only."""

from __future__ import annotations

from typing import Any, Final

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.tools import ToolDefinition
from pydantic_ai_harness.tool_output_limits import Band, ToolOutputLimits, Truncate

from ezaigent.agents.deps import Deps

RESULT_CHARS: Final = 64_000
"""Characters kept of a tool's result; the tools' own limits lie below it, except that of ``grep``."""


class ResultLimits(AbstractCapability[Deps]):
    """Cuts long results in the middle.

    It asks the harness's limits instead of being them: those bring tools and journaled operations for storing results
    aside, whose schemas would be built for each run.
    """

    _cut = ToolOutputLimits[Deps](bands=[Band(over=RESULT_CHARS, action=Truncate(max_chars=RESULT_CHARS))])

    async def after_tool_execute(
        self, ctx: RunContext[Deps], *, call: ToolCallPart, tool_def: ToolDefinition, args: dict[str, Any], result: Any
    ) -> Any:
        """Return the result, cut where it is too long."""
        if isinstance(result, str) and len(result) < RESULT_CHARS:
            return result
        return await self._cut.after_tool_execute(ctx, call=call, tool_def=tool_def, args=args, result=result)
