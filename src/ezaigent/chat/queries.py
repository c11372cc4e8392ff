"""The SQL of conversations, of what waits for a yes, and of the tasks that a line is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from ezaigent.chat.models import KEPT, ChatMessage, NewChatMessage
from ezaigent.chat.once import Once
from ezaigent.chat.ports import CostFacts
from ezaigent.core.logins import without_login
from ezaigent.store import Connection, NewEvent, Sql, emit_many

_COLUMNS: Final = 'id, conversation, role, author, "text", at, task_id, message_id, data'
_insert = Sql(
    """INSERT INTO chat (conversation, role, author, "text", at, task_id, message_id, data)
    VALUES ($1, $2, $3, $4, {now}, $5, $6, $7) RETURNING id, at"""
)
_trim = Sql(
    f"""DELETE FROM chat WHERE conversation = $1 AND id <= (
    SELECT id FROM chat WHERE conversation = $1 ORDER BY id DESC LIMIT 1 OFFSET {KEPT})"""  # noqa: S608 - a number
)
_page = Sql(
    f"""SELECT {_COLUMNS} FROM (
        SELECT {_COLUMNS} FROM chat WHERE conversation = $1
        AND id < CAST($2 AS bigint) AND id > CAST($3 AS bigint) ORDER BY id DESC LIMIT CAST($4 AS bigint)) AS page
    ORDER BY id"""  # noqa: S608 - our own columns
)
_conversations = Sql("SELECT conversation, max(id), count(*) FROM chat GROUP BY conversation ORDER BY conversation")
_said = Sql("SELECT conversation, data FROM chat WHERE message_id = $1 AND role = 'person' ORDER BY id")
_answered = Sql("SELECT 1 FROM chat WHERE message_id = $1 AND role = 'agent' LIMIT 1")
_keyed = Sql(
    "SELECT id FROM chat WHERE conversation = $1 AND role = 'person' AND author = $2 AND data = $3 ORDER BY id LIMIT 1"
)
_replies = Sql(f"SELECT {_COLUMNS} FROM chat WHERE conversation = $1 AND role = 'fleet' AND id > $2 ORDER BY id")  # noqa: S608 - our own columns
_LAST: Final = 2**62


def keep(conn: Connection, message: NewChatMessage) -> ChatMessage:
    """Keep a message as the newest of its conversation, drop what is too old, and tell it as an event.

    Everybody reads along: logins inside URLs are left out of the text.
    """
    text = without_login(message.text).replace("\x00", "\N{REPLACEMENT CHARACTER}")
    data = orjson.dumps(message.data).decode()
    row = _insert.first(
        conn,
        message.conversation,
        message.role,
        message.author,
        text,
        message.task_id,
        message.message_id,
        data,
    )
    assert row is not None
    _trim.run(conn, message.conversation)
    told = {"id": row[0], "conversation": message.conversation, "role": message.role, "author": message.author}
    agent = message.conversation if message.conversation != "fleet" else None
    emit_many(conn, [NewEvent("chat.message", message.task_id, None, agent, told)])
    return ChatMessage(**message.model_dump(exclude={"text"}), text=text, id=row[0], at=row[1])


def page(
    conn: Connection, conversation: str, *, limit: int, before: int | None, after: int | None
) -> list[ChatMessage]:
    """Return the newest messages, oldest first, numbered below ``before`` and above ``after``."""
    rows = _page.all(conn, conversation, before if before is not None else _LAST, after or 0, min(limit, KEPT))
    return [_message(row) for row in rows]


def reply_to(conn: Connection, conversation: str, author: str, data: dict[str, Any]) -> ChatMessage | None:
    """Return the fleet's answer to the line that this person said with exactly this ``data``; None for none."""
    said = _keyed.first(conn, conversation, author, orjson.dumps(data).decode())
    if said is None:
        return None
    replies = (_message(row) for row in _replies.all(conn, conversation, said[0]))
    return next((one for one in replies if one.data.get("answers") == said[0]), None)


def conversations(conn: Connection) -> list[tuple[str, int, int]]:
    """Return each conversation with the number of its newest message and how many it has."""
    return [(row[0], row[1], row[2]) for row in _conversations.all(conn)]


def record_answer(conn: Connection, message_ids: Sequence[str], *, agent: str, task_id: str, text: str) -> bool:
    """Keep an agent's answer to messages where it is spoken to, and where they were said; return whether it is new."""
    last = message_ids[-1]
    if _answered.first(conn, last) is not None:
        return False
    places = [agent]
    for message_id in message_ids:
        for conversation, data in _said.all(conn, message_id):
            places += [conversation, orjson.loads(data).get("said_in", conversation)]
    for place in dict.fromkeys(places):
        answer = NewChatMessage(conversation=place, role="agent", author=agent, text=text, task_id=task_id)
        keep(conn, answer.model_copy(update={"message_id": last}))
    return True


def _message(row: Sequence[Any]) -> ChatMessage:
    names = ("id", "conversation", "role", "author", "text", "at", "task_id", "message_id")
    return ChatMessage(**dict(zip(names, row[:-1], strict=True)), data=orjson.loads(row[-1]))


# ---------------------------------------------------------------------------------------------- tasks

_unbegun = Sql("SELECT id, state FROM tasks WHERE state IN ('queued', 'waiting') ORDER BY id")


def unbegun(conn: Connection) -> tuple[list[str], int]:
    """Return the ids of all tasks that have not begun, read from the index by state, and how many are queued."""
    rows = _unbegun.all(conn)
    return [row[0] for row in rows], sum(row[1] == "queued" for row in rows)


class Worked(NamedTuple):
    """A task that an agent had, as its newest run of it left it."""

    task_id: str
    title: str
    state: str
    """The task's own, now."""
    outcome: str | None
    """How the agent's run ended; None while it runs."""
    reason: str


_LOOKED_AT: Final = 500
WORKED: Final = f"""\
    SELECT r.task_id, t.title, t.state, r.outcome, r.reason FROM (
        SELECT task_id, outcome, reason, started_at FROM runs WHERE agent = $1
        ORDER BY started_at DESC LIMIT {_LOOKED_AT}) AS r JOIN tasks t ON t.id = r.task_id
    ORDER BY r.started_at DESC"""  # noqa: S608 - a number
"""The tasks of an agent's newest runs."""
SPENT: Final = """\
    SELECT coalesce(sum(u.cost_nusd), 0), count(*), coalesce(sum(CASE WHEN u.cost_nusd IS NULL THEN 1 ELSE 0 END), 0)
    FROM (SELECT DISTINCT task_id FROM runs WHERE agent = $1) AS r JOIN usage u ON u.task_id = r.task_id
    WHERE u.agent = $1 AND u.at >= CAST($2 AS double precision)"""
"""What an agent's own calls cost: those in tasks that it had."""
_worked, _spent = Sql(WORKED), Sql(SPENT)


def worked(conn: Connection, agent: str) -> list[Worked]:
    """Return the tasks of the agent's newest runs, the newest first, each once; tasks of others are not looked at."""
    found: dict[str, Worked] = {}
    for row in _worked.all(conn, agent):
        found.setdefault(row[0], Worked(*row))
    return list(found.values())


def spent(conn: Connection, agent: str, since: float | None) -> CostFacts:
    """Return what the agent's model calls came to, since a time (seconds since 1970) or ever."""
    row = _spent.first(conn, agent, since or 0.0)
    assert row is not None
    return CostFacts(cost_nusd=int(row[0]), calls=int(row[1]), unknown_calls=int(row[2]))


# ---------------------------------------------------------------------------------------------- lines with a key

_DAYS: Final = 30
"""Days that it is known what was begun for a line whose answer was lost."""
_begin = Sql(
    """INSERT INTO begun_lines (conversation, "by", "key", data, at) VALUES ($1, $2, $3, $4, {now})
    ON CONFLICT (conversation, "by", "key") DO NOTHING RETURNING at"""
)
_hold = Sql(
    """INSERT INTO begun_lines (conversation, "by", "key", data, at) VALUES ($1, $2, $3, '', {now})
    ON CONFLICT (conversation, "by", "key") DO UPDATE SET at = begun_lines.at"""
)
_begun = Sql('SELECT data FROM begun_lines WHERE conversation = $1 AND "by" = $2 AND "key" = $3')
_begun_in = Sql('SELECT conversation FROM begun_lines WHERE "by" = $1 AND "key" = $2')
_settle = Sql('DELETE FROM begun_lines WHERE conversation = $1 AND "by" = $2 AND "key" = $3')
_forget = Sql("DELETE FROM begun_lines WHERE at <= {now} - CAST($1 AS double precision)")


def begin(conn: Connection, once: Once, data: str) -> bool:
    """Write down what is about to be done for a line; False where it was begun or answered already."""
    _forget.run(conn, _DAYS * 86_400)
    if _begin.first(conn, *once, data) is None:
        return False
    if answered(conn, once) is None:
        return True
    _settle.run(conn, *once)
    return False


def begun(conn: Connection, once: Once) -> str | None:
    """Return what was begun for a line that has no answer; None for nothing."""
    row = _begun.first(conn, *once)
    return None if row is None else str(row[0])


def begun_in(conn: Connection, by: str, key: str) -> str | None:
    """Return the conversation in which something was begun for a line that has no answer."""
    row = _begun_in.first(conn, by, key)
    return None if row is None else str(row[0])


def hold(conn: Connection, once: Once) -> ChatMessage | None:
    """Let nobody else answer a line until this transaction has ended; return its answer where it has one."""
    _hold.run(conn, *once)
    found = answered(conn, once)
    _settle.run(conn, *once)
    return found


def answered(conn: Connection, once: Once) -> ChatMessage | None:
    """Return the fleet's answer to a line; None for none."""
    return reply_to(conn, once.conversation, once.by, {"key": once.key})


# ---------------------------------------------------------------------------------------------- plans with a key


def stands_for(conn: Connection, key: str, digest: str) -> bool:
    """Let a plan's key stand for the plan with this digest; False where it stands for another one already."""
    once = Once("/plans", "", key)  # no agent is called that
    _forget.run(conn, _DAYS * 86_400)
    _begin.run(conn, *once, digest)
    return begun(conn, once) == digest


# ---------------------------------------------------------------------------------------------- confirmations

_ask = Sql(
    """INSERT INTO confirmations (token, conversation, "by", data, expires_at)
    VALUES ($1, $2, $3, $4, {now} + CAST($5 AS double precision)) RETURNING expires_at"""
)
_void = Sql('DELETE FROM confirmations WHERE (conversation = $1 AND "by" = $2) OR expires_at <= {now}')
_take = Sql(
    """DELETE FROM confirmations WHERE conversation = $1 AND "by" = $2 AND expires_at > {now}
    AND (CAST($3 AS text) IS NULL OR token = $3) RETURNING data"""
)
_waiting = Sql(
    """SELECT token, conversation, "by", data, expires_at FROM confirmations
    WHERE "by" = $1 AND expires_at > {now} ORDER BY expires_at"""
)


def ask(conn: Connection, token: str, conversation: str, by: str, *, data: str, seconds: float) -> float:
    """Let a command wait for a yes, in place of whatever waited before; return when it expires."""
    void(conn, conversation, by)
    row = _ask.first(conn, token, conversation, by, data, seconds)
    assert row is not None
    return float(row[0])


def void(conn: Connection, conversation: str, by: str) -> None:
    """Forget what this person was asked there, and everything that has expired."""
    _void.run(conn, conversation, by)


def take(conn: Connection, conversation: str, by: str, token: str | None) -> str | None:
    """Return what waits for this person's yes, once; None where nothing does, or no longer."""
    row = _take.first(conn, conversation, by, token)
    return None if row is None else str(row[0])


def waiting(conn: Connection, by: str) -> list[tuple[str, str, str, str, float]]:
    """Return what waits for this person's yes: token, conversation, person, what, and when it expires."""
    return [(row[0], row[1], row[2], row[3], float(row[4])) for row in _waiting.all(conn, by)]
