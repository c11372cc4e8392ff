"""All tools of an agent in one set, declared once: each further set costs every step of every run."""

from __future__ import annotations

from typing import Any, Final

from pydantic_ai import FunctionToolset, RunContext
from pydantic_ai.toolsets import ToolsetTool

from ezaigent.agents.deps import Deps
from ezaigent.agents.files import edit_file, grep, list_files, read_file, write_file
from ezaigent.agents.planning import PLAN_TOOLS
from ezaigent.agents.shell import shell
from ezaigent.agents.telling import told_of


class Toolbox(FunctionToolset[Deps]):
    """Tools that note what each call is about, for the log."""

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Deps], tool: ToolsetTool[Deps]
    ) -> Any:
        """Note the call and make it."""
        ctx.deps.call = told_of(tool_args, ctx.deps.secrets)
        return await super().call_tool(name, tool_args, ctx, tool)


TOOLBOX: Final = Toolbox(id="tools", tools=[read_file, write_file, edit_file, list_files, grep, shell, *PLAN_TOOLS])
"""Read, write and edit files, list and search them, run a command, write the plan down."""
