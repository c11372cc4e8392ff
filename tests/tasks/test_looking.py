"""What people see and say: messages, lists, look-ups, figures."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest
from tests.tasks.desk import Desk, slots

from ezaigent.core.errors import ConflictError, NotFoundError, UsageError
from ezaigent.tasks import NewTask, State, TaskQueue, deliver_messages, pending_messages, take_messages


async def test_messages_reach_the_run_once_in_their_order(desk: Desk) -> None:
    claim = await desk.running()
    other = await desk.task()
    queue, task_id = desk.queue, claim.task.id
    for text in ("first", "second\x00"):
        await queue.post_message(text=text, by="ann", task_id=task_id)
    await queue.post_message(text="to you", by="bob", agent="claude-1")
    await queue.post_message(text="not yours", by="bob", task_id=other.id)
    await queue.post_message(text="nor this", by="bob", agent="claude-2", task_id=other.id)
    waiting = await desk.db.read(lambda conn: pending_messages(conn, agent="claude-1", task_id=task_id))
    assert [message.text for message in waiting] == ["first", "second\N{REPLACEMENT CHARACTER}", "to you"]

    def take() -> Awaitable[list[str]]:
        return desk.db.write(
            lambda conn: [
                message.text for message in take_messages(conn, agent="claude-1", task_id=task_id, run_id=claim.run_id)
            ]
        )

    assert len(await take()) == 3
    assert await take() == []
    await desk.db.write(lambda conn: deliver_messages(conn, [], agent="claude-1", task_id=task_id, run_id=claim.run_id))
    delivered = [event.data["message_id"] for event in await desk.events() if event.kind == "run.message"]
    assert delivered == [message.id for message in waiting]


async def test_messages_to_nobody_are_refused(queue: TaskQueue) -> None:
    with pytest.raises(UsageError, match="needs an agent or a task"):
        await queue.post_message(text="hello", by="ann")
    with pytest.raises(UsageError, match="empty"):
        await queue.post_message(text=" \n", by="ann", agent="claude-1")
    with pytest.raises(NotFoundError, match="'missing'"):
        await queue.post_message(text="hello", by="ann", task_id="missing")


async def test_tasks_are_listed_in_pages_newest_first(desk: Desk) -> None:
    tasks = await desk.queue.submit_many(
        [NewTask(prompt=f"{n}", repo="/r", profile="gpt" if n % 3 == 0 else None) for n in range(10)]
    )
    newest = [task.id for task in reversed(tasks)]
    await desk.queue.cancel(newest[0], by="ann")
    pages: list[str] = []
    while page := await desk.queue.list(limit=4, before=pages[-1] if pages else None):
        pages += [task.id for task in page]
    assert pages == newest
    assert [task.id for task in await desk.queue.list(states=[State.CANCELLED, State.DONE])] == newest[:1]
    assert await desk.queue.list(states=[]) == []
    assert len(await desk.queue.list(profile="gpt")) == 4
    assert len(await desk.queue.list(profile="gpt", states={State.QUEUED}, limit=2, before=newest[2])) == 2


async def test_a_task_is_found_by_the_unique_beginning_of_its_id(desk: Desk) -> None:
    first, second = await desk.queue.submit_many([NewTask(prompt="p", repo="r")] * 2)
    common = next(n for n in range(17) if first.id[: n + 1] != second.id[: n + 1])
    assert await desk.queue.get(second.id[: common + 1]) == second
    assert (await desk.queue.cancel(second.id[: common + 1], by="ann")).id == second.id
    with pytest.raises(ConflictError, match=f"{first.id}, {second.id}"):
        await desk.queue.get(first.id[:common])
    for unknown in ("", "missing", "%", "_" * 16, "'"):
        with pytest.raises(NotFoundError, match="there is no task"):
            await desk.queue.get(unknown)


async def test_stats_count_states_and_pools_and_the_oldest_wait(desk: Desk) -> None:
    empty = await desk.queue.stats()
    assert (set(empty.states.values()), empty.by_profile, empty.oldest_wait) == ({0}, {}, None)
    for profile in ("gpt", None, None, None):
        await desk.task(profile=profile)
    await desk.queue.finish_many([(claim, None) for claim in await desk.queue.claim("w", slots(1))])
    await desk.queue.claim("w", slots(1))
    stats = await desk.queue.stats()
    there = {state: count for state, count in stats.states.items() if count}
    assert there == {State.QUEUED: 2, State.RUNNING: 1, State.DONE: 1}
    assert set(stats.states) == set(State)
    assert stats.by_profile == {"gpt": 1, "*": 1}
    assert stats.oldest_wait is not None
    assert 0 <= stats.oldest_wait < 60
