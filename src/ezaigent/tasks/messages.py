"""What people write to agents: kept until a run takes it."""

from __future__ import annotations

from collections.abc import Sequence

from ezaigent.core.errors import NotFoundError, UsageError
from ezaigent.core.ids import new_id
from ezaigent.store import Connection, NewEvent, emit, emit_many, now
from ezaigent.tasks import queries
from ezaigent.tasks.models import Message


def post_message(conn: Connection, agent: str | None, task_id: str | None, text: str, by: str) -> Message:
    """Keep a message for an agent, or for whichever agent runs a task."""
    if agent is None and task_id is None:
        raise UsageError("a message needs an agent or a task to go to")
    if not text.strip():
        raise UsageError("the message is empty")
    if task_id is not None and not queries.resolve(conn, [task_id]):
        raise NotFoundError(f"there is no task {task_id!r}; ezaigent tasks list shows them")
    clean = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    message = Message(id=new_id(), to_agent=agent, task_id=task_id, text=clean, by=by, created_at=now(conn))
    queries.insert_message(conn, message)
    emit(conn, "agent.message", task_id=task_id, agent=agent, data={"message_id": message.id, "by": by})
    return message


def pending_messages(conn: Connection, *, agent: str, task_id: str) -> list[Message]:
    """Return what waits for this agent or this task, oldest first."""
    return queries.pending_messages(conn, agent, task_id)


def take_messages(conn: Connection, *, agent: str, task_id: str, run_id: str) -> list[Message]:
    """Hand what waits for this agent or this task to the run, once; the events say so."""
    messages = queries.pending_messages(conn, agent, task_id, lock=True)
    deliver_messages(conn, [message.id for message in messages], agent=agent, task_id=task_id, run_id=run_id)
    return messages


def deliver_messages(conn: Connection, ids: Sequence[str], *, agent: str, task_id: str, run_id: str) -> None:
    """Note that the run has these messages."""
    if not ids:
        return
    queries.mark_delivered(conn, ids, run_id)
    emit_many(conn, [NewEvent("run.message", task_id, run_id, agent, {"message_id": one}) for one in ids])
