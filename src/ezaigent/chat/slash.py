"""The slash grammar: ``/pause all except claude-1``. Exact, without guessing, the same in every language."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, get_args

from pydantic import ValidationError

from ezaigent.chat.commands import (
    Agents,
    Approve,
    Cancel,
    Clear,
    Command,
    Cost,
    Drain,
    Help,
    ListTasks,
    Pause,
    Queue,
    Resume,
    Retry,
    Scale,
    ShowTask,
    Status,
    Steer,
    Submit,
    Tell,
    Why,
)
from ezaigent.chat.known import Known, Spelling
from ezaigent.chat.slots import TASK, period, whom
from ezaigent.core.errors import UsageError

_TASK: Final = re.compile(TASK)
_SCALE: Final = re.compile(r"(?P<pool>\S+)\s+(?:to\s+)?(?P<count>[+-]?\d{1,4})")
_TELL: Final = re.compile(r"(?P<whom>\S+)\s+(?P<text>.+)", re.DOTALL)
_OPTION: Final = re.compile(r'(?:^|\s)--(repo|profile|priority)(?:=|\s+)("[^"]*"|\S+)')
_STATES: Final = get_args(get_args(ListTasks.model_fields["states"].annotation)[0])


@dataclass(frozen=True, slots=True)
class Usage:
    """One slash command, as the help shows it."""

    name: str
    form: str
    meaning: str


GRAMMAR: Final = (
    Usage("status", "/status", "tasks, agents and today's cost"),
    Usage("queue", "/queue", "how deep the queue is, how long it waits"),
    Usage("agents", "/agents", "the agents and what they do"),
    Usage("tasks", "/tasks [STATE]", "the newest tasks"),
    Usage("task", "/task ID | PROMPT [--repo REPO] [--profile P] [--priority P]", "show a task, or queue a new one"),
    Usage("why", "/why ID", "what a task waits for"),
    Usage("pause", "/pause [AGENT|PROFILE|all] [except AGENT]", "no new tasks, no further steps"),
    Usage("start", "/start [AGENT|PROFILE|all] [except AGENT]", "let paused agents go on"),
    Usage("drain", "/drain AGENT|PROFILE|all", "finish the present task, take no more"),
    Usage("tell", "/tell AGENT|PROFILE|all TEXT", "write to agents at work (asks for several); also: @AGENT TEXT"),
    Usage("cancel", "/cancel ID", "cancel a task (asks)"),
    Usage("retry", "/retry ID", "queue a task again"),
    Usage("approve", "/approve ID", "accept a change in review"),
    Usage("scale", "/scale PROFILE N|+N|-N", "how many agents a pool has"),
    Usage("cost", "/cost [today|week|month|all]", "what was spent"),
    Usage("clear", "/clear", "cancel what has not begun (asks)"),
    Usage("help", "/help", "this list"),
)
"""Every slash command."""

_SAME: Final = {
    "resume": "start",
    "message": "tell",
    "msg": "tell",
    "costs": "cost",
    "agent": "agents",
    "submit": "task",
    "stop": "pause",
    "?": "help",
}


def parse_slash(text: str, known: Known) -> Command:
    """Read a line that begins with a slash. Raises ``UsageError`` that lists the commands, or shows the right form."""
    name, _, rest = text.strip().removeprefix("/").partition(" ")
    name = name.casefold()
    name = _SAME.get(name, name)
    parser = _PARSERS.get(name)
    if parser is None:
        names = " ".join(f"/{usage.name}" for usage in GRAMMAR)
        raise UsageError(f"no command /{name[:40]}; there are: {names}")
    try:
        command = parser(rest.strip(), known)
    except ValidationError:
        command = None
    if command is None:
        form = next(usage.form for usage in GRAMMAR if usage.name == name)
        raise UsageError(f"/{name} does not understand {rest.strip()[:80]!r}; write: {form}")
    return command


_Parser = Callable[[str, Known], "Command | None"]


def _bare(command: Command) -> _Parser:
    return lambda rest, _: None if rest else command


def _steered(kind: type[Steer]) -> _Parser:
    def parse(rest: str, known: Known) -> Command | None:
        if not rest:
            return kind()
        spelling = Spelling(known)
        found = whom(rest, spelling)
        if found is None and spelling.wrong:
            there = ", ".join(known.agents) or "none (start some with: ezaigent up)"
            raise UsageError(f"no agent or profile {spelling.wrong[0][:40]!r}; agents: {there}")
        if found is None or spelling.guessed:
            return None
        return kind(targets=found.targets, excepted=found.excepted)

    return parse


def _with_task(kind: type[Cancel | Retry | Approve | Why]) -> _Parser:
    return lambda rest, _: kind(task=rest) if _TASK.fullmatch(rest) else None


def _task(rest: str, known: Known) -> Command | None:
    if not rest:
        return None
    if _TASK.fullmatch(rest):
        return ShowTask(task=rest)
    given = {name: value.strip('"') for name, value in _OPTION.findall(rest)}
    prompt = _OPTION.sub("", rest).strip()
    if given.get("profile") is not None and given["profile"] not in known.profiles:
        raise UsageError(f"no profile {given['profile'][:40]!r}; known: {', '.join(known.profiles)}")
    return Submit.model_validate({"prompt": prompt, **given})


def _tasks(rest: str, known: Known) -> Command | None:
    del known
    states = tuple(word for word in rest.casefold().replace(",", " ").split())
    return ListTasks.model_validate({"states": states}) if set(states) <= set(_STATES) else None


def _tell(rest: str, known: Known) -> Command | None:
    found = _TELL.fullmatch(rest)
    spelling = Spelling(known)
    targets = whom(found["whom"].rstrip(":"), spelling) if found else None
    if found is None or targets is None or spelling.guessed:
        return None
    return Tell(targets=targets.targets, text=found["text"].strip())


def _scale(rest: str, known: Known) -> Command | None:
    found = _SCALE.fullmatch(rest)
    if found is None:
        return None
    pool = found["pool"].casefold()
    if pool not in known.profiles:
        raise UsageError(f"no profile {pool[:40]!r}; known: {', '.join(known.profiles)}")
    count = found["count"]
    return Scale(pool=pool, by=int(count)) if count[0] in "+-" else Scale(pool=pool, to=int(count))


def _cost(rest: str, known: Known) -> Command | None:
    del known
    span = period(rest) if rest else "today"
    return Cost(period=span) if span is not None else None


_PARSERS: Final[dict[str, _Parser]] = {
    "status": _bare(Status()),
    "queue": _bare(Queue()),
    "agents": _bare(Agents()),
    "tasks": _tasks,
    "task": _task,
    "why": _with_task(Why),
    "pause": _steered(Pause),
    "start": _steered(Resume),
    "drain": _steered(Drain),
    "tell": _tell,
    "cancel": _with_task(Cancel),
    "retry": _with_task(Retry),
    "approve": _with_task(Approve),
    "scale": _scale,
    "cost": _cost,
    "clear": _bare(Clear()),
    "help": _bare(Help()),
}
