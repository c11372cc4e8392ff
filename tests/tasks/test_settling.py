"""How runs end, and what a person may still do: each state, each way out, each refusal."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tasks.desk import CHANGE, Desk, fold

from ezaigent.core.errors import ConflictError, StaleFence
from ezaigent.core.settings import QueueSettings
from ezaigent.store import Database
from ezaigent.tasks import (
    TRANSITIONS,
    State,
    Task,
    pending_messages,
)
from ezaigent.tasks.settling import backoff


async def told(desk: Desk, task: Task) -> None:
    """The stored task is the returned one, and the events tell its state."""
    assert await desk.queue.get(task.id) == task
    assert fold(await desk.events())[task.id] == task.state


async def test_a_run_with_a_change_ends_in_review(desk: Desk) -> None:
    claim = await desk.running()
    task = await desk.queue.finish(claim, CHANGE)
    assert (task.state, task.change, task.lease_until, task.reason) == (State.REVIEW, CHANGE, None, "")
    assert task.finished_at is not None
    await told(desk, task)
    assert await desk.runs(task.id) == [(1, "claude-1", 1, "review", "")]
    last = (await desk.events())[-1]
    assert (last.kind, last.run_id, last.agent) == ("task.review", claim.run_id, "claude-1")
    assert last.data == {
        "commit": CHANGE.commit,
        "branch": CHANGE.branch,
        "files": 2,
        "insertions": 3,
        "deletions": 1,
    }


@pytest.mark.parametrize("change", [None, CHANGE.model_copy(update={"files": 0})])
async def test_a_run_that_changes_no_file_is_done(desk: Desk, change: object) -> None:
    claim = await desk.running()
    task = await desk.queue.finish(claim, CHANGE.model_copy(update={"files": 0}) if change else None)
    assert task.state == State.DONE
    await told(desk, task)


async def test_many_runs_end_in_one_transaction_and_a_late_one_stops_no_other(desk: Desk) -> None:
    for _ in range(3):
        await desk.task()
    first, late, third = await desk.claim_all(3)
    await desk.expire(late.task.id)
    await desk.claim(worker="other")
    results = await desk.queue.finish_many([(first, None), (late, CHANGE), (third, CHANGE)])
    assert [result if isinstance(result, StaleFence) else result.state for result in results] == [
        State.DONE,
        results[1],
        State.REVIEW,
    ]
    assert isinstance(results[1], StaleFence)
    assert await desk.state(late) == State.RUNNING


async def test_a_failed_attempt_waits_and_the_next_one_begins_a_new_journal(desk: Desk) -> None:
    claim = await desk.running()
    before = time.time()
    task = await desk.queue.fail(claim, "the check failed")
    assert (task.state, task.reason, task.attempts) == (State.WAITING, "the check failed", 1)
    assert task.wake_at is not None
    assert before <= task.wake_at <= time.time() + desk.settings.backoff
    await told(desk, task)
    await desk.make_due(task.id)
    again = await desk.claim()
    assert (again.task.attempts, again.task.session, again.resumed, again.fence) == (2, 2, False, 2)
    retrying = next(event for event in await desk.events() if event.kind == "task.retrying")
    assert retrying.data == {"reason": "the check failed", "not_before": task.wake_at, "attempt": 1}


async def test_the_last_attempt_ends_in_the_dead_letter_with_its_reason(db: Database) -> None:
    desk = Desk(db, max_attempts=2, backoff=0)
    task = await desk.task()
    await desk.queue.fail(await desk.claim(), "first")
    dead = await desk.queue.fail(await desk.claim(), "second\x00")
    assert (dead.state, dead.reason, dead.attempts) == (State.FAILED, "second\N{REPLACEMENT CHARACTER}", 2)
    await told(desk, dead)
    assert await desk.claim_all() == []
    assert [(outcome, reason) for *_, outcome, reason in await desk.runs(task.id)] == [
        ("failed", "first"),
        ("failed", "second\N{REPLACEMENT CHARACTER}"),
    ]


async def test_a_tasks_own_number_of_attempts_counts_and_what_cannot_be_retried_fails_at_once(desk: Desk) -> None:
    once = await desk.running(max_attempts=1)
    assert (await desk.queue.fail(once, "no")).state == State.FAILED
    hopeless = await desk.running()
    assert (await desk.queue.fail(hopeless, "no", retryable=False)).state == State.FAILED


@given(st.integers(1, 10_000), st.floats(0, 10), st.floats(0, 1000))
def test_backoff_lies_below_a_doubling_bound_and_the_cap(attempts: int, first: float, cap: float) -> None:
    settings = QueueSettings(backoff=first, backoff_cap=cap)
    assert 0 <= backoff(settings, attempts) <= min(cap, first * 2.0 ** min(attempts - 1, 60))


def test_backoff_has_full_jitter() -> None:
    waits = [backoff(QueueSettings(backoff=2, backoff_cap=100), 4) for _ in range(500)]
    assert min(waits) < 4
    assert 12 < max(waits) <= 16


async def test_a_released_task_keeps_its_session_and_attempt(desk: Desk) -> None:
    claim = await desk.running()
    task = await desk.queue.release(claim, "the worker stops")
    assert (task.state, task.attempts, task.session, task.crashes) == (State.QUEUED, 1, 1, 0)
    await told(desk, task)
    again = await desk.claim(worker="other")
    assert (again.task.attempts, again.task.session, again.fence, again.resumed) == (1, 1, 2, True)
    assert [outcome for *_, outcome, _ in await desk.runs(task.id)] == ["released", None]


async def test_a_blocked_task_holds_no_agent_and_goes_on_with_its_journal(desk: Desk) -> None:
    claim = await desk.running()
    blocked = await desk.queue.block(claim, "Which of the two?")
    assert (blocked.state, blocked.reason, blocked.lease_until) == (State.BLOCKED, "Which of the two?", None)
    await told(desk, blocked)
    assert await desk.claim_all() == []
    ready = await desk.queue.retry(blocked.id, by="ann")
    assert (ready.state, ready.session) == (State.QUEUED, 1)
    again = await desk.claim()
    assert (again.task.attempts, again.task.session, again.resumed) == (1, 1, True)


async def test_cancel_ends_at_once_what_no_run_has(desk: Desk) -> None:
    need = await desk.task()
    queued, waiting = await desk.task(), await desk.task(needs=(need.id,))
    blocked = await desk.running(profile="gpt")
    await desk.queue.block(blocked, "which?")
    review = await desk.running(profile="gpt")
    await desk.queue.finish(review, CHANGE)
    for task_id in (queued.id, waiting.id, blocked.task.id, review.task.id):
        task = await desk.queue.cancel(task_id, by="ann")
        assert (task.state, task.reason) == (State.CANCELLED, "cancelled by ann")
        await told(desk, task)
        assert await desk.queue.cancel(task_id, by="bob") == task  # again: nothing more to do
        assert (await desk.kinds(task_id)).count("cancelled") == 1


async def test_cancel_tells_a_run_which_then_stops(desk: Desk) -> None:
    claim = await desk.running()
    asked = await desk.queue.cancel(claim.task.id, by="ann")
    assert (asked.state, asked.cancel_requested) == (State.RUNNING, True)
    assert (await desk.queue.cancel(claim.task.id, by="bob")).reason == "cancelled by ann"
    stopped = await desk.queue.cancelled(claim)
    assert (stopped.state, stopped.reason, stopped.cancel_requested) == (State.CANCELLED, "cancelled by ann", False)
    await told(desk, stopped)
    assert await desk.kinds(stopped.id) == ["submitted", "claimed", "cancel_requested", "cancelled"]


@pytest.mark.parametrize("end", ["fail", "block", "release"])
async def test_a_run_that_ends_otherwise_after_a_cancel_is_cancelled(desk: Desk, end: str) -> None:
    claim = await desk.running()
    await desk.queue.cancel(claim.task.id, by="ann")
    write = {"fail": desk.queue.fail, "block": desk.queue.block, "release": desk.queue.release}[end]
    task = await write(claim, "the command was killed")
    assert (task.state, task.cancel_requested) == (State.CANCELLED, False)
    assert task.reason.startswith("cancelled by ann")
    await told(desk, task)


async def test_a_change_that_is_finished_in_spite_of_a_cancel_is_kept(desk: Desk) -> None:
    claim = await desk.running()
    await desk.queue.cancel(claim.task.id, by="ann")
    task = await desk.queue.finish(claim, CHANGE)
    assert (task.state, task.change, task.reason) == (State.REVIEW, CHANGE, "")


async def test_cancel_ends_a_run_at_once_whose_lease_is_over(desk: Desk) -> None:
    claim = await desk.running()
    await desk.expire(claim.task.id)
    assert (await desk.queue.cancel(claim.task.id, by="ann")).state == State.CANCELLED
    with pytest.raises(StaleFence):
        await desk.queue.finish(claim, CHANGE)
    assert [outcome for *_, outcome, _ in await desk.runs(claim.task.id)] == ["lost"]


async def test_retry_begins_a_new_series_of_attempts(desk: Desk) -> None:
    claim = await desk.running(max_attempts=1)
    await desk.queue.fail(claim, "no")
    task = await desk.queue.retry(claim.task.id, by="ann")
    assert (task.state, task.attempts, task.crashes, task.finished_at) == (State.QUEUED, 0, 0, None)
    await told(desk, task)
    again = await desk.claim()
    assert (again.task.attempts, again.task.session, again.fence, again.resumed) == (1, 2, 2, False)
    await desk.queue.finish(again, CHANGE)
    sent_back = await desk.queue.retry(task.id, by="ann")
    assert (sent_back.state, sent_back.change) == (State.QUEUED, None)
    await desk.queue.cancel(task.id, by="ann")
    assert (await desk.queue.retry(task.id, by="bob")).state == State.QUEUED


async def test_retry_makes_a_task_that_waits_for_its_time_claimable_at_once(desk: Desk) -> None:
    later = await desk.task(not_before=time.time() + 3600)
    assert (await desk.queue.retry(later.id, by="ann")).state == State.QUEUED
    failed = await desk.running(profile="gpt")
    await desk.queue.fail(failed, "no")
    assert (await desk.queue.retry(failed.task.id, by="ann")).state == State.QUEUED
    assert (await desk.claim(profile="gpt", only=[failed.task.id])).task.attempts == 2


async def test_retry_does_not_pass_over_needs(desk: Desk) -> None:
    need = await desk.task()
    task = await desk.task(needs=(need.id,))
    with pytest.raises(ConflictError, match=f"task {task.id} waits for other tasks"):
        await desk.queue.retry(task.id, by="ann")
    await desk.queue.cancel(task.id, by="ann")
    back = await desk.queue.retry(task.id, by="ann")
    assert (back.state, back.wake_at) == (State.WAITING, None)
    await told(desk, back)
    await desk.queue.finish(await desk.claim(), None)
    assert await desk.state(task) == State.QUEUED


async def test_approve_accepts_a_change(desk: Desk) -> None:
    claim = await desk.running()
    review = await desk.queue.finish(claim, CHANGE)
    task = await desk.queue.approve(claim.task.id, by="ann", commit="d" * 40)
    assert (task.state, task.reason, task.finished_at) == (State.DONE, "accepted by ann", review.finished_at)
    assert task.change == CHANGE
    await told(desk, task)
    assert (await desk.events())[-1].data == {"by": "ann", "commit": "d" * 40}


async def reach(desk: Desk, state: State) -> str:
    """Make a task in this state."""
    if state is State.WAITING:
        return (await desk.task(not_before=time.time() + 3600)).id
    if state is State.QUEUED:
        return (await desk.task()).id
    claim = await desk.running()
    match state:
        case State.REVIEW:
            await desk.queue.finish(claim, CHANGE)
        case State.DONE:
            await desk.queue.finish(claim, None)
        case State.BLOCKED:
            await desk.queue.block(claim, "which?")
        case State.FAILED:
            await desk.queue.fail(claim, "no", retryable=False)
        case State.CANCELLED:
            await desk.queue.cancel(claim.task.id, by="ann")
            await desk.queue.cancelled(claim)
        case _:
            pass
    return claim.task.id


ALLOWED: dict[str, dict[State, State]] = {
    "cancel": {
        State.WAITING: State.CANCELLED,
        State.QUEUED: State.CANCELLED,
        State.RUNNING: State.RUNNING,
        State.REVIEW: State.CANCELLED,
        State.BLOCKED: State.CANCELLED,
        State.CANCELLED: State.CANCELLED,
    },
    "retry": dict.fromkeys((State.WAITING, State.REVIEW, State.BLOCKED, State.FAILED, State.CANCELLED), State.QUEUED),
    "approve": {State.REVIEW: State.DONE},
}


@pytest.mark.parametrize("state", State)
async def test_people_may_do_what_the_state_allows_and_nothing_else(desk: Desk, state: State) -> None:
    acts: dict[str, Callable[[str], Awaitable[Task]]] = {
        "cancel": lambda task_id: desk.queue.cancel(task_id, by="ann"),
        "retry": lambda task_id: desk.queue.retry(task_id, by="ann"),
        "approve": lambda task_id: desk.queue.approve(task_id, by="ann"),
    }
    for name, act in acts.items():
        task_id = await reach(desk, state)
        before, events = await desk.queue.get(task_id), await desk.events()
        assert before.state == state
        if state in ALLOWED[name]:
            assert (await act(task_id)).state == ALLOWED[name][state]
        else:
            with pytest.raises(ConflictError, match=f"task {task_id} is {state.value}"):
                await act(task_id)
            assert await desk.queue.get(task_id) == before
            assert await desk.events() == events


def test_the_table_of_transitions_is_whole_and_only_done_is_final() -> None:
    assert set(TRANSITIONS) == set(State)
    assert [state for state, to in TRANSITIONS.items() if not to] == [State.DONE]
    assert {state for state in State if state.settled} == {State.REVIEW, State.DONE, State.FAILED, State.CANCELLED}


async def test_a_change_sent_back_goes_on_with_its_journal_and_a_person_s_words(desk: Desk) -> None:
    claim = await desk.running()
    with pytest.raises(ConflictError, match="is running: only a change in review can be sent back"):
        await desk.queue.send_back(claim.task.id, "Too early.", by="Ada")
    await desk.queue.finish(claim, CHANGE)
    task = await desk.queue.send_back(claim.task.id, "Say it shorter.", by="Ada")
    assert (task.state, task.change, task.attempts) == (State.QUEUED, None, 1)
    await told(desk, task)
    again = (await desk.claim_all(1))[0]
    assert again.resumed
    assert (again.task.session, again.task.attempts) == (claim.task.session, 1)
    waiting = await desk.db.read(lambda conn: pending_messages(conn, agent=again.agent, task_id=task.id))
    assert [(message.by, message.text) for message in waiting] == [("Ada", "Say it shorter.")]
    done = await desk.queue.approve((await desk.queue.finish(again, CHANGE)).id, by="Ada")
    with pytest.raises(ConflictError, match="is done"):
        await desk.queue.send_back(done.id, "Too late.", by="Ada")
    assert len(await desk.db.read(lambda conn: pending_messages(conn, agent=again.agent, task_id=task.id))) == 1
