"""One sentence that says what a task waits for, or what became of it, with the values that matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from ezaigent.core.settings import QueueSettings
from ezaigent.tasks.models import GENERAL, State
from ezaigent.tasks.overlap import Peer, peer_of, shared, source
from ezaigent.tasks.parking import ParkedAgent
from ezaigent.tasks.pausing import EVERYONE, Pauses
from ezaigent.tasks.queries import Needed
from ezaigent.tasks.rows import FullRow

_WORST: Final = (State.FAILED, State.CANCELLED, State.BLOCKED, State.WAITING, State.RUNNING, State.QUEUED)
"""Which of several needs is told first: the one that will not be met by waiting."""


@dataclass(frozen=True)
class Facts:
    """What the sentence is made of."""

    row: FullRow
    now: float
    needed: Sequence[Needed]
    """Needs that are not met."""
    ahead: int
    agents: Sequence[str]
    """Agents of living workers."""
    busy: frozenset[str]
    paused: Pauses
    settings: QueueSettings
    first: Peer | None = None
    """The task that changes the same files and goes first."""
    parked: Mapping[str, ParkedAgent] = field(default_factory=dict[str, ParkedAgent])
    """Agents that take no task because of their models."""


def sentence(facts: Facts) -> str:  # noqa: PLR0911 - a sentence for each state
    """Return the sentence, without the task's id and a full stop."""
    row, now = facts.row, facts.now
    change = f"the change {_commit(row)}" if row.change else "no change was needed"
    match State(row.state):
        case State.WAITING:
            return _waiting(facts)
        case State.QUEUED:
            return _queued(facts)
        case State.RUNNING:
            return _running(facts)
        case State.BLOCKED:
            return f"waits for a person: {row.reason}; answer with a message, then retry it"
        case State.REVIEW:
            return f"waits for a person to review {change}: approve or merge it, or retry the task"
        case State.DONE:
            return f"is done since {_time(row.finished_at)}: {row.reason or change}"
        case State.FAILED:
            return f"failed {_tries(row)} at {_time(row.finished_at)}: {row.reason}; retry it to begin again"
        case State.CANCELLED:
            how = f"was cancelled {_span(now - (row.finished_at or now))} ago"
            return f"{how}: {row.reason}; retry it to begin again"


def _waiting(facts: Facts) -> str:
    row = facts.row
    if facts.needed:
        return _needs(facts.needed)
    if facts.first is not None:
        return _overlap(peer_of(row), facts.first)
    if row.wake_at is None:
        return "waits for nothing any more: the next claim takes it up"
    when = f"{_time(row.wake_at)} (in {_span(row.wake_at - facts.now)})"
    if row.wake_at <= facts.now:
        when = f"the next look of an agent at the queue, since its time came {_span(facts.now - row.wake_at)} ago"
    if row.reason and not row.fresh:
        return f"waits until {when} to go on where it was: {row.reason}"
    if row.attempts:
        most = row.max_attempts or facts.settings.max_attempts
        return f"waits until {when} for attempt {row.attempts + 1} of {most}, because the last one failed: {row.reason}"
    return f"waits until {when}, as it was submitted"


def _needs(needed: Sequence[Needed]) -> str:
    first = min(needed, key=lambda need: _WORST.index(State(need.state)))
    name = f"{first.id} {first.title!r}"
    more = f", and for {len(needed) - 1} more" if len(needed) > 1 else ""
    match State(first.state):
        case State.FAILED:
            return f"waits for {name}, which failed: {first.reason}; retry it or cancel this one{more}"
        case State.CANCELLED:
            return f"waits for {name}, which was cancelled; retry it or cancel this one{more}"
        case State.BLOCKED:
            return f"waits for {name}, which waits for a person: {first.reason}{more}"
        case _:
            return f"waits for {name}, which is {first.state}{more}"


def _overlap(task: Peer, first: Peer) -> str:
    how = f"is worked on by {first.agent}" if first.running else "goes first"
    text = f"waits for {first.id} {first.title!r}, which {how}"
    if (globs := shared(task.area, first.area)) is None:
        return text
    mine, theirs = globs
    text += f" and changes {theirs} too{_known(first, theirs, its='its')}"
    if mine != theirs or source(task, mine) is not None:
        text += f"; this task changes {mine}{_known(task, mine, its='its own')}"
    return text


def _known(peer: Peer, glob: str, *, its: str) -> str:
    match source(peer, glob):
        case None:
            return ""
        case "prompt":
            return f" (predicted from {its} prompt)"
        case earlier:
            return f" (predicted from the files that {earlier} touched, which was asked for in much the same words)"


def _queued(facts: Facts) -> str:
    row = facts.row
    if facts.first is not None:
        return _overlap(peer_of(row), facts.first)
    kind = "an agent" if row.pool == GENERAL else f"an agent of profile {row.pool!r}"
    able = [name for name in facts.agents if row.pool in (GENERAL, name.rpartition("-")[0])]
    if not able:
        start = "ezaigent up" if row.pool == GENERAL else f"ezaigent worker --pools {row.pool}"
        return f"is queued, but no living worker has {kind}; start one with {start}"
    awake = [name for name in able if name not in facts.paused]
    if not awake:
        return f"is queued for {kind}, but {_all(able)} paused; {_resume(facts.paused, able)}"
    parked = {name: facts.parked[name] for name in awake if name in facts.parked}
    if len(parked) == len(awake):
        return f"is queued for {kind}, but {_all(awake)} {_parked(parked, facts.now)}"
    busy = [name for name in awake if name in facts.busy]
    paused = f", {len(able) - len(awake)} paused" if len(awake) < len(able) else ""
    paused += f", {len(parked)} {_parked(parked, facts.now)}" if parked else ""
    others = {0: "nothing goes first", 1: "1 task goes first"}.get(facts.ahead, f"{facts.ahead} tasks go first")
    waited = _span(facts.now - (row.queued_at or facts.now))
    return f"is queued for {kind} since {waited}: {others}, {len(busy)} of {len(awake)} agents are busy{paused}"


def _running(facts: Facts) -> str:
    row, left = facts.row, (facts.row.lease_until or 0.0) - facts.now
    if left <= 0:
        return (
            f"waits for another agent to take it over: {row.agent} on worker {row.worker} has lost its lease, "
            f"{_span(-left)} ago"
        )
    if row.cancel_requested:
        return f"is being stopped ({row.reason}): {row.agent} ends its present step"
    most = row.max_attempts or facts.settings.max_attempts
    steps = f"{row.steps} step{'' if row.steps == 1 else 's'} so far"
    return f"is worked on by {row.agent} (attempt {row.attempts} of {most}, {steps}, lease for {_span(left)} more)"


def _commit(row: FullRow) -> str:
    from ezaigent.core.change import Change

    change = Change.model_validate_json(row.change or "")
    return f"{change.commit[:12]} on {change.branch}"


def _tries(row: FullRow) -> str:
    return f"after {row.attempts} attempt{'' if row.attempts == 1 else 's'}"


def _all(names: Sequence[str]) -> str:
    return f"{names[0]} is" if len(names) == 1 else f"all {len(names)} of them are"


def _parked(parked: Mapping[str, ParkedAgent], now: float) -> str:
    """Say why agents take nothing, and when that is found out anew; of several the one that comes first."""
    first = min(parked.values(), key=lambda one: one.until or 0.0)
    if first.until is None or first.until <= now:
        return f"{first.reason}; one of them finds out now whether that is still so"
    return f"{first.reason}; asked again at {_time(first.until)} (in {_span(first.until - now)})"


def _resume(paused: Pauses, names: Sequence[str]) -> str:
    """Say how to let these agents go on: with the word that holds them, where it is one for all."""
    words = {paused.word(name) for name in names}
    word = words.pop() if len(words) == 1 else None
    if word is None or word in names:
        return f"resume one with ezaigent agents resume {names[0]}"
    them = "it" if len(names) == 1 else "them"
    return f"let {them} go on with ezaigent agents resume {'all' if word == EVERYONE else word}"


def _time(at: float | None) -> str:
    return datetime.fromtimestamp(at or 0.0, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(seconds: float) -> str:
    seconds = max(0.0, seconds)
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
