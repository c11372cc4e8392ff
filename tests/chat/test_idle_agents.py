"""An agent without a task is asked about itself: it answers from its own runs and calls, not from the fleet's."""

from __future__ import annotations

import pytest
from tests.chat.talk import Talk

from ezaigent.chat import queries
from ezaigent.store import Connection, Sql, now, tables
from ezaigent.tasks import Claim

_CALL = Sql(
    """INSERT INTO usage (task_id, run_id, session, step, at, agent, profile, provider, model, input_tokens,
    cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, cost_nusd,
    outcome)
    VALUES ($1, $2, 1, 1, {now} - CAST($5 AS double precision), $3, 'p', 'p', 'm', 1, 0, 0, 0, 1, 0, $4, 'ok')"""
)
_DAY = 86_400.0


async def _call(talk: Talk, claim: Claim, dollars: int, *, days_ago: int = 0) -> None:
    """Write down what a model call of this run cost."""
    await talk.db.write(
        lambda conn: _CALL.run(conn, claim.task.id, claim.run_id, claim.agent, dollars * 10**9, days_ago * _DAY)
    )


async def _idle(talk: Talk, agent: str) -> None:
    place = next(place for place, one in enumerate(talk.door.present) if one.name == agent)
    talk.door.present[place] = talk.door.present[place].model_copy(update={"status": "idle", "task_id": None})


async def _others(talk: Talk) -> None:
    """Let gpt-1 have had 300 newer tasks."""
    names = ", ".join(f'"{one.name}"' for one in tables.tasks.columns if one.name not in {"id", "key", "agent"})
    some = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) "
    copies = "INSERT INTO tasks (id, agent, {0}) SELECT {1}, 'gpt-1', {0} FROM (SELECT * FROM tasks LIMIT 1) AS t"
    runs = """INSERT INTO runs (id, task_id, session, fence, agent, profile, worker, started_at, outcome)
        SELECT id || '-1', id, 1, 1, 'gpt-1', 'gpt', 'w', {now}, 'done' FROM tasks WHERE id > '9'"""

    def write(conn: Connection) -> None:
        Sql(
            sqlite=some + copies.format(names, "printf('9%015d', i)") + " CROSS JOIN n",
            postgresql=some + copies.format(names, "'9' || lpad(CAST(i AS text), 15, '0')") + " CROSS JOIN n",
        ).run(conn)
        Sql(runs).run(conn)

    await talk.db.write(write)


@pytest.fixture
async def worked(talk: Talk) -> tuple[str, str]:
    """Two tasks that claude-1 had, one of which it failed at, before 300 others of gpt-1."""
    await talk.task("Sort the imports.")
    done = await talk.begin()
    await _call(talk, done, 3, days_ago=40)
    await talk.queue.finish(done, None)
    await talk.task("Mend the parser.")
    failed = await talk.begin()
    await _call(talk, failed, 2)
    await talk.queue.fail(failed, "the check 'pytest' fails", retryable=False)
    await _idle(talk, "claude-1")
    await talk.task("Write the docs.")
    other = await talk.begin("gpt-1")
    await _call(talk, other, 100)
    await talk.queue.fail(other, "the model is away", retryable=False)
    await _idle(talk, "gpt-1")
    await _others(talk)
    return done.task.id, failed.task.id


@pytest.mark.parametrize(
    "said", ["status", "how is it going?", "how's everything going", "any news?", "what did you do last?", "tasks"]
)
async def test_it_says_what_it_did_and_what_that_cost(talk: Talk, worked: tuple[str, str], said: str) -> None:
    answer = await talk(said, to="claude-1")
    assert answer.ok
    assert answer.source == "agent"
    assert answer.text.startswith("claude-1 is idle, good at architecture")
    assert "claude-1, today: $2.00 in 1 model calls" in answer.text
    assert answer.data is not None
    assert answer.data["tasks"] == [worked[1], worked[0]]
    assert "gpt-1" not in answer.text


@pytest.mark.parametrize(
    ("said", "cost"),
    [
        ("how much did you spend?", "today: $2.00 in 1 model calls"),
        ("how much have you spent this week?", "week: $2.00 in 1 model calls"),
        ("total cost", "all: $5.00 in 2 model calls"),
    ],
)
async def test_it_says_what_it_spent_itself(talk: Talk, worked: tuple[str, str], said: str, cost: str) -> None:
    answer = await talk(said, to="claude-1")
    assert answer.source == "agent"
    assert answer.text.startswith(f"claude-1, {cost}")
    assert "$100" not in answer.text


@pytest.mark.parametrize("said", ["what went wrong?", "failed tasks", "any failures"])
async def test_it_says_what_it_failed_at_also_when_others_went_on_with_it(
    talk: Talk, worked: tuple[str, str], said: str
) -> None:
    answer = await talk(said, to="claude-1")
    assert answer.data is not None
    assert answer.data["tasks"] == [worked[1]]
    assert "the check 'pytest' fails" in answer.text
    assert "the model is away" not in answer.text
    await talk.queue.retry(worked[1], by="ada")
    again = await talk(said, to="claude-1")
    assert f"{worked[1]} queued (its run: failed)" in again.text
    assert "none of its tasks is failed" in (await talk(said, to="claude-2")).text


async def test_what_is_asked_about_the_fleet_is_answered_for_the_fleet(talk: Talk, worked: tuple[str, str]) -> None:
    for said in ("/status", "how is the fleet doing?", "what did we spend today?", "how deep is the queue?", "/cost"):
        assert (await talk(said, to="claude-1")).source != "agent", said
    assert "it has had no task yet" in (await talk("status", to="claude-2")).text


async def test_what_others_did_is_not_looked_through(talk: Talk) -> None:
    def plans(conn: Connection) -> str:
        if conn.dialect.name == "postgresql":
            Sql("SET LOCAL enable_seqscan = off").run(conn)  # the tables are nearly empty
        prefix = "EXPLAIN QUERY PLAN " if conn.dialect.name == "sqlite" else "EXPLAIN "
        asked = ((queries.WORKED, ("claude-1",)), (queries.SPENT, ("claude-1", now(conn))))
        return "\n".join(str(row) for text, given in asked for row in Sql(prefix + text).all(conn, *given))

    plan = (await talk.db.write(plans)).upper()
    assert plan.count("IX_RUNS_AGENT") == 2
    assert "IX_USAGE_TASK_ID" in plan
    for table in ("RUNS", "TASKS", "USAGE"):
        assert f"SCAN {table}" not in plan
        assert f"SEQ SCAN ON {table}" not in plan
