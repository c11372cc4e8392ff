"""Messages to agents: the same key any number of times is one message, also at the same moment."""

from __future__ import annotations

import asyncio

import pytest
from tests.tasks.desk import Desk

from ezaigent.core.errors import ConflictError
from ezaigent.store import Connection
from ezaigent.tasks import Message, take_messages


async def test_one_key_is_one_message_for_each_agent(desk: Desk) -> None:
    claim, other = await desk.running(prompt="one"), await desk.running(prompt="two")
    to = [(claim.agent, claim.task.id), ("claude-7", other.task.id)]
    said = {"text": "Mind the gap.", "by": "ada", "key": "k1"}
    reached = await asyncio.gather(*(desk.queue.post_once(to, **said) for _ in range(8)))
    assert reached == [[claim.agent, "claude-7"]] * 8
    assert await desk.queue.posted_under(**said) == [claim.agent, "claude-7"]
    assert [event.kind for event in await desk.events() if event.kind == "agent.message"] == ["agent.message"] * 2

    def take(conn: Connection) -> list[Message]:
        return take_messages(conn, agent=claim.agent, task_id=claim.task.id, run_id="r")

    assert [message.text for message in await desk.db.write(take)] == ["Mind the gap."]
    assert await desk.queue.post_once([], **said) == [claim.agent, "claude-7"], "known after it was delivered, too"
    assert await desk.db.write(take) == []


async def test_a_key_belongs_to_one_person_and_one_text(desk: Desk) -> None:
    claim = await desk.running()
    to = [(claim.agent, claim.task.id)]
    await desk.queue.post_once(to, text="Go on.", by="ada", key="k1")
    with pytest.raises(ConflictError, match="k1"):
        await desk.queue.post_once(to, text="Stop.", by="ada", key="k1")
    assert await desk.queue.posted_under(text="Go on.", by="bob", key="k1") == []
    assert await desk.queue.post_once(to, text="Stop.", by="bob", key="k1") == [claim.agent]
