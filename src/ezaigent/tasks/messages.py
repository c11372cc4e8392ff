"""What people write to agents: kept until a run takes it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ezaigent.core.errors import ConflictError, NotFoundError, UsageError
from ezaigent.core.ids import new_id
from ezaigent.store import BulkInsert, Connection, NewEvent, Sql, emit, emit_many, now, tables
from ezaigent.tasks import queries
from ezaigent.tasks.models import Message

_posted = Sql("SELECT to_agent, text FROM messages WHERE id > $1 AND id < $2 ORDER BY id")
_post_once = BulkInsert(
    tables.messages,
    ("id", "to_agent", "task_id", "text", "by", "created_at"),
    on_conflict="ON CONFLICT (id) DO NOTHING",
)


def post_message(conn: Connection, agent: str | None, task_id: str | None, text: str, by: str) -> Message:
    """Keep a message for an agent, or for whichever agent runs a task."""
    if agent is None and task_id is None:
        raise UsageError("a message needs an agent or a task to go to")
    if not text.strip():
        raise UsageError("the message is empty")
    if task_id is not None and not queries.resolve(conn, [task_id]):
        raise NotFoundError(f"there is no task {task_id!r}; ezaigent tasks list shows them")
    words, at = _clean(text), now(conn)
    message = Message(id=new_id(), to_agent=agent, task_id=task_id, text=words, by=by, created_at=at)
    queries.insert_message(conn, message)
    emit(conn, "agent.message", task_id=task_id, agent=agent, data={"message_id": message.id, "by": by})
    return message


def posted_under(conn: Connection, *, text: str, by: str, key: str) -> list[str]:
    """Return the agents that have the message which ``by`` wrote under this idempotency key; none for a new key.

    Raises ``ConflictError`` where the key was used for other words.
    """
    head = _head(by, key)
    found = _posted.all(conn, head, f"{head}~")
    if any(kept != _clean(text) for _, kept in found):
        raise ConflictError(f"Idempotency-Key {key!r} was used for another message; take a new one")
    return [str(agent) for agent, _ in found]


def post_once(conn: Connection, to: Sequence[tuple[str, str]], *, text: str, by: str, key: str) -> list[str]:
    """Keep a message for each agent and the task it has, all or none; under a known key nothing is done.

    Return the agents that have it. Raises ``ConflictError`` as ``posted_under``.
    """
    found = posted_under(conn, text=text, by=by, key=key)
    if found:
        return found
    at = now(conn)
    for agent, task_id in to:
        message_id = f"{_head(by, key)}{agent}"
        if _post_once(conn, [(message_id, agent, task_id, _clean(text), by, at)]):
            emit(conn, "agent.message", task_id=task_id, agent=agent, data={"message_id": message_id, "by": by})
    return [agent for agent, _ in to]


def _head(by: str, key: str) -> str:
    """Return the beginning of the ids of what one person wrote under one key."""
    return hashlib.sha256(f"{by}\0{key}".encode()).hexdigest()[:32] + "-"


def _clean(text: str) -> str:
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


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
