"""The conversation with one agent: what it is asked, told, or given to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ezaigent.chat import queries, wordings
from ezaigent.chat.carrying import since
from ezaigent.chat.commands import (
    EVERYONE,
    Command,
    Cost,
    Drain,
    ListTasks,
    Pause,
    Resume,
    Status,
    Submit,
    Tell,
    harmless,
)
from ezaigent.core.errors import NotFoundError

if TYPE_CHECKING:
    from ezaigent.chat.ports import AgentFacts, CostFacts, FleetDoor
    from ezaigent.chat.queries import Worked
    from ezaigent.store import Connection, Database

_ABOUT: Final = re.compile(
    r".*\b(?:you|your|yourself|last|work(?:ed|ing)?|did|do|doing|done|task|tasks|cost|progress|busy|status|idle)\b.*|.*\?",
    re.IGNORECASE | re.DOTALL,
)
"""What an agent without a task can answer from facts."""
_WIDER: Final = re.compile(
    r"\b(?:fleet|team|crew|we|us|our|they|every ?one|every ?body|(?:the|all|other) agents?|you all|all of you)\b",
    re.IGNORECASE,
)
"""Words with which somebody asks an agent about more than itself."""
_WRONG: Final = frozenset({"failed", "stalled", "lost", "poison", "blocked"})
"""How a run ends that went wrong."""
_SHOWN: Final = 3


def for_agent(command: Command | None, agent: AgentFacts, text: str, *, exact: bool) -> Command | None:
    """Return what a line means when it is said to this agent: whom it touches, who does it, or a message to it.

    None for a question that the fleet could answer, too, but that is about the agent: it answers from facts. ``exact``
    commands (with a slash) are never taken for a message or for such a question.
    """
    if isinstance(command, Pause | Resume | Drain) and command.targets == (EVERYONE,) and not command.excepted:
        return command.model_copy(update={"targets": (agent.name,)})
    if (
        not exact
        and agent.task_id is not None
        and (command is None or isinstance(command, Submit) or harmless(command))
    ):
        return Tell(targets=(agent.name,), text=text.strip())
    if not exact and isinstance(command, Status | Cost | ListTasks) and _WIDER.search(text) is None:
        return None
    if isinstance(command, Submit) and command.profile is None:
        return command.model_copy(update={"profile": agent.profile})
    return command


def asks_about(text: str) -> bool:
    """Whether a line can be a question about the agent or its work."""
    return _ABOUT.fullmatch(text) is not None


async def facts(
    agent: AgentFacts, db: Database, fleet: FleetDoor, asked: Command | None = None
) -> tuple[str, dict[str, Any]]:
    """Return what is known of the agent, its last tasks and its spending, in a few lines and for programs.

    ``asked`` is the question, where it is one that has a more particular answer.
    """
    period = asked.period if isinstance(asked, Cost) else "today"
    begin = since(period)

    def look(conn: Connection) -> tuple[list[Worked], CostFacts]:
        return queries.worked(conn, agent.name), queries.spent(conn, agent.name, begin)

    work, cost = await db.read(look)
    spending = f"{agent.name}, {period}: {wordings.cost_text(cost)}"
    lines = [spending] if isinstance(asked, Cost) else [wordings.agent_line(agent), spending]
    states = asked.states if isinstance(asked, ListTasks) else ()
    if states:
        work = [one for one in work if _is(one, states)]
        lines = [wordings.agent_line(agent)]
    shown = work[:_SHOWN]
    for one in shown:
        total = await fleet.task_cost(one.task_id)
        lines.append(f"  {wordings.work_line(one)} ({wordings.cost_text(total)})")
    if len(work) > len(shown):
        lines.append(f"  and {len(work) - len(shown)} more")
    if not work:
        lines.append(f"  none of its tasks {wordings.being(states)}" if states else "  it has had no task yet")
    known = {"tasks": [one.task_id for one in shown], "period": period, "cost": cost.model_dump()}
    return "\n".join(lines), {"agent": agent.model_dump(mode="json"), **known}


def _is(work: Worked, states: Sequence[str]) -> bool:
    """Whether the agent's work is in one of these states; what it failed at stays so when others went on with it."""
    return work.state in states or ("failed" in states and work.outcome in _WRONG)


async def find(name: str, fleet: FleetDoor) -> AgentFacts:
    """Return the agent of this name. Raises ``NotFoundError`` for none."""
    agents = await fleet.agents()
    found = next((agent for agent in agents if agent.name == name), None)
    if found is None:
        there = wordings.listed([agent.name for agent in agents]) or "none (start some with: ezaigent up)"
        raise NotFoundError(f"no agent {name!r}; there are: {there}")
    return found
