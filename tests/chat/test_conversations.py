"""Conversations are kept, with the fleet and with each agent; agents are told things and answer from facts."""

from __future__ import annotations

import pytest
from tests.chat.talk import Talk

from ezaigent.chat import Chat, record_answer
from ezaigent.core.errors import NotFoundError, UsageError
from ezaigent.store import Database, Sql
from ezaigent.tasks import State, pending_messages


async def test_both_sides_are_kept_and_survive_a_restart(talk: Talk, database_url: str) -> None:
    await talk("/queue")
    await talk("/status", to="claude-1")
    again = await Database.open(database_url)
    try:
        chat = Chat(again, talk.queue, talk.door)
        kept = await chat.history()
        assert [(one.role, one.author) for one in kept] == [("person", "ada"), ("fleet", "fleet")]
        assert kept[0].text == "/queue"
        assert kept[1].data["command"] == {"kind": "queue"}
        assert set(await chat.conversations()) == {"fleet", "claude-1"}
    finally:
        await again.close()
    assert await talk.events("chat.message") == 4


async def test_the_1001st_message_drops_the_first(talk: Talk) -> None:
    await talk.db.write(
        Sql(
            sqlite="""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 998)
            INSERT INTO chat (conversation, role, author, text, at, data)
            SELECT 'fleet', 'person', 'ada', i, 0, '{}' FROM n""",
            postgresql="""INSERT INTO chat (conversation, role, author, text, at, data)
            SELECT 'fleet', 'person', 'ada', i::text, 0, '{}' FROM generate_series(1, 998) AS i""",
        ).run
    )
    await talk("/help")
    assert len(await talk.chat.history()) == 1000
    await talk("/help", to="gpt-1")
    assert (await talk.chat.history())[0].text == "1"
    await talk("/help")
    kept = await talk.chat.history()
    assert len(kept) == 1000
    assert [one.text for one in kept[:2]] == ["3", "4"]
    stored = await talk.db.read(Sql("SELECT count(*) FROM chat WHERE conversation = 'fleet'").all)
    assert stored == [(1000,)]
    assert len(await talk.chat.history("gpt-1")) == 2


@pytest.mark.parametrize(
    "line",
    ["fix the unused imports", "/task Fix it. --repo https://bob:hunter2@git.example.org/shop.git --priority high"],
)
async def test_a_login_inside_a_url_is_used_and_never_shown(talk: Talk, line: str) -> None:
    """The repository is the last task's, or was just given; whoever reads along sees it without its login."""
    await talk.task(repo="https://ada:hunter2@git.example.org/shop.git")
    replies = [await talk(line)]
    if replies[0].confirmation is not None:
        assert "in https://git.example.org/shop.git" in replies[0].confirmation.understood
        replies.append(await talk("yes"))
    assert replies[-1].command is not None
    assert replies[-1].command["repo"] == "https://git.example.org/shop.git"
    shown = [one.model_dump_json() for one in (*replies, *await talk.chat.history())]
    assert not [one for one in shown if "hunter2" in one]
    assert ["hunter2" in task.repo for task in await talk.queue.list()] == [True, True]


async def test_history_is_read_in_pages(talk: Talk) -> None:
    for word in ("/queue", "/status", "/agents"):
        await talk(word)
    newest = await talk.chat.history(limit=2)
    assert newest[0].text == "/agents"
    older = await talk.chat.history(limit=2, before=newest[0].id)
    assert older[0].text == "/status"
    assert [one.id for one in await talk.chat.history(after=newest[0].id)] == [newest[1].id]


async def test_a_message_to_a_busy_agent_waits_for_it_and_its_answer_comes_back_everywhere(talk: Talk) -> None:
    await talk.task("Sort the imports.")
    claim = await talk.begin()
    said = await talk("tell claude-1 to use tabs")
    assert said.confirmation is None
    waiting = await talk.db.read(lambda conn: pending_messages(conn, agent="claude-1", task_id=claim.task.id))
    assert [one.text for one in waiting] == ["use tabs"]

    for _ in range(2):
        await talk.db.write(
            lambda conn: record_answer(
                conn, [waiting[0].id], agent="claude-1", task_id=claim.task.id, text="Tabs it is."
            )
        )
    for conversation in ("fleet", "claude-1"):
        answers = [one for one in await talk.chat.history(conversation) if one.role == "agent"]
        assert [(one.author, one.text) for one in answers] == [("claude-1", "Tabs it is.")]
    assert (await talk.chat.history("claude-1"))[0].text == "use tabs"


async def test_a_line_in_the_conversation_of_a_busy_agent_is_for_the_agent(talk: Talk) -> None:
    await talk.task()
    claim = await talk.begin()
    for line in ("please use tabs", "how far are you?", "fix the typo as well"):
        assert "told claude-1" in (await talk(line, to="claude-1")).text
    waiting = await talk.db.read(lambda conn: pending_messages(conn, agent="claude-1", task_id=claim.task.id))
    assert [one.text for one in waiting] == ["please use tabs", "how far are you?", "fix the typo as well"]
    assert "running" in (await talk("/queue", to="claude-1")).text, "with a slash it is for the fleet"
    await talk("/pause", to="claude-1")
    assert await talk.paused() == ["claude-1"]


async def test_messages_to_many_are_asked_about_and_reach_those_who_work(talk: Talk) -> None:
    await talk.task()
    await talk.task()
    await talk.begin("claude-1")
    await talk.begin("gpt-1")
    asked = await talk("tell everyone the build is fixed")
    assert asked.confirmation is not None
    assert asked.confirmation.touches == ("claude-1", "gpt-1")
    assert "told claude-1, gpt-1" in (await talk("yes")).text
    for name in ("claude-1", "gpt-1"):
        assert (await talk.chat.history(name))[0].text == "the build is fixed"


async def test_nobody_at_work_cannot_be_told_anything(talk: Talk) -> None:
    said = await talk("@gpt-1 use tabs")
    assert not said.ok
    assert "no task now" in said.text


async def test_an_idle_agent_answers_from_facts(talk: Talk) -> None:
    task = await talk.task("Sort the imports.")
    claim = await talk.begin()
    await talk.queue.fail(claim, "the check 'pytest' fails", retryable=False)
    talk.door.present[0] = talk.door.present[0].model_copy(update={"status": "idle", "task_id": None})
    said = await talk("what did you do last?", to="claude-1")
    assert said.ok
    assert said.source == "agent"
    assert task.id in said.text
    assert "the check 'pytest' fails" in said.text
    assert "refactoring" in said.text


async def test_an_idle_agent_proposes_a_task_that_one_reply_confirms(talk: Talk) -> None:
    asked = await talk("fix the rounding bug in /tmp/shop", to="claude-2")
    assert asked.confirmation is not None
    assert await talk.queue.list() == []
    await talk("yes", to="claude-2")
    task = (await talk.queue.list())[0]
    assert (task.prompt, task.repo, task.profile) == ("fix the rounding bug", "/tmp/shop", "claude")
    assert task.state is State.QUEUED


async def test_the_repository_is_the_one_at_hand_or_the_last_one_or_asked_for(talk: Talk) -> None:
    said = await talk("fix the rounding bug")
    assert not said.ok
    assert "which repository" in said.text
    asked = await talk.chat.say("fix the rounding bug", by="ada", repo="/home/ada/shop")
    assert asked.command is not None
    assert asked.command["repo"] == "/home/ada/shop"
    await talk.task()
    asked = await talk("fix the rounding bug")
    assert asked.command is not None
    assert asked.command["repo"] == "/tmp/shop"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("/status", "agents: 3 idle"),
        ("/agents", "good at architecture"),
        ("/cost all", "1 calls of unknown price"),
        ("what did we spend this week?", "$1.50"),
        ("/tasks failed", "no task is failed"),
        ("/help", "/approve ID"),
        ("/unknown", "there are: /status"),
        ("/pause nobody", "no agent or profile"),
        ("/cancel", "write: /cancel ID"),
        ("/why 0000000", "there is no task"),
        ("frobnicate", "not clear"),
        ("pause gpt-7", "not clear"),
        ("no", "nothing was done"),
    ],
)
async def test_answers(talk: Talk, said: str, told: str) -> None:
    assert told in (await talk(said)).text


async def test_tasks_are_shown_and_decided(talk: Talk) -> None:
    task = await talk.task("Sort the imports.")
    assert "Sort the imports." in (await talk("/tasks")).text
    shown = await talk(f"show {task.id[:9]}")
    assert "queued" in shown.text
    assert "$0.02" in shown.text
    assert task.id in (await talk(f"why is {task.id} waiting?")).text
    refused = await talk(f"/approve {task.id}")
    assert not refused.ok
    assert "only a task in review can be approved" in refused.text
    queued = await talk("/task tidy up --repo /tmp/shop --profile gpt --priority high")
    assert queued.data is not None
    tidy = await talk.queue.get(queued.data["task"])
    assert (tidy.prompt, tidy.profile, tidy.priority.name) == ("tidy up", "gpt", "HIGH")


async def test_what_is_no_message_is_refused(talk: Talk) -> None:
    with pytest.raises(UsageError, match="empty"):
        await talk("  ")
    with pytest.raises(UsageError, match="20001 characters"):
        await talk("x" * 20_001)
    with pytest.raises(NotFoundError, match="no agent 'nobody'"):
        await talk("hello", to="nobody")
