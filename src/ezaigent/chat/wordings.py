"""How commands and facts read: one place for the sentences that the chat says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ezaigent.chat.commands import (
    EVERYONE,
    Approve,
    Cancel,
    Clear,
    Command,
    Drain,
    Pause,
    Resume,
    Retry,
    Scale,
    ShowTask,
    Steer,
    Submit,
    Tell,
    Why,
)
from ezaigent.chat.ports import AgentFacts, CostFacts
from ezaigent.chat.slash import GRAMMAR
from ezaigent.core.logins import without_login
from ezaigent.core.money import format_usd
from ezaigent.tasks import QueueStats, State, Task

if TYPE_CHECKING:
    from ezaigent.chat.queries import Worked

SHOWN: Final = 12
"""Names or tasks that a sentence lists."""


def understood(command: Command) -> str:
    """Return in a few words what a command will do; everybody may read it, so logins inside URLs are left out."""
    match command:
        case Pause() | Resume() | Drain():
            said = f"{_STEER[type(command)]} {named(command)}"
        case Tell():
            said = f"tell {named(command)}: {short(command.text)}"
        case Submit():
            said = f"queue a task{_for(command)}: {short(command.prompt)}"
        case Scale():
            said = f"scale {command.pool} {_by(command)}"
        case Clear():
            said = "cancel every task that has not begun"
        case ShowTask() | Why() | Cancel() | Retry() | Approve():
            said = f"{_ONE_TASK[type(command)]} {command.task}"
        case _:
            said = f"show {command.kind}"
    return without_login(said)


_ONE_TASK: dict[type[ShowTask | Why | Cancel | Retry | Approve], str] = {
    ShowTask: "show task",
    Why: "say what becomes of task",
    Cancel: "cancel task",
    Retry: "queue again task",
    Approve: "accept the change of task",
}
_STEER: dict[type[Steer], str] = {Pause: "pause", Resume: "resume", Drain: "drain"}


def named(command: Steer | Tell) -> str:
    """Return whom a command means, as a person would say it."""
    return f"{_names(command.targets)}{_except(command.excepted)}"


def idle(command: Tell) -> str:
    """Return that none of those a message is for has a task."""
    if EVERYONE in command.targets:
        return f"nobody{_except(command.excepted)} is at work"
    return f"{named(command)} has no task"


def _names(names: Sequence[str]) -> str:
    return "everyone" if EVERYONE in names else " and ".join(names)


def _except(names: Sequence[str]) -> str:
    return f" except {' and '.join(names)}" if names else ""


def _for(command: Submit) -> str:
    profile = f" for {command.profile}" if command.profile else ""
    priority = f" with {command.priority} priority" if command.priority != "normal" else ""
    return f"{profile} in {command.repo or '?'}{priority}"


def _by(command: Scale) -> str:
    if command.to is not None:
        return f"to {command.to}"
    count = command.by or 0
    return f"{'up' if count > 0 else 'down'} by {abs(count)}"


def short(text: str) -> str:
    """Return a text as one line that fits into an answer."""
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:199]}…"  # noqa: PLR2004 - one line of a chat


def listed(names: Sequence[str], count: int = 0) -> str:
    """Return names in one line; many are cut off with their number. ``count``, where there are more than are given."""
    more = max(count, len(names)) - len(names[:SHOWN])
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more else "")


def agent_line(agent: AgentFacts) -> str:
    """Return what an agent does now, in one line."""
    what = f" on {agent.task_id} ({short(agent.title or '')})" if agent.task_id else ""
    skills = f", good at {', '.join(agent.specialties)}" if agent.specialties else ""
    return f"{agent.name} is {agent.status}{what}{skills}"


def agents_text(agents: Sequence[AgentFacts]) -> str:
    """Return all agents, one a line."""
    if not agents:
        return "there are no agents; start some with: ezaigent up"
    return "\n".join(agent_line(agent) for agent in agents[:50])


def queue_text(stats: QueueStats) -> str:
    """Return how deep the queue is."""
    queued, waiting, running = (stats.states.get(state, 0) for state in (State.QUEUED, State.WAITING, State.RUNNING))
    pools = ", ".join(
        f"{count} for {'any agent' if pool == '*' else pool}" for pool, count in sorted(stats.by_profile.items())
    )
    oldest = f"; the oldest has waited {stats.oldest_wait:.0f} s" if stats.oldest_wait is not None else ""
    return f"{queued} queued{f' ({pools})' if pools else ''}, {waiting} waiting, {running} running{oldest}"


def status_text(stats: QueueStats, agents: Sequence[AgentFacts], today: CostFacts) -> str:
    """Return tasks, agents and today's cost in three lines."""
    tasks = ", ".join(f"{count} {state.value}" for state, count in stats.states.items() if count) or "none yet"
    states: dict[str, int] = {}
    for agent in agents:
        states[agent.status] = states.get(agent.status, 0) + 1
    fleet = ", ".join(f"{count} {status}" for status, count in states.items()) or "none (start some with: ezaigent up)"
    return f"tasks: {tasks}\nagents: {fleet}\ntoday: {cost_text(today)}"


def cost_text(cost: CostFacts) -> str:
    """Return what was spent."""
    unknown = f" and {cost.unknown_calls} calls of unknown price" if cost.unknown_calls else ""
    return f"{format_usd(cost.cost_nusd)}{unknown} in {cost.calls} model calls"


def task_line(task: Task) -> str:
    """Return a task in one line."""
    who = f" by {task.agent}" if task.agent and task.state is State.RUNNING else ""
    why = f": {short(task.reason)}" if task.reason else ""
    return f"{task.id} {task.state.value}{who}  {short(task.title)}{why}"


def work_line(work: Worked) -> str:
    """Return what became of a task that an agent had, and how its own run of it ended, in one line."""
    own = f" (its run: {work.outcome})" if work.outcome and work.outcome != work.state else ""
    why = f": {short(work.reason)}" if work.reason else ""
    return f"{work.task_id} {work.state}{own}  {short(work.title)}{why}"


def being(states: Sequence[str]) -> str:
    """Return what a task in one of these states is said to be."""
    return f"is {' or '.join(states)}"


def tasks_text(tasks: Sequence[Task], states: Sequence[str]) -> str:
    """Return tasks, one a line."""
    if not tasks:
        return f"no task {being(states)}" if states else "there are no tasks"
    return "\n".join(task_line(task) for task in tasks)


def help_text() -> str:
    """Return every slash command with its meaning."""
    width = max(len(usage.form) for usage in GRAMMAR)
    lines = [f"{usage.form:<{width}}  {usage.meaning}" for usage in GRAMMAR]
    return "\n".join([*lines, "or say it in a sentence: pause everything except claude-1"])
