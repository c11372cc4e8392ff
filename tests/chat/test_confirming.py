"""What takes work away, or touches many, is shown and asked for; a yes is good once, for whoever was asked."""

from __future__ import annotations

import pytest
from tests.chat.talk import Talk

from ezaigent.store import Sql, tables
from ezaigent.tasks import State, pending_messages


async def test_pausing_all_but_one_shows_whom_it_touches_and_waits_for_a_yes(talk: Talk) -> None:
    asked = await talk("pause everything except claude-1")
    assert asked.confirmation is not None
    assert asked.confirmation.touches == ("claude-2", "gpt-1")
    assert "pause everyone except claude-1" in asked.text
    assert await talk.paused() == []

    done = await talk("yes")
    assert done.ok
    assert await talk.paused() == ["claude-2", "gpt-1"]
    assert "claude-9" in await talk.queue.pauses(), "it holds for agents that come later"
    assert "claude-1" not in await talk.queue.pauses()


async def test_a_yes_is_good_once(talk: Talk) -> None:
    asked = await talk("pause everyone")
    assert asked.confirmation is not None
    await talk(f"yes {asked.confirmation.token}")
    await talk("/start")
    for word in ("yes", f"yes {asked.confirmation.token}", "/yes", "go ahead"):
        again = await talk(word)
        assert not again.ok
        assert "nothing to confirm" in again.text
    assert await talk.paused() == []


async def test_a_yes_counts_only_for_who_was_asked_where_he_was_asked_and_for_what_was_asked_last(talk: Talk) -> None:
    await talk("pause everyone")
    assert not (await talk("yes", by="bob")).ok
    assert not (await talk("yes", to="gpt-1")).ok
    assert not (await talk("yes 00000000")).ok
    await talk("how deep is the queue?")
    assert not (await talk("yes")).ok, "something else was said in between"
    await talk("pause everyone")
    await talk("pause gpt-1 and claude-2")
    await talk("yes")
    assert await talk.paused() == ["claude-2", "gpt-1"]


async def test_no_takes_the_question_back(talk: Talk) -> None:
    await talk("pause everyone")
    assert (await talk("no")).text == "nothing was done"
    assert not (await talk("yes")).ok
    assert await talk.paused() == []


async def test_a_question_expires(talk: Talk) -> None:
    await talk("pause everyone")
    await talk.db.write(Sql("UPDATE confirmations SET expires_at = 1").run)
    assert not (await talk("yes")).ok
    assert await talk.paused() == []


async def test_the_queue_is_cleared_of_what_was_shown_and_of_nothing_else(talk: Talk) -> None:
    first, second = await talk.task("One."), await talk.task("Two.", needs=[(await talk.task("Zero.")).id])
    await talk.begin()
    asked = await talk("clear the queue")
    assert asked.confirmation is not None
    assert "2 tasks" in asked.text
    assert set(asked.confirmation.touches) <= {one.id for one in await talk.queue.list()}
    later = await talk.task("Later.")
    done = await talk("yes")
    assert done.data is not None
    assert len(done.data["cancelled"]) == 2
    states = {task.id: task.state for task in await talk.queue.list()}
    assert states[later.id] is State.QUEUED
    assert sorted(states.values()) == ["cancelled", "cancelled", "queued", "running"]
    assert {states[first.id], states[second.id]} <= {State.CANCELLED, State.RUNNING}


async def test_a_queue_of_twelve_thousand_is_cleared_of_exactly_what_was_counted(talk: Talk) -> None:
    """However long it is, the number is true, all of it goes, and no message lists thousands of ids."""
    first = await talk.task("First.")
    others = ", ".join(f'"{one.name}"' for one in tables.tasks.columns if one.name not in {"id", "key"})
    copies = "INSERT INTO tasks (id, {others}) SELECT {id}, {others} FROM tasks CROSS JOIN n"
    some = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000) "
    await talk.db.write(
        Sql(
            sqlite=some + copies.format(others=others, id="printf('1%015d', i)"),
            postgresql=some + copies.format(others=others, id="'1' || lpad(i::text, 15, '0')"),
        ).run
    )
    asked = await talk("/clear")
    card = asked.confirmation
    assert card is not None
    assert card.understood == "cancel 12001 tasks that have not begun: 12001 queued, 0 waiting"
    assert card.count == 12_001
    assert "it touches 12001: " in asked.text
    assert "and 11989 more" in asked.text
    assert len(card.touches) == 12
    later = await talk.task("Later.")
    done = await talk("yes")
    assert done.text == "cancelled 12001 tasks"
    assert done.data is not None
    assert done.data["count"] == 12_001
    stats = await talk.queue.stats()
    assert (stats.states[State.QUEUED], stats.states[State.CANCELLED]) == (1, 12_001)
    assert (await talk.queue.get(later.id)).state is State.QUEUED
    assert (await talk.queue.get(first.id)).state is State.CANCELLED
    kept = [len(one.model_dump_json()) for one in await talk.chat.history()]
    assert max(kept) < 2_000


async def test_what_begins_between_the_question_and_the_yes_is_left_to_work(talk: Talk) -> None:
    task = await talk.task()
    await talk("/clear")
    await talk.begin()
    assert "begun or ended meanwhile" in (await talk("yes")).text
    assert (await talk.queue.get(task.id)).state is State.RUNNING
    assert not (await talk.queue.get(task.id)).cancel_requested


async def test_nothing_to_clear_is_not_asked_about(talk: Talk) -> None:
    said = await talk("/clear")
    assert said.confirmation is None
    assert "nothing to clear" in said.text


async def test_cancelling_is_always_asked_for(talk: Talk) -> None:
    task = await talk.task()
    asked = await talk(f"/cancel {task.id[:8]}")
    assert asked.confirmation is not None
    assert asked.confirmation.touches == (task.id,)
    assert (await talk.queue.get(task.id)).state is State.QUEUED
    await talk("yes")
    assert (await talk.queue.get(task.id)).state is State.CANCELLED
    assert "queued" in (await talk(f"retry {task.id}")).text
    assert (await talk.queue.get(task.id)).state is State.QUEUED


async def test_exact_orders_that_can_be_taken_back_are_carried_out_at_once(talk: Talk) -> None:
    assert (await talk("/pause")).confirmation is None
    assert await talk.paused() == ["claude-1", "claude-2", "gpt-1"]
    assert (await talk("/start")).confirmation is None
    assert await talk.paused() == []
    await talk("pause claude-2")
    assert await talk.paused() == ["claude-2"]
    await talk("resume claude-2")
    assert await talk.paused() == []


async def test_a_guessed_name_is_asked_about(talk: Talk) -> None:
    asked = await talk("pause cluade-1")
    assert asked.confirmation is not None
    assert asked.confirmation.touches == ("claude-1",)
    assert await talk.paused() == []


async def test_growing_a_pool_is_done_and_shrinking_it_is_asked_for(talk: Talk) -> None:
    await talk("add two more claude agents")
    assert talk.door.sizes == {"claude": 4}
    asked = await talk("scale claude to 1")
    assert asked.confirmation is not None
    assert talk.door.sizes == {"claude": 4}
    await talk("yes")
    assert talk.door.sizes == {"claude": 1}


async def test_draining_many_is_asked_for(talk: Talk) -> None:
    assert (await talk("/drain claude")).confirmation is not None
    await talk("yes")
    assert talk.door.drained == ["claude-1", "claude-2"]


@pytest.mark.parametrize("said", ["/tell all use tabs", "tell everyone to use tabs", "@all use tabs"])
@pytest.mark.parametrize("at_work", [("claude-1",), ("claude-1", "gpt-1")])
async def test_a_message_to_everyone_is_asked_for_with_those_whom_it_reaches(
    talk: Talk, said: str, at_work: tuple[str, ...]
) -> None:
    claims = [(await talk.task(), await talk.begin(name)) for name in at_work]

    async def told() -> list[str]:
        waiting = [
            await talk.db.read(lambda conn, one=claim: pending_messages(conn, agent=one.agent, task_id=one.task.id))
            for _, claim in claims
        ]
        return [one.text for found in waiting for one in found]

    asked = await talk(said)
    assert asked.confirmation is not None
    assert asked.confirmation.understood == "tell everyone: use tabs"
    assert asked.confirmation.touches == at_work
    assert f"it touches {len(at_work)}: {', '.join(at_work)}" in asked.text
    assert (await talk("no")).ok
    assert await told() == []
    await talk(said)
    done = await talk("yes")
    assert done.data == {"agents": list(at_work)}
    assert await told() == ["use tabs"] * len(at_work)
    assert not (await talk("yes")).ok


async def test_a_message_to_several_is_asked_for_and_one_to_a_single_agent_is_not(talk: Talk) -> None:
    for name in ("claude-1", "claude-2", "gpt-1"):
        await talk.task()
        await talk.begin(name)
    several = await talk("/tell claude use tabs")
    assert several.confirmation is not None
    assert several.confirmation.touches == ("claude-1", "claude-2")
    assert (await talk("/tell gpt use tabs")).data == {"agents": ["gpt-1"]}
    assert (await talk("@gpt-1 use tabs")).confirmation is None


@pytest.mark.parametrize("said", ["/tell all use tabs", "tell everyone to use tabs"])
async def test_where_nobody_is_at_work_it_is_said_without_asking(talk: Talk, said: str) -> None:
    answer = await talk(said)
    assert not answer.ok
    assert answer.confirmation is None
    assert answer.text == "nobody is at work now; say it in the prompt of the next task"
    assert not (await talk("yes")).ok


async def test_who_may_only_look_changes_nothing(talk: Talk) -> None:
    assert (await talk("/status", may_change=False)).ok
    for order in ("/pause", "pause gpt-1", "fix the bug in /tmp/shop", "/task do it --repo /tmp/shop"):
        assert not (await talk(order, may_change=False)).ok
    await talk("pause everyone")
    assert not (await talk("yes", may_change=False)).ok
    assert await talk.paused() == []
    assert await talk.queue.list() == []


@pytest.mark.parametrize("said", ["do not pause claude", "what would happen if I cleared the queue?", "cancel that"])
async def test_traps_change_nothing_and_say_why(talk: Talk, said: str) -> None:
    task = await talk.task()
    answer = await talk(said)
    assert not answer.ok
    assert answer.confirmation is None
    assert await talk.paused() == []
    assert (await talk.queue.get(task.id)).state is State.QUEUED
