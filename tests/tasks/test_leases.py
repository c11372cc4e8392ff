"""A run's right to its task: lease, fence, heartbeat, takeover; a run that comes too late writes nothing."""

from __future__ import annotations

import time

import pytest
from tests.tasks.desk import CHANGE, Desk, ids

from ezaigent.core.errors import ControlSignal, StaleFence
from ezaigent.store import Database, Sql, emit, now
from ezaigent.tasks import Claim, Priority, State, guard

_journal = Sql(
    "INSERT INTO journal (task_id, session, seq, fence, name, payload, at) VALUES ($1, $2, $3, $4, 'step', $5, 0)"
)

_enter = Sql(
    """INSERT INTO workers (id, host, pid, version, started_at, seen_at, info)
    VALUES ($1, 'here', 1, '1', {now}, {now} - CAST($2 AS double precision), '{}')"""
)
_heard = Sql("UPDATE workers SET seen_at = {now} WHERE id = $1")


async def test_a_claim_says_everything_about_the_run(desk: Desk) -> None:
    task = await desk.task()
    before = await desk.db.read(now)
    claim = await desk.claim(worker="host-7")
    assert (claim.fence, claim.worker, claim.agent, claim.resumed) == (1, "host-7", "claude-1", False)
    assert claim.task == await desk.queue.get(task.id)
    assert (claim.task.state, claim.task.attempts, claim.task.session) == (State.RUNNING, 1, 1)
    assert claim.task.lease_until is not None
    assert 0 <= claim.task.lease_until - before - desk.settings.lease < 30
    assert await desk.runs(task.id) == [(1, "claude-1", 1, None, "")]


async def test_a_lease_that_ended_is_taken_over_with_a_higher_fence_in_the_same_attempt(desk: Desk) -> None:
    first = await desk.running()
    assert await desk.claim_all() == []
    await desk.expire(first.task.id)
    second = await desk.claim(worker="other")
    assert second.fence > first.fence
    assert second.run_id != first.run_id
    assert (second.task.attempts, second.task.session, second.task.crashes, second.resumed) == (1, 1, 1, True)
    assert [outcome for _, _, _, outcome, _ in await desk.runs(first.task.id)] == ["lost", None]
    assert await desk.kinds(first.task.id) == ["submitted", "claimed", "lease_expired", "claimed"]


async def test_a_worker_that_was_silent_itself_takes_nothing_over(desk: Desk) -> None:
    """A store that stood still has let all leases run out: whoever comes first must not take them."""
    first = await desk.running()
    await desk.expire(first.task.id)
    await desk.db.write(lambda conn: _enter.run(conn, "other", 0.6 * desk.settings.lease))
    await desk.task("another one")
    assert [claim.task.prompt for claim in await desk.claim_all(2, worker="other")] == ["another one"]
    pulse = await desk.queue.heartbeat("w", {first.run_id: first.fence})
    assert pulse.lost == frozenset(), "the run goes on when its own worker comes through"

    await desk.expire(first.task.id)
    await desk.db.write(lambda conn: _heard.run(conn, "other"))
    assert ids(await desk.claim_all(2, worker="other")) == [first.task.id]


async def late(desk: Desk, claim: Claim) -> None:
    """Try every write of a run that lost its lease: all are refused, and nothing changes."""
    task, events, runs = await desk.queue.get(claim.task.id), await desk.events(), await desk.runs(claim.task.id)
    queue = desk.queue
    for write in (
        lambda: queue.finish(claim, CHANGE),
        lambda: queue.fail(claim, "late"),
        lambda: queue.fail(claim, "late", retryable=False),
        lambda: queue.block(claim, "late?"),
        lambda: queue.release(claim, "late"),
        lambda: queue.cancelled(claim),
    ):
        with pytest.raises(StaleFence, match=f"run {claim.fence} of task {claim.task.id} may write nothing more"):
            await write()
    with pytest.raises(StaleFence):
        await desk.db.write(lambda conn: guard(conn, claim.task.id, claim.fence))
    assert isinstance((await queue.finish_many([(claim, None)]))[0], StaleFence)
    assert await queue.get(claim.task.id) == task
    assert await desk.events() == events
    assert await desk.runs(claim.task.id) == runs


async def test_every_late_write_is_refused_after_a_takeover(desk: Desk) -> None:
    first = await desk.running()
    await desk.expire(first.task.id)
    second = await desk.claim(worker="other")
    await late(desk, first)
    await desk.db.write(lambda conn: guard(conn, second.task.id, second.fence))
    assert (await desk.queue.finish(second, None)).state == State.DONE
    await late(desk, first)
    await late(desk, second)


@pytest.mark.parametrize("end", ["finish", "fail", "block", "release", "cancelled"])
async def test_a_run_ends_once(desk: Desk, end: str) -> None:
    claim = await desk.running()
    match end:
        case "finish":
            await desk.queue.finish(claim, None)
        case "fail":
            await desk.queue.fail(claim, "no")
        case "block":
            await desk.queue.block(claim, "which?")
        case "release":
            await desk.queue.release(claim, "drain")
        case _:
            await desk.queue.cancelled(claim)
    await late(desk, claim)


async def test_a_run_whose_lease_ended_may_finish_while_nobody_has_taken_over(desk: Desk) -> None:
    claim = await desk.running()
    await desk.expire(claim.task.id)
    assert (await desk.queue.finish(claim, None)).state == State.DONE


async def test_a_guard_of_an_unknown_task_is_stale(db: Database) -> None:
    with pytest.raises(ControlSignal, match="the task is gone"):
        await db.write(lambda conn: guard(conn, "unknown", 1))


async def test_a_heartbeat_prolongs_the_lease(desk: Desk) -> None:
    claim = await desk.running()
    await desk.expire(claim.task.id)
    pulse = await desk.queue.heartbeat("w", {claim.run_id: claim.fence})
    assert (pulse.lost, pulse.cancelled) == (frozenset(), frozenset())
    assert await desk.claim_all() == []
    task = await desk.queue.get(claim.task.id)
    assert (task.lease_until or 0) > time.time() + desk.settings.lease / 2


async def test_a_heartbeat_tells_what_is_lost_and_what_is_cancelled(desk: Desk) -> None:
    kept, lost, stopped, ended = [await desk.running() for _ in range(4)]
    await desk.expire(lost.task.id)
    await desk.claim(worker="other")
    await desk.queue.cancel(stopped.task.id, by="ann")
    await desk.queue.finish(ended, None)
    runs = {claim.run_id: claim.fence for claim in (kept, lost, stopped, ended)}
    pulse = await desk.queue.heartbeat("w", {**runs, "gone-1": 1})
    assert pulse.lost == {lost.run_id, ended.run_id, "gone-1"}
    assert pulse.cancelled == {stopped.run_id}
    assert (await desk.queue.heartbeat("stranger", {kept.run_id: kept.fence})).lost == {kept.run_id}
    assert (await desk.queue.heartbeat("w", {})).lost == frozenset()


async def test_a_late_heartbeat_does_not_prolong_the_next_runs_lease(desk: Desk) -> None:
    first = await desk.running()
    await desk.expire(first.task.id)
    second = await desk.claim()  # the same worker, under another fence
    await desk.expire(first.task.id)
    assert (await desk.queue.heartbeat("w", {first.run_id: first.fence})).lost == {first.run_id}
    assert (await desk.claim(worker="third")).fence == second.fence + 1


async def test_a_task_under_which_workers_die_runs_alone_and_is_buried_in_the_end(db: Database) -> None:
    desk = Desk(db, max_crashes=2)
    task = await desk.task()
    alone: list[bool] = []
    for _ in range(6):
        alone.append((await desk.claim(worker="w9")).alone)
        await desk.expire(task.id)
    assert alone == [False, False, True, True, True, True]
    assert await desk.claim_all() == []
    buried = await desk.queue.get(task.id)
    assert (buried.state, buried.crashes, buried.fence) == (State.FAILED, 6, 6)
    assert "quarantined: 6 runs in a row ended without a word" in buried.reason
    assert [outcome for _, _, _, outcome, _ in await desk.runs(task.id)] == ["lost"] * 6
    assert (await desk.kinds(task.id))[-3:] == ["lease_expired", "recovery.acted", "failed"]


async def test_where_workers_die_anyway_a_task_is_one_of_many(db: Database) -> None:
    desk = Desk(db, max_crashes=2)
    task = await desk.task()
    alone: list[bool] = []
    for number in range(14):
        alone.append((await desk.claim(worker=f"w{number}")).alone)
        await desk.expire(task.id)
        for worker in (f"w{number}", f"other{number}", f"another{number}"):
            await db.write(lambda conn, worker=worker: emit(conn, "worker.lost", data={"worker": worker}))
    assert alone == [False] * 11 + [True] * 3, "after so many deaths in a row it runs alone all the same"


async def test_a_step_between_two_deaths_speaks_for_the_task(db: Database) -> None:
    desk = Desk(db, max_crashes=2)
    task = await desk.task()
    for number in range(5):
        claim = await desk.claim()
        assert not claim.alone
        row = (task.id, claim.task.session, number, claim.fence, b"")
        await desk.db.write(lambda conn, row=row: _journal.run(conn, *row))
        await desk.expire(task.id)
    assert (await desk.claim()).task.crashes == 1


async def test_a_quarantined_task_begins_anew_when_a_person_sends_it_back(desk: Desk) -> None:
    claim = await desk.running()
    dead = await desk.queue.quarantine(claim, "quarantined: it killed its process")
    assert (dead.state, dead.reason) == (State.FAILED, "quarantined: it killed its process")
    acted = next(event for event in await desk.events() if event.kind == "recovery.acted")
    assert acted.data == {"what": "poison", "reason": dead.reason, "action": "dead letter", "worker": "w"}
    assert [run[3] for run in await desk.runs(claim.task.id)] == ["poison"]
    await late(desk, claim)
    await desk.queue.retry(claim.task.id, by="ann")
    assert not (await desk.claim()).alone


async def test_a_cancelled_task_whose_worker_died_is_not_run_again(desk: Desk) -> None:
    claim = await desk.running()
    await desk.queue.cancel(claim.task.id, by="ann")
    await desk.expire(claim.task.id)
    assert await desk.claim_all() == []
    task = await desk.queue.get(claim.task.id)
    assert (task.state, task.reason) == (State.CANCELLED, "cancelled by ann")


async def test_a_dead_or_poisoned_task_costs_no_other_its_agent(db: Database) -> None:
    desk = Desk(db, max_crashes=1)
    poison = await desk.running()
    for _ in range(4):
        await desk.expire(poison.task.id)
        await desk.claim()
    await desk.expire(poison.task.id)
    other = await desk.task(priority=Priority.LOW)
    assert ids(await desk.claim_all(1)) == [other.id]
    assert await desk.state(poison) == State.FAILED


async def test_reclaim_ends_the_leases_of_the_dead_at_once(desk: Desk) -> None:
    for worker in ("dead", "alive"):
        await desk.task()
        await desk.claim(worker=worker)
    assert await desk.queue.reclaim(alive=["alive"]) == 1
    assert await desk.queue.reclaim(alive=["alive"]) == 0
    assert [claim.task.worker for claim in await desk.claim_all(3, worker="new")] == ["new"]
    assert await desk.queue.reclaim() == 2
