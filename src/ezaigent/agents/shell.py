"""The shell tool: commands of the agent, always in the run's sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic_ai import RunContext

from ezaigent.agents.deps import Deps
from ezaigent.agents.limits import clip
from ezaigent.core.failpoints import reach

if TYPE_CHECKING:
    from ezaigent.workspaces import CommandResult

_SHOWN: Final = 24_000
"""Characters of output that the model is shown."""
_TIMEOUT: Final = 1800.0
"""Seconds that the model may ask for at most; the sandbox's own limit holds as well."""


async def shell(ctx: RunContext[Deps], command: str, timeout: float | None = None) -> str:
    """Run a shell command in the root of the work tree; each call is a new shell.

    Args:
        ctx: The run.
        command: What /bin/sh runs. It has no network and no terminal; background processes end with it.
        timeout: Seconds after which it is stopped.
    """
    result = await ctx.deps.workspace.run(command, timeout=None if timeout is None else min(max(timeout, 1), _TIMEOUT))
    reach("tool.mid")
    return render(result)


def render(result: CommandResult) -> str:
    """Return what the model sees of a command: its output, cut in the middle, and how it ended. Never its duration."""
    output = result.output.rstrip("\n")
    if len(output) > _SHOWN:
        output = clip(output, _SHOWN)
    elif result.truncated:
        output = f"{output}\n[… output cut at the sandbox's limit …]"
    if result.timed_out:
        end = f"[timed out and stopped; exit code {result.exit_code}]"
    elif result.limit:
        end = f"[stopped by the {result.limit} limit; exit code {result.exit_code}]"
    else:
        end = f"[exit code {result.exit_code}]"
    return f"{output}\n{end}" if output else end
