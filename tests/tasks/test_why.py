"""``why`` in every state: one sentence with the values that matter."""

from __future__ import annotations

import time
from typing import Any

import orjson
from tests.tasks.desk import CHANGE, Desk

from ezaigent.store import BulkInsert, Sql, tables

_enter = BulkInsert(tables.workers, ("id", "host", "pid", "version", "started_at", "seen_at", "info"))
_later = Sql("UPDATE tasks SET queued_at = queued_at - $1, wake_at = wake_at - $1, lease_until = lease_until - $1")
_ended = Sql("UPDATE tasks SET finished_at = $1")
SUBMITTED = "waits until 2100-01-01 00:00:00 UTC (in "


async def worker(desk: Desk, *agents: str, silent: float = 0.0, **more: Any) -> None:
    """Enter a worker that was heard of so many seconds ago."""
    seen = time.time() - silent
    row = (f"w-{agents[0]}", "host", 1, "0", seen, seen, orjson.dumps({"agents": agents, **more}).decode())
    await desk.db.write(lambda conn: _enter(conn, [row]))


async def why(desk: Desk, task: Any) -> str:
    sentence = await desk.queue.why(task.task.id if hasattr(task, "task") else task.id)
    assert "\n" not in sentence
    assert not sentence.endswith(".")
    return sentence


async def test_queued_with_nobody_to_do_it(desk: Desk) -> None:
    task, named = await desk.task(), await desk.task(profile="gpt")
    assert await why(desk, task) == "is queued, but no living worker has an agent; start one with ezaigent up"
    await worker(desk, "claude-1")
    await worker(desk, "gpt-1", silent=1000)
    assert await why(desk, named) == (
        "is queued, but no living worker has an agent of profile 'gpt'; start one with ezaigent worker --pools gpt"
    )


async def test_queued_behind_others_with_agents_busy_and_paused(desk: Desk) -> None:
    await worker(desk, "claude-1", "claude-2", "claude-3")
    await desk.running()
    first, second, third = [await desk.task() for _ in range(3)]
    assert await why(desk, first) == (
        "is queued for an agent since under 1 s: nothing goes first, 1 of 3 agents are busy"
    )
    await desk.queue.pause("claude-3", by="ann")
    await desk.db.write(lambda conn: _later.run(conn, 170.0))
    assert (await why(desk, second)).startswith("is queued for an agent since 3 min: 1 task goes first, ")
    assert (await why(desk, third)).endswith("2 tasks go first, 0 of 2 agents are busy, 1 paused")


async def test_queued_while_every_agent_is_paused(desk: Desk) -> None:
    await worker(desk, "gpt-1")
    task = await desk.task(profile="gpt")
    await desk.queue.pause("gpt-1", by="ann")
    assert await why(desk, task) == (
        "is queued for an agent of profile 'gpt', but gpt-1 is paused; resume one with ezaigent agents resume gpt-1"
    )
    await worker(desk, "gpt-2", "gpt-3")
    for agent in ("gpt-2", "gpt-3"):
        await desk.queue.pause(agent, by="ann")
    assert "but all 3 of them are paused" in await why(desk, task)


async def test_queued_while_quota_and_money_are_used_up(desk: Desk) -> None:
    at = time.time() + 605
    spent = {"claude": {"reason": "parked (quota): the day is full", "until": at}}
    await worker(desk, "claude-1", "claude-2", parked=spent)
    task, named = await desk.task(), await desk.task(profile="claude")
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
    said = f"parked (quota): the day is full; asked again at {when} (in 10 min)"
    assert await why(desk, named) == (f"is queued for an agent of profile 'claude', but all 2 of them are {said}")
    await worker(desk, "gpt-1", parked={"gpt": {"reason": "parked (billing): no money", "until": None}})
    assert (await why(desk, task)).endswith(
        "all 3 of them are parked (billing): no money; one of them finds out now whether that is still so"
    )
    await desk.queue.pause("gpt-1", by="ann")
    assert "all 2 of them are parked (quota)" in await why(desk, task)
    await worker(desk, "mistral-1")
    assert (await why(desk, task)).endswith(f"0 of 3 agents are busy, 1 paused, 2 {said}")


async def test_waiting_for_its_time(desk: Desk) -> None:
    at = 4102444800.0  # 2100-01-01
    task = await desk.task(not_before=at)
    sentence = await why(desk, task)
    assert sentence.startswith(SUBMITTED)
    assert sentence.endswith(" days), as it was submitted")
    await desk.make_due(task.id)
    assert await why(desk, task) == (
        "waits until the next look of an agent at the queue, since its time came 1 s ago, as it was submitted"
    )


async def test_waiting_for_another_attempt(desk: Desk) -> None:
    claim = await desk.running()
    await desk.queue.fail(claim, "ruff found 3 errors")
    assert (await why(desk, claim)).endswith(
        "for attempt 2 of 3, because the last one failed: ruff found 3 errors",
    )


async def test_waiting_for_needs_names_the_one_that_matters(desk: Desk) -> None:
    need = await desk.task(title="Parser")
    task = await desk.task(needs=(need.id,))
    named = f"waits for {need.id} 'Parser', which"
    assert await why(desk, task) == f"{named} is queued"
    claim = await desk.claim()
    assert await why(desk, task) == f"{named} is running"
    await desk.queue.block(claim, "Which grammar?")
    assert await why(desk, task) == f"{named} waits for a person: Which grammar?"
    await desk.queue.cancel(need.id, by="ann")
    assert await why(desk, task) == f"{named} was cancelled; retry it or cancel this one"
    await desk.queue.retry(need.id, by="ann")
    await desk.queue.fail(await desk.claim(), "no", retryable=False)
    assert await why(desk, task) == f"{named} failed: no; retry it or cancel this one"
    two = await desk.task(needs=((await desk.task()).id, need.id))
    assert await why(desk, two) == f"{named} failed: no; retry it or cancel this one, and for 1 more"


async def test_running_stopping_and_lost(desk: Desk) -> None:
    claim = await desk.running()
    assert await why(desk, claim) == ("is worked on by claude-1 (attempt 1 of 3, 0 steps so far, lease for 30 s more)")
    await desk.queue.cancel(claim.task.id, by="ann")
    assert await why(desk, claim) == "is being stopped (cancelled by ann): claude-1 ends its present step"
    await desk.expire(claim.task.id)
    assert await why(desk, claim) == (
        "waits for another agent to take it over: claude-1 on worker w has lost its lease, 1 s ago"
    )


async def test_blocked_and_in_review(desk: Desk) -> None:
    blocked = await desk.running()
    await desk.queue.block(blocked, "Which of the two?")
    assert await why(desk, blocked) == ("waits for a person: Which of the two?; answer with a message, then retry it")
    review = await desk.running()
    await desk.queue.finish(review, CHANGE)
    assert await why(desk, review) == (
        "waits for a person to review the change cccccccccccc on ezaigent/x: approve or merge it, or retry the task"
    )


async def test_ended(desk: Desk) -> None:
    unchanged, accepted, failed, cancelled = [await desk.running() for _ in range(4)]
    await desk.queue.finish(unchanged, None)
    await desk.queue.finish(accepted, CHANGE)
    await desk.queue.approve(accepted.task.id, by="ann")
    await desk.queue.fail(failed, "no such file", retryable=False)
    await desk.queue.cancel(cancelled.task.id, by="ann")
    await desk.queue.cancelled(cancelled)
    at = time.time() - 7200
    await desk.db.write(lambda conn: _ended.run(conn, at))
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
    assert await why(desk, unchanged) == f"is done since {when}: no change was needed"
    assert await why(desk, accepted) == f"is done since {when}: accepted by ann"
    assert await why(desk, failed) == (f"failed after 1 attempt at {when}: no such file; retry it to begin again")
    assert await why(desk, cancelled) == "was cancelled 2 h ago: cancelled by ann; retry it to begin again"


async def test_queued_while_its_pool_or_the_fleet_is_paused(desk: Desk) -> None:
    await worker(desk, "gpt-1", "gpt-2")
    task = await desk.task(profile="gpt")
    await desk.queue.pause("gpt", by="ann")
    assert "all 2 of them are paused; let them go on with ezaigent agents resume gpt" in await why(desk, task)
    await desk.queue.pause("*", by="ann")
    assert (await why(desk, task)).endswith("let them go on with ezaigent agents resume all")
