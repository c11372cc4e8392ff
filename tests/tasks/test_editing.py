"""Dead letters are looked into, changed and sent back; each run tells how it ended."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from tests.tasks.desk import Desk, slots

from ezaigent.core.errors import ConflictError
from ezaigent.store import Sql
from ezaigent.tasks import Edit, NewTask, Priority, State

_cap = Sql("SELECT limit_nusd FROM ledgers WHERE key = $1")


async def test_a_dead_letter_is_changed_and_sent_back(desk: Desk) -> None:
    claim = await desk.running(prompt="do it badly", checks=("false",))
    await desk.queue.fail(claim, "the check failed", retryable=False)
    wanted = Edit(
        prompt="do it well",
        profile="gpt",
        priority=Priority.CRITICAL,
        checks=("true", "make"),
        scope=("src/**",),
        budget_nusd=5,
    )
    task = await desk.queue.edit(claim.task.id, wanted, by="ann")
    assert (task.state, task.prompt, task.profile, task.checks) == (State.FAILED, "do it well", "gpt", ("true", "make"))
    assert (task.priority, task.scope, task.budget_nusd) == (Priority.CRITICAL, ("src/**",), 5)
    row = await desk.db.read(lambda conn: _cap.first(conn, f"task:{task.id}"))
    assert row == (5,)
    edited = next(event for event in await desk.events(task.id) if event.kind == "task.edited")
    assert edited.data == {"by": "ann", "fields": sorted(Edit.model_fields.keys() - {"title"})}

    await desk.queue.retry(task.id, by="ann")
    assert await desk.claim_all(1, profile="claude") == [], "it is another kind of agent's now"
    again = await desk.claim(profile="gpt")
    assert (again.task.prompt, again.resumed) == ("do it well", False)
    assert [(run.outcome, run.reason, run.agent) for run in await desk.queue.runs(task.id)] == [
        ("failed", "the check failed", "claude-1"),
        (None, "", "gpt-1"),
    ]


async def test_checks_and_scope_can_be_taken_away_and_any_agent_named(desk: Desk) -> None:
    task = await desk.task(profile="gpt", checks=("true",), scope=("a/**",))
    edited = await desk.queue.edit(task.id, Edit(profile="*", checks=(), scope=()), by="ann")
    assert (edited.profile, edited.checks, edited.scope) == (None, (), ())
    assert len(await desk.claim_all(1, profile="claude")) == 1


async def test_other_words_begin_a_new_journal_in_the_same_attempt(desk: Desk) -> None:
    claim = await desk.running()
    await desk.queue.release(claim, "drain")
    await desk.queue.edit(claim.task.id, Edit(priority=Priority.HIGH), by="ann")
    resumed = await desk.claim()
    assert resumed.resumed
    await desk.queue.release(resumed, "drain")
    await desk.queue.edit(claim.task.id, Edit(prompt="something else"), by="ann")
    anew = await desk.claim()
    assert (anew.resumed, anew.task.attempts, anew.task.session) == (False, 1, 2)


async def test_what_runs_or_is_done_is_not_changed(desk: Desk) -> None:
    claim = await desk.running()
    with pytest.raises(ConflictError, match="is running; only one that no agent has"):
        await desk.queue.edit(claim.task.id, Edit(prompt="late"), by="ann")
    await desk.queue.finish(claim, None)
    with pytest.raises(ConflictError, match="is done"):
        await desk.queue.edit(claim.task.id, Edit(prompt="late"), by="ann")
    with pytest.raises(ValidationError):
        Edit(prompt="")


async def test_stalled_runs_go_from_rung_to_rung(desk: Desk) -> None:
    task = await desk.queue.submit(NewTask(prompt="p", repo="/srv/one"))
    for action in ("first", "second", "dead letter"):
        (claim,) = await desk.queue.claim("w", slots(1))
        after, done = await desk.queue.stalled(claim, "no step for 9 s", ("first", "second"))
        assert done == action
    assert (after.state, after.attempts) == (State.FAILED, 1)
    assert "for the 3th time" in after.reason or "3" in after.reason
    assert [run.outcome for run in await desk.queue.runs(task.id)] == ["stalled"] * 3
    await desk.queue.retry(task.id, by="ann")
    (claim,) = await desk.queue.claim("w", slots(1))
    assert await desk.queue.claim("w", slots(1), avoid=[task.id]) == []
    assert (await desk.queue.stalled(claim, "again", ("first",)))[1] == "first", "a new series begins below"
    assert await desk.queue.claim("w", slots(1), avoid=[task.id]) == [], "it is left to others"
    assert len(await desk.queue.claim("v", slots(1))) == 1
