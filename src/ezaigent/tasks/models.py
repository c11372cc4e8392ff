"""What the queue speaks about: a new task, a task, a claim; and the one table of allowed transitions."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ezaigent.core.change import Change

GENERAL: Final = "*"
"""Pool of the tasks that name no profile."""


class State(StrEnum):
    """Where a task is."""

    WAITING = "waiting"
    """Needs unfinished tasks, a time that has not come, or the end of a task that changes the same files."""
    QUEUED = "queued"
    RUNNING = "running"
    REVIEW = "review"
    """The change is ready for a person."""
    DONE = "done"
    BLOCKED = "blocked"
    """A person must answer or approve; holds no agent."""
    FAILED = "failed"
    """Dead letter, with the reason."""
    CANCELLED = "cancelled"

    @property
    def settled(self) -> bool:
        """Whether no agent will work on the task again unless a person asks."""
        return self in SETTLED


SETTLED: Final = frozenset({State.REVIEW, State.DONE, State.FAILED, State.CANCELLED})
MET: Final = frozenset({State.REVIEW, State.DONE})
"""States in which a task meets the needs of others: its change exists, so they can start from it."""

TRANSITIONS: Final[Mapping[str, frozenset[State]]] = {
    State.WAITING: frozenset({State.QUEUED, State.CANCELLED, State.FAILED}),
    State.QUEUED: frozenset({State.RUNNING, State.WAITING, State.CANCELLED, State.FAILED}),
    State.RUNNING: frozenset(
        {
            State.RUNNING,  # a lost lease: the next run takes over
            State.REVIEW,
            State.DONE,  # nothing had to change
            State.QUEUED,
            State.WAITING,  # another attempt, later
            State.BLOCKED,
            State.FAILED,
            State.CANCELLED,
        }
    ),
    State.REVIEW: frozenset({State.DONE, State.QUEUED, State.WAITING, State.CANCELLED}),
    State.BLOCKED: frozenset({State.QUEUED, State.WAITING, State.CANCELLED, State.FAILED}),
    State.FAILED: frozenset({State.QUEUED, State.WAITING}),
    State.CANCELLED: frozenset({State.QUEUED, State.WAITING}),
    State.DONE: frozenset(),
}
"""The one table of allowed transitions; anything else is a ``ConflictError``."""


Overlap: TypeAlias = Literal["wait", "allow"]
"""Whether a task waits for others that change the same files."""


class Priority(IntEnum):
    """Order of claims: smaller goes first."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("text must not contain NUL characters")  # PostgreSQL cannot store them
    return text


Text = Annotated[str, AfterValidator(_storable)]
Line = Annotated[Text, Field(min_length=1)]


class NewTask(BaseModel):
    """A request for work, as a person or program submits it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Annotated[Text, Field(min_length=1, max_length=200_000)]
    repo: Line
    """Path or URL (file, ssh, https) of the repository, without credentials."""
    base: Line | None = None
    """Branch, tag or commit to start from; left out: the repository's default branch."""
    title: Text = ""
    """One line for people; left out: the start of the prompt."""
    profile: Line | None = None
    """Kind of agent that must do it; left out: any that takes general work."""
    priority: Priority = Priority.NORMAL
    needs: tuple[Line, ...] = ()
    """Ids of tasks whose changes this one starts from."""
    scope: tuple[Line, ...] = ()
    """Globs of the files that the change may touch; empty: all."""
    overlap: Overlap | None = None
    """Whether it waits for a running task that changes the same files; left out: as ``[queue] overlap`` says."""
    checks: tuple[Line, ...] = ()
    """Commands that must exit with 0 on the finished tree."""
    budget_nusd: Annotated[int, Field(ge=0)] | None = None
    """Hard cap in nano-USD over all attempts; left out: the configured default."""
    not_before: float | None = None
    """Seconds since 1970 before which no agent may start."""
    max_attempts: Annotated[int, Field(gt=0)] | None = None
    key: Annotated[Text, Field(min_length=1, max_length=200)] | None = None
    """Idempotency key: the same key a hundred times is one task."""


class Task(NewTask):
    """A task as the store knows it."""

    id: str
    state: State
    project: str
    """Repository without credentials and suffixes: the unit of fairness."""
    attempts: int = 0
    """Attempts begun, the present one included; resuming after a crash is the same attempt."""
    crashes: int = 0
    """Leases lost one after the other, without a new step in between."""
    session: int = 0
    """Number of the journal in use: a new attempt starts a new journal, a resumed one goes on with it."""
    fence: int = 0
    """Grows with each claim; every write of a run carries it."""
    agent: str | None = None
    """The agent that has, or last had, the task."""
    run_id: str | None = None
    worker: str | None = None
    lease_until: float | None = None
    """Database time, seconds since 1970."""
    wake_at: float | None = None
    """When a waiting task becomes claimable; None while it waits for other tasks."""
    held_by: str | None = None
    """The task that changes the same files and goes first, while this one waits for it."""
    predicted: tuple[str, ...] = ()
    """Globs of the files that it will probably change, where no scope was given; a guess, made at the submit."""
    cancel_requested: bool = False
    reason: str = ""
    """Why it failed, waits for another attempt, is blocked, or was cancelled."""
    steps: int = 0
    """Journaled steps over all attempts."""
    change: Change | None = None
    created_at: float
    updated_at: float
    started_at: float | None = None
    """First claim."""
    finished_at: float | None = None
    """When it was last settled."""


class Slot(BaseModel):
    """An idle agent that asks for work."""

    model_config = ConfigDict(frozen=True)

    agent: str
    profile: str
    general: bool = True
    """Whether it also takes tasks that name no profile."""


class Claim(BaseModel):
    """One run's right to work on a task until the lease ends."""

    model_config = ConfigDict(frozen=True)

    task: Task
    run_id: str
    fence: int
    agent: str
    profile: str
    worker: str
    resumed: bool
    """Whether an earlier run of the same attempt left a journal to go on with."""
    alone: bool = False
    """Whether workers have died under the task, so that it runs in a process where it can harm no other."""


class Pulse(BaseModel):
    """What a heartbeat found out about the worker's runs."""

    model_config = ConfigDict(frozen=True)

    lost: frozenset[str] = frozenset()
    """Run ids whose fence is stale: stop them, write nothing."""
    cancelled: frozenset[str] = frozenset()
    """Run ids that a person asked to cancel."""


class QueueStats(BaseModel):
    """Depth and age of the queue."""

    model_config = ConfigDict(frozen=True)

    states: dict[State, int]
    by_profile: dict[str, int]
    """Queued tasks by profile; ``*`` for tasks that any agent may take."""
    oldest_wait: float | None
    """Seconds since the oldest queued task became claimable."""


class Message(BaseModel):
    """What a person wrote to an agent, or to whoever runs a task."""

    model_config = ConfigDict(frozen=True)

    id: str
    to_agent: str | None
    task_id: str | None
    text: str
    by: str
    created_at: float
    delivered_at: float | None = None
    run_id: str | None = None
    """The run that took it."""
