"""A line with a key is taken once, whatever becomes of whoever takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from tests.chat.talk import Talk
from tests.services import until

from ezaigent.chat import AgentFacts, Chat
from ezaigent.tasks import NewTask, Task

LINE = "/task Fix it. --repo /tmp/shop"


async def test_a_line_whose_answer_was_lost_queues_no_second_task(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends between the task and the answer; said again, to whichever process, it is the same task."""

    async def dies(new: Sequence[NewTask], *, by: str) -> Sequence[Task]:
        await talk.queue.submit_many(new, by=by)
        raise RuntimeError("the process ends here")

    with monkeypatch.context() as patched:
        patched.setattr(talk.door, "submit", dies)
        with pytest.raises(RuntimeError):
            await talk.chat.say(LINE, by="ada", key="k")
    (task,) = await talk.queue.list()
    assert await talk.chat.history() == []
    again = await Chat(talk.db, talk.queue, talk.door).say(LINE, by="ada", key="k")
    assert again.data["task"] == task.id
    assert len(await talk.queue.list()) == 1


async def test_a_key_belongs_to_a_person_a_conversation_and_a_piece_of_work(talk: Talk) -> None:
    for by, to, line in (
        ("ada", "fleet", LINE),
        ("bob", "fleet", LINE),
        ("ada", "claude-1", LINE),
        ("ada", "gpt-1", "/task Fix something else. --repo /tmp/shop"),
    ):
        await talk.chat.say(line, by=by, to=to, key="k")
    await talk(LINE)
    await talk(LINE)
    assert len(await talk.queue.list()) == 6


async def test_who_comes_after_one_that_gave_up_waits_for_the_one_between(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three that say the same at once the first goes away: the other two are still one line."""
    opened, entered = asyncio.Event(), list[int]()
    there = list(talk.door.present)

    async def agents() -> Sequence[AgentFacts]:
        entered.append(len(entered))
        await opened.wait()
        return there

    monkeypatch.setattr(talk.door, "agents", agents)

    def say() -> asyncio.Task[object]:
        return asyncio.create_task(talk.chat.say("pause everyone now", by="ada", key="k"))

    first = say()
    await until(lambda: len(entered) == 1, what="the first is being answered")
    second = say()
    await asyncio.sleep(0)
    first.cancel()
    await until(lambda: len(entered) == 2, what="the second is being answered")
    third = say()
    await asyncio.sleep(0.1)  # time enough to overtake the second, were it not held up
    opened.set()
    assert await second == await third
    assert len(await talk.chat.history()) == 2
