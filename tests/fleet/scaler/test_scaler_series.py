"""The past on one time axis, and the past with other settings: both from durable facts alone."""

from __future__ import annotations

import pytest
from tests.fleet.scaler.yard import Yard, settings

from ezaigent.core.errors import UsageError
from ezaigent.fleet import seats
from ezaigent.fleet.scaler.past import past
from ezaigent.fleet.scaler.series import series
from ezaigent.store import Sql

_spend = Sql(
    """INSERT INTO usage (task_id, run_id, session, step, at, agent, profile, provider, model, input_tokens,
    cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, cost_nusd,
    outcome)
    VALUES ('t', 'r', 1, 1, {now}, 'claude-1', 'claude', 'p', 'm', 1, 0, 0, 0, 1, 0, CAST($1 AS bigint), 'ok')"""
)
_age = [
    Sql("UPDATE events SET at = at - CAST($1 AS double precision)"),
    Sql("UPDATE runs SET started_at = started_at - CAST($1 AS double precision)"),
    Sql("UPDATE runs SET ended_at = ended_at - CAST($1 AS double precision)"),
    Sql("UPDATE tasks SET queued_at = queued_at - CAST($1 AS double precision)"),
    Sql("UPDATE usage SET at = at - CAST($1 AS double precision)"),
]


async def pass_time(yard: Yard, seconds: float) -> None:
    """Let all that happened so far have happened so much earlier."""
    for statement in _age:
        await yard.db.write(lambda conn, sql=statement: sql.run(conn, seconds))


async def test_each_slice_tells_what_was_there_and_what_happened(yard: Yard) -> None:
    await yard.db.write(lambda conn: seats.order(conn, "claude", 2))
    await yard.host()
    await yard.submit(3)
    await pass_time(yard, 100)
    await yard.work("claude-1")
    await pass_time(yard, 100)
    await yard.queue.fail(yard.claims["claude-1"], "broke", retryable=False)
    await yard.db.write(lambda conn: _spend.run(conn, 2_000_000_000))
    await yard.db.write(lambda conn: _spend.run(conn, None))
    await pass_time(yard, 100)
    await yard.db.write(lambda conn: seats.leave(conn, ["claude-2"], "drained", recallable=False))
    await yard.host()

    seen = await yard.control(settings()).series(pool="claude", seconds=1000, slices=5)
    assert seen.until - seen.since == pytest.approx(300, abs=20), "it begins with the first event"
    assert [point.queued for point in seen.points] == [3, 2, 2, 2, 2]
    assert [point.busy for point in seen.points] == [0, 1, 1, 0, 0]
    assert [point.agents for point in seen.points] == [2, 2, 2, 2, 1]
    assert sum(point.errors for point in seen.points) == 1
    assert sum(point.cost_usd for point in seen.points) == pytest.approx(2)
    assert sum(point.unknown_calls for point in seen.points) == 1
    assert max(point.wait or 0 for point in seen.points) == pytest.approx(100, abs=20)

    other = await yard.control(settings()).series(pool="gpt", seconds=1000, slices=2)
    assert [(point.queued, point.busy, point.agents, point.wait) for point in other.points] == [(0, 0, 0, None)] * 2


async def test_a_fleet_without_a_past_has_an_empty_one(yard: Yard) -> None:
    seen = await yard.control(settings()).series(pool=None, seconds=60, slices=3)
    assert [(point.queued, point.agents, point.cost_usd) for point in seen.points] == [(0, 0, 0)] * 3


async def test_of_too_much_the_newest_is_told_and_that_it_is_cut(yard: Yard) -> None:
    """Runs and events are bounded each; what begins later is exact from there on."""
    await yard.db.write(lambda conn: seats.order(conn, "claude", 3))
    await yard.host()
    await yard.submit(5)
    await yard.work("claude-1", "claude-2")
    for agent in ("claude-1", "claude-2"):
        await pass_time(yard, 100)
        await yard.finish(agent)
    await pass_time(yard, 100)
    await yard.work("claude-3")
    await pass_time(yard, 100)

    async def told(most: int) -> tuple[bool, float, list[int], list[int], list[int]]:
        found = await yard.db.read(lambda conn: past(conn, "claude", 1000, 3, most=most))
        assert max(len(found.told), len(found.runs)) <= most
        seen = series(found)
        return (
            seen.cut,
            seen.until - seen.since,
            [point.busy for point in seen.points],
            [point.queued for point in seen.points],
            [point.agents for point in seen.points],
        )

    assert await told(6) == (False, pytest.approx(400, abs=20), [1, 0, 1], [3, 3, 2], [3, 3, 3])
    cut = (True, pytest.approx(400, abs=20), [1, 0, 1], [3, 3, 2], [3, 3, 3])
    assert await told(3) == cut, "the events before the first claim are left out"
    cut = (True, pytest.approx(200, abs=20), [0, 1, 1], [3, 2, 2], [3, 3, 3])
    assert await told(2) == cut, "and the run that ended first"
    assert (await yard.control(settings()).series(pool=None, seconds=1000, slices=3)).cut is False


async def test_a_preview_runs_the_past_with_both_settings_and_changes_nothing(yard: Yard) -> None:
    control = yard.control(settings(max=1, startup=1))
    empty = await control.preview({"max": 4}, pool="claude", seconds=3600)
    assert (empty.tasks, empty.present, empty.changed) == (0, None, None)

    await yard.db.write(lambda conn: seats.order(conn, "claude", 4))
    await yard.host()
    await yard.submit(4)
    await yard.work("claude-1", "claude-2", "claude-3", "claude-4")
    await yard.db.write(lambda conn: Sql("UPDATE runs SET started_at = started_at - 60").run(conn))
    await yard.finish("claude-1", "claude-2", "claude-3", "claude-4")
    seen = await control.preview({"max": 4, "min": 4}, pool="claude", seconds=3600)
    assert seen.tasks == 4
    assert seen.present is not None
    assert seen.changed is not None
    assert (seen.present.peak, seen.changed.peak) == (1, 4)
    assert seen.changed.wait_p95 < seen.present.wait_p95
    assert (await control.settings()).settings.pool("claude").max == 1
    with pytest.raises(UsageError, match="min: 9 is above max"):
        await control.preview({"min": 9}, pool="claude", seconds=3600)
    with pytest.raises(UsageError, match="no pool 'none'"):
        await control.preview({}, pool="none", seconds=3600)
