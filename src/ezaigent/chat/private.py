"""The conversation with one agent: what it is asked, told, or given to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ezaigent.chat import wordings
from ezaigent.chat.commands import EVERYONE, Command, Drain, Pause, Resume, Submit, Tell, harmless
from ezaigent.core.errors import NotFoundError

if TYPE_CHECKING:
    from ezaigent.chat.ports import AgentFacts, FleetDoor
    from ezaigent.tasks import TaskQueue

_ABOUT: Final = re.compile(
    r".*\b(?:you|your|yourself|last|work(?:ed|ing)?|did|do|doing|done|task|tasks|cost|progress|busy|status|idle)\b.*|.*\?",
    re.IGNORECASE | re.DOTALL,
)
"""What an agent without a task can answer from facts."""
_LOOKED_AT: Final = 200
_SHOWN: Final = 3


def for_agent(command: Command | None, agent: AgentFacts, text: str, *, exact: bool) -> Command | None:
    """Return what a line means when it is said to this agent: whom it touches, who does it, or a message to it.

    ``exact`` commands (with a slash) are never taken for a message.
    """
    if isinstance(command, Pause | Resume | Drain) and command.targets == (EVERYONE,) and not command.excepted:
        return command.model_copy(update={"targets": (agent.name,)})
    if (
        not exact
        and agent.task_id is not None
        and (command is None or isinstance(command, Submit) or harmless(command))
    ):
        return Tell(targets=(agent.name,), text=text.strip())
    if isinstance(command, Submit) and command.profile is None:
        return command.model_copy(update={"profile": agent.profile})
    return command


def asks_about(text: str) -> bool:
    """Whether a line can be a question about the agent or its work."""
    return _ABOUT.fullmatch(text) is not None


async def facts(agent: AgentFacts, queue: TaskQueue, fleet: FleetDoor) -> tuple[str, dict[str, Any]]:
    """Return what is known of the agent and its last tasks, in a few lines and for programs."""
    mine = [task for task in await queue.list(limit=_LOOKED_AT) if task.agent == agent.name][:_SHOWN]
    lines = [wordings.agent_line(agent)]
    for task in mine:
        cost = await fleet.task_cost(task.id)
        lines.append(f"  {wordings.task_line(task)} ({wordings.cost_text(cost)})")
    if not mine:
        lines.append("  none of the newest tasks were its work")
    return "\n".join(lines), {"agent": agent.model_dump(mode="json"), "tasks": [task.id for task in mine]}


async def find(name: str, fleet: FleetDoor) -> AgentFacts:
    """Return the agent of this name. Raises ``NotFoundError`` for none."""
    agents = await fleet.agents()
    found = next((agent for agent in agents if agent.name == name), None)
    if found is None:
        there = wordings.listed([agent.name for agent in agents]) or "none (start some with: ezaigent up)"
        raise NotFoundError(f"no agent {name!r}; there are: {there}")
    return found
