"""Who gets which task: priority, fairness between projects, age; profiles and general agents; time and needs."""

from __future__ import annotations

import time

from tests.tasks.desk import CHANGE, Desk, ids, slots

from ezaigent.live import open_bus
from ezaigent.store import Database
from ezaigent.tasks import NewTask, Priority, Slot, State, TaskQueue, bell


async def test_nothing_to_claim_and_nobody_to_claim_for(desk: Desk) -> None:
    assert await desk.claim_all(3) == []
    await desk.task()
    assert await desk.queue.claim("w", []) == []


async def test_priority_goes_before_age(desk: Desk) -> None:
    low = await desk.task(priority=Priority.LOW)
    normal = [await desk.task() for _ in range(2)]
    critical = await desk.task(priority=Priority.CRITICAL)
    high = await desk.task(priority=Priority.HIGH)
    order = [(await desk.claim()).task.id for _ in range(5)]
    assert order == [critical.id, high.id, normal[0].id, normal[1].id, low.id]


async def test_projects_take_turns_by_what_they_have_running(desk: Desk) -> None:
    many = [await desk.task(repo="/srv/many") for _ in range(5)]
    few = [await desk.task(repo="/srv/few") for _ in range(2)]
    assert set(ids(await desk.claim_all(4))) == {many[0].id, many[1].id, few[0].id, few[1].id}
    await desk.task(repo="/srv/new")
    # two of each run: the new project has none and goes first, although its task is the youngest
    assert (await desk.claim()).task.project == "/srv/new"


async def test_one_project_gets_every_agent_when_it_is_alone(desk: Desk) -> None:
    tasks = [await desk.task() for _ in range(5)]
    assert sorted(ids(await desk.claim_all(5))) == [task.id for task in tasks]


async def test_a_profile_is_served_by_its_own_agents_only(desk: Desk) -> None:
    named = await desk.task(profile="gpt")
    assert await desk.claim_all(3, profile="claude") == []
    claim = await desk.claim(profile="gpt")
    assert (claim.task.id, claim.profile, claim.agent) == (named.id, "gpt", "gpt-1")


async def test_an_agent_that_takes_no_general_work_gets_none(desk: Desk) -> None:
    await desk.task()
    assert await desk.queue.claim("w", slots(1, general=False)) == []
    named = await desk.task(profile="claude")
    assert ids(await desk.queue.claim("w", slots(1, general=False))) == [named.id]


async def test_agents_are_spared_for_the_work_that_only_they_can_do(desk: Desk) -> None:
    general = await desk.task()
    named = await desk.task(profile="gpt")
    special = await desk.task(profile="claude")
    idle = [
        Slot(agent="gpt-1", profile="gpt"),
        Slot(agent="claude-1", profile="claude"),
        Slot(agent="claude-2", profile="claude", general=False),
    ]
    taken = {claim.task.id: claim.agent for claim in await desk.queue.claim("w", idle)}
    assert taken == {general.id: "claude-1", named.id: "gpt-1", special.id: "claude-2"}


async def test_only_restricts_the_claim_to_these_tasks(desk: Desk) -> None:
    first, second, third = [await desk.task() for _ in range(3)]
    assert ids(await desk.claim_all(3, only=[second.id])) == [second.id]
    assert await desk.claim_all(3, only=[second.id, "unknown"]) == []
    await desk.expire(second.id)
    assert ids(await desk.claim_all(3, only=[second.id])) == [second.id]
    assert ids(await desk.claim_all(3)) == [first.id, third.id]


async def test_a_task_waits_for_its_time(desk: Desk) -> None:
    task = await desk.task(not_before=time.time() + 3600)
    assert (task.state, task.wake_at) == (State.WAITING, task.not_before)
    assert await desk.claim_all() == []
    await desk.make_due(task.id)
    assert (await desk.claim()).task.id == task.id
    assert await desk.kinds(task.id) == ["submitted", "queued", "claimed"]
    past = await desk.task(not_before=time.time() - 1)
    assert past.state == State.QUEUED


async def test_a_task_waits_for_what_it_needs_until_a_change_exists(desk: Desk) -> None:
    first, second = await desk.running(), await desk.running()
    task = await desk.task(needs=(first.task.id, second.task.id))
    await desk.queue.finish(first, None)
    assert await desk.claim_all() == []
    assert (await desk.queue.finish(second, CHANGE)).state == State.REVIEW
    assert (await desk.claim()).task.id == task.id


async def test_what_fails_or_is_cancelled_keeps_its_dependents_waiting(desk: Desk) -> None:
    failing, cancelled = await desk.running(), await desk.task()
    task = await desk.task(needs=(failing.task.id,))
    other = await desk.task(needs=(cancelled.id,))
    await desk.queue.fail(failing, "no", retryable=False)
    await desk.queue.cancel(cancelled.id, by="ann")
    assert await desk.claim_all(2) == []
    assert [await desk.state(one) for one in (task, other)] == [State.WAITING] * 2
    await desk.queue.retry(failing.task.id, by="ann")
    await desk.queue.finish(await desk.claim(only=[failing.task.id]), None)
    assert await desk.state(task) == State.QUEUED


async def test_needs_and_time_must_both_come(desk: Desk) -> None:
    need = await desk.running()
    task = await desk.task(needs=(need.task.id,), not_before=time.time() + 3600)
    await desk.queue.finish(need, None)
    waiting = await desk.queue.get(task.id)
    assert (waiting.state, waiting.wake_at) == (State.WAITING, task.not_before)
    await desk.make_due(task.id)
    assert (await desk.claim()).task.id == task.id


async def test_the_bell_rings_once_for_each_claimable_task(db: Database, desk: Desk) -> None:
    bus = await open_bus(None)
    queue = TaskQueue(db, desk.settings, bus)

    async def rung(profile: str | None = None) -> int:
        count = 0
        while await bus.wait([bell(profile)], 0) is not None:
            count += 1
        return count

    first, *_ = await queue.submit_many(
        [NewTask(prompt="p", repo="r", profile=profile) for profile in (None, "gpt", None)]
    )
    assert (await rung("gpt"), await rung()) == (1, 2)
    dependent = await queue.submit(NewTask(prompt="p", repo="r", needs=(first.id,)))
    assert await rung() == 0
    await queue.release((await queue.claim("w", slots(1), only=[first.id]))[0], "drain")
    assert await rung() == 1
    await queue.finish((await queue.claim("w", slots(1), only=[first.id]))[0], None)
    assert await rung() == 1  # the dependent
    await queue.cancel(dependent.id, by="ann")
    assert await rung() == 0
    await queue.retry(dependent.id, by="ann")
    assert await rung() == 1
    await bus.close()
