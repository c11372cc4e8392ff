"""The closed set of commands: whatever a person says comes to one of these, or to nothing."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

EVERYONE: Final = "*"
"""The target that means the whole fleet."""

Period = Literal["today", "week", "month", "all"]
Names = tuple[Annotated[str, Field(min_length=1, max_length=64)], ...]
Id = Annotated[str, Field(min_length=1, max_length=64)]


class _Command(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Status(_Command):
    """Show tasks, agents and today's cost in a few lines."""

    kind: Literal["status"] = "status"


class Queue(_Command):
    """Say how deep the queue is and how long it waits."""

    kind: Literal["queue"] = "queue"


class Agents(_Command):
    """List the agents with their derived status."""

    kind: Literal["agents"] = "agents"


class ShowTask(_Command):
    """Show one task."""

    kind: Literal["task"] = "task"
    task: Id


class ListTasks(_Command):
    """List the newest tasks, all or those in some states."""

    kind: Literal["tasks"] = "tasks"
    states: tuple[Literal["waiting", "queued", "running", "review", "done", "blocked", "failed", "cancelled"], ...] = ()


class Why(_Command):
    """Say in one sentence what a task waits for, or what became of it."""

    kind: Literal["why"] = "why"
    task: Id


class Cost(_Command):
    """Say what was spent."""

    kind: Literal["cost"] = "cost"
    period: Period = "today"


class Help(_Command):
    """List the commands."""

    kind: Literal["help"] = "help"


class Pause(_Command):
    """Let agents take no task and make no further step, until they are resumed."""

    kind: Literal["pause"] = "pause"
    targets: Names = (EVERYONE,)
    """Agents, profiles, or ``*`` for all."""
    excepted: Names = ()
    """Of these, the agents and profiles that it leaves alone."""


class Resume(_Command):
    """Let paused agents go on."""

    kind: Literal["resume"] = "resume"
    targets: Names = (EVERYONE,)
    excepted: Names = ()


class Drain(_Command):
    """Let agents finish their task and take no further one."""

    kind: Literal["drain"] = "drain"
    targets: Names = (EVERYONE,)
    excepted: Names = ()


class Tell(_Command):
    """Send a message to agents."""

    kind: Literal["message"] = "message"
    targets: Names
    excepted: Names = ()
    text: Annotated[str, Field(min_length=1, max_length=20_000)]


class Submit(_Command):
    """Propose a task."""

    kind: Literal["submit"] = "submit"
    prompt: Annotated[str, Field(min_length=1, max_length=200_000)]
    repo: str | None = None
    """Path or URL as the person wrote it; left out where none was named."""
    profile: str | None = None
    priority: Literal["critical", "high", "normal", "low"] = "normal"


class Cancel(_Command):
    """Cancel a task."""

    kind: Literal["cancel"] = "cancel"
    task: Id


class Retry(_Command):
    """Queue a task again."""

    kind: Literal["retry"] = "retry"
    task: Id


class Approve(_Command):
    """Accept a change in review."""

    kind: Literal["approve"] = "approve"
    task: Id


class Scale(_Command):
    """Change how many agents a pool has: ``by`` some more or fewer, or ``to`` a number."""

    kind: Literal["scale"] = "scale"
    pool: Annotated[str, Field(min_length=1, max_length=64)]
    by: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    to: Annotated[int, Field(ge=0, le=1000)] | None = None


class Clear(_Command):
    """Cancel every task that has not begun."""

    kind: Literal["clear"] = "clear"


Command = Annotated[
    Status
    | Queue
    | Agents
    | ShowTask
    | ListTasks
    | Why
    | Cost
    | Help
    | Pause
    | Resume
    | Drain
    | Tell
    | Submit
    | Cancel
    | Retry
    | Approve
    | Scale
    | Clear,
    Field(discriminator="kind"),
]
"""What a person can want; nothing else exists."""

Steer = Pause | Resume | Drain
"""The commands that take targets and nothing else."""

command_type: Final[TypeAdapter[Command]] = TypeAdapter(Command)


def harmless(command: Command) -> bool:
    """Whether the command only looks."""
    return isinstance(command, Status | Queue | Agents | ShowTask | ListTasks | Why | Cost | Help)


def destructive(command: Command) -> bool:
    """Whether the command can take work away, or agents from work."""
    if isinstance(command, Scale):
        return command.to is not None or (command.by or 0) < 0
    return isinstance(command, Pause | Drain | Cancel | Clear | Approve)
