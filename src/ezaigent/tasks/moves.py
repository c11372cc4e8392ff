"""The state machine: each function moves one row and returns the events that say so. No SQL, no clock, no chance.

``move`` is the only place that changes a state, and it asks the table of transitions.
"""

from __future__ import annotations

from collections.abc import Mapping

from ezaigent.core.change import Change
from ezaigent.core.errors import ConflictError
from ezaigent.store import NewEvent
from ezaigent.tasks.models import TRANSITIONS, State
from ezaigent.tasks.rows import TaskRow

_ENDED = frozenset({State.REVIEW, State.DONE, State.FAILED, State.CANCELLED})


def run_id(task_id: str, fence: int) -> str:
    """Return the id of the run that holds this fence: each claim raises the fence, so it is unique."""
    return f"{task_id}-{fence}"


def check(row: TaskRow, to: State) -> None:
    """Raise ``ConflictError`` unless the table of transitions lets the task go to ``to``."""
    if to not in TRANSITIONS[row.state]:
        raise ConflictError(f"task {row.id} is {row.state}: it cannot become {to.value}")


def move(row: TaskRow, to: State, now: float, *, reason: str = "") -> None:
    """Put the task into another state. Everything that belongs to the old state only is cleared."""
    check(row, to)
    row.state = to.value
    row.reason = reason.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    row.updated_at = now
    row.wake_at = None
    row.held_by = None
    row.queued_at = now if to is State.QUEUED else None
    row.finished_at = now if to in _ENDED else None
    if to is not State.RUNNING:
        row.lease_until = None
        row.cancel_requested = False


def begin(
    row: TaskRow, now: float, *, agent: str, worker: str, lease: float, progressed: bool = False
) -> tuple[bool, list[NewEvent]]:
    """Give the task to an agent; return whether it goes on with an earlier journal, and the events.

    ``progressed`` tells of a run that lost its lease whether it had journaled a step.
    """
    events: list[NewEvent] = []
    since = row.queued_at
    if row.state == State.RUNNING:
        events.append(_lease_expired(row, now))
        row.crashes = 1 if progressed else row.crashes + 1
        since = row.lease_until
    move(row, State.RUNNING, now)
    resumed = not row.fresh
    row.attempts += row.fresh
    row.session += row.fresh
    row.fresh = 0
    row.fence += 1
    row.agent, row.worker, row.run_id = agent, worker, run_id(row.id, row.fence)
    row.lease_until = now + lease
    row.started_at = row.started_at or now
    row.cancel_requested = False
    data = {"agent": agent, "worker": worker, "fence": row.fence, "attempt": row.attempts, "resumed": resumed}
    data |= {"waited": round(max(0.0, now - (since or now)), 3)}
    events.append(_event(row, "task.claimed", now, data))
    return resumed, events


def suspect(row: TaskRow, now: float) -> NewEvent:
    """Say that the task runs in a process of its own from now on."""
    reason = f"{row.crashes} workers in a row died under it without a new step"
    return acted(row, now, "poison suspected", reason, "it runs in a process of its own")


def bury(row: TaskRow, now: float) -> list[NewEvent]:
    """End a task whose runs crash again and again."""
    events = [_lease_expired(row, now)]
    row.crashes += 1
    reason = (
        f"quarantined: {row.crashes} runs in a row ended without a word or a new step, the last one of {row.agent} "
        f"on worker {row.worker}: the task seems to bring its worker down"
    )
    return [*events, *quarantine(row, now, reason)]


def quarantine(row: TaskRow, now: float, reason: str) -> list[NewEvent]:
    """End a task that brings down what it runs in; everything it has done is kept."""
    move(row, State.FAILED, now, reason=reason)
    failed = _event(row, "task.failed", now, {"reason": row.reason, "attempts": row.attempts})
    return [acted(row, now, "poison", row.reason, "dead letter"), failed]


def hold(row: TaskRow, now: float, first: str) -> list[NewEvent]:
    """Let the task wait for one that changes the same files and goes first."""
    move(row, State.WAITING, now)
    row.held_by = first
    return [_event(row, "task.waiting", now, {"reason": f"task {first} changes the same files and goes first"})]


def finish(row: TaskRow, now: float, change: Change | None) -> list[NewEvent]:
    """Settle a run that succeeded: in review with a change, done when nothing had to change.

    A request to cancel that comes this late is dropped: the work exists, and a person can still throw it away.
    """
    row.change = change.model_dump_json() if change is not None else None
    if change is None or not change.files:
        move(row, State.DONE, now)
        return [_event(row, "task.done", now, {"by": row.agent, "commit": change.commit if change else None})]
    move(row, State.REVIEW, now)
    data = {"commit": change.commit, "branch": change.branch, "files": change.files}
    data |= {"insertions": change.insertions, "deletions": change.deletions}
    return [_event(row, "task.review", now, data)]


def fail(row: TaskRow, now: float, reason: str, *, again_in: float | None) -> list[NewEvent]:
    """Settle a run that failed: another attempt in ``again_in`` seconds, or none."""
    if row.cancel_requested:
        return cancelled(row, now, f"{row.reason}; the run ended with: {reason}" if row.reason else reason)
    if again_in is None:
        move(row, State.FAILED, now, reason=reason)
        return [_event(row, "task.failed", now, {"reason": row.reason, "attempts": row.attempts})]
    move(row, State.WAITING, now, reason=reason)
    row.wake_at = now + again_in
    row.fresh = 1
    data = {"reason": row.reason, "not_before": row.wake_at, "attempt": row.attempts}
    return [_event(row, "task.retrying", now, data)]


def block(row: TaskRow, now: float, question: str) -> list[NewEvent]:
    """Stop a run at a question to a person."""
    if row.cancel_requested:
        return cancelled(row, now, row.reason)
    move(row, State.BLOCKED, now, reason=question)
    return [_event(row, "task.blocked", now, {"question": row.reason})]


def release(row: TaskRow, now: float, reason: str, *, again_in: float | None = None) -> list[NewEvent]:
    """Give a task back unfinished: the next run goes on where this one stopped, now or in ``again_in`` seconds."""
    if row.cancel_requested:
        return cancelled(row, now, row.reason)
    if again_in is not None:
        move(row, State.WAITING, now, reason=reason)
        row.wake_at = now + again_in
        return [_event(row, "task.waiting", now, {"reason": row.reason})]
    move(row, State.QUEUED, now)
    return [_event(row, "task.requeued", now, {"reason": reason, "pool": row.pool})]


def cancelled(row: TaskRow, now: float, reason: str, *, by: str | None = None) -> list[NewEvent]:
    """End the task because a person asked for it."""
    move(row, State.CANCELLED, now, reason=reason or "cancelled")
    return [_event(row, "task.cancelled", now, {"by": by, "reason": row.reason})]


def cancel(row: TaskRow, now: float, by: str) -> list[NewEvent]:
    """Do what a person asks for: at once where nothing runs, else tell the run."""
    if row.state == State.CANCELLED:
        return []
    check(row, State.CANCELLED)
    reason = f"cancelled by {by}"
    if row.state != State.RUNNING or (row.lease_until or 0) <= now:
        return cancelled(row, now, reason, by=by)
    if row.cancel_requested:
        return []
    row.cancel_requested, row.reason, row.updated_at = True, reason, now
    return [_event(row, "task.cancel_requested", now, {"by": by})]


def retry(row: TaskRow, now: float, by: str, *, needs_met: bool) -> list[NewEvent]:
    """Send a task back at a person's word.

    A blocked one goes on with its journal. A settled one begins a new series of attempts. One that waits for its next
    attempt, or for its time, becomes claimable at once.
    """
    if row.state == State.WAITING and not needs_met:
        raise ConflictError(f"task {row.id} waits for other tasks: retry or cancel those (see ezaigent tasks why)")
    if row.state in (State.QUEUED, State.RUNNING):
        raise ConflictError(f"task {row.id} is {row.state} already")
    if row.state in (State.REVIEW, State.FAILED, State.CANCELLED):
        check(row, State.QUEUED)
        row.attempts = row.crashes = 0
        row.fresh = 1
        row.change = None
    return ready(row, now, needs_met=needs_met, reason=f"sent back by {by}")


def send_back(row: TaskRow, now: float, by: str, *, needs_met: bool) -> list[NewEvent]:
    """Let the agent go on with a change in review: the next run has the same journal, and the tree that it left."""
    if row.state != State.REVIEW:
        raise ConflictError(f"task {row.id} is {row.state}: only a change in review can be sent back with comments")
    row.crashes = 0
    row.change = None
    return ready(row, now, needs_met=needs_met, reason=f"sent back with comments by {by}")


def ready(row: TaskRow, now: float, *, needs_met: bool, reason: str, obey_time: bool = False) -> list[NewEvent]:
    """Make the task claimable, or let it wait for its needs or its time."""
    if not needs_met:
        move(row, State.WAITING, now)
        return [_event(row, "task.waiting", now, {"reason": f"{reason}; waits for other tasks"})]
    if obey_time and row.not_before is not None and row.not_before > now:
        row.wake_at = row.not_before  # it waits on, now for its time only
        row.updated_at = now
        return []
    move(row, State.QUEUED, now)
    return [_event(row, "task.queued", now, {"reason": reason, "pool": row.pool})]


def approve(row: TaskRow, now: float, by: str, commit: str | None) -> list[NewEvent]:
    """Accept the change."""
    if row.state != State.REVIEW:
        raise ConflictError(f"task {row.id} is {row.state}: only a task in review can be approved")
    finished = row.finished_at
    move(row, State.DONE, now, reason=f"accepted by {by}")
    row.finished_at = finished
    return [_event(row, "task.done", now, {"by": by, "commit": commit})]


def acted(row: TaskRow, now: float, what: str, reason: str, action: str) -> NewEvent:
    """Return the event that tells what recovery did with the task, and why."""
    data = {"what": what, "reason": reason, "action": action, "worker": row.worker}
    return _event(row, "recovery.acted", now, data)


def _lease_expired(row: TaskRow, now: float) -> NewEvent:
    data = {"agent": row.agent, "worker": row.worker, "fence": row.fence}
    return _event(row, "task.lease_expired", now, data)


def _event(row: TaskRow, kind: str, now: float, data: Mapping[str, object]) -> NewEvent:
    return NewEvent(kind, row.id, row.run_id, row.agent, data, now)
