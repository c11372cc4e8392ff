"""No limit is passed, whatever happens at the same time; nothing that may have been billed is forgotten."""

from __future__ import annotations

import asyncio
import random

import pytest
from tests.costs.conftest import Claims

from ezaigent.core.errors import BudgetExceeded, StaleFence
from ezaigent.core.settings import CostSettings
from ezaigent.costs import CallRecord, CostBook, close_task, reserve, settle
from ezaigent.store import Connection, Database, EventLog, now
from ezaigent.tasks import Claim, Slot, TaskQueue


def record(cost: int | None, outcome: str = "ok", **tokens: int) -> CallRecord:
    return CallRecord.model_validate(
        {"provider": "openai", "model": "gpt-6.1-sol", "cost_nusd": cost, "outcome": outcome, **tokens}
    )


def book(db: Database, **settings: object) -> CostBook:
    return CostBook(db, CostSettings.model_validate(settings))


async def test_a_call_is_held_and_then_paid(db: Database, claims: Claims) -> None:
    [claim] = await claims(budget_nusd=1_000)
    costs = book(db)
    held = await costs.reserve(claim, 600)
    before = await costs.task_ledger(claim.task.id)
    assert before is not None
    assert (before.limit_nusd, before.spent_nusd, before.held_nusd) == (1_000, 0, 600)
    calls = [(record(250, input_tokens=9, output_tokens=4, reasoning_tokens=1), held)]
    await db.write(lambda conn: settle(conn, claim, calls, step=3))
    await db.write(lambda conn: settle(conn, claim, [(record(0), held)], step=4))  # a second time changes nothing
    after = await costs.task_ledger(claim.task.id)
    assert after is not None
    assert (after.spent_nusd, after.held_nusd) == (250, 0)
    total = await costs.task(claim.task.id)
    assert (total.calls, total.cost_nusd, total.unknown_calls) == (2, 250, 0)
    assert (total.input_tokens, total.output_tokens, total.reasoning_tokens) == (9, 4, 1)


async def test_a_call_that_does_not_fit_is_refused_and_told(db: Database, claims: Claims) -> None:
    [claim] = await claims(budget_nusd=1_000_000_000)
    costs = book(db)
    assert await costs.reserve(claim, 1_000_000_000)  # exactly the budget fits
    with pytest.raises(BudgetExceeded, match=r"\$0\.0042.*budget of \$1\.00.*\$0\.00 spent and \$1\.00 held"):
        await costs.reserve(claim, 4_200_000)
    events = await EventLog(db).read(0, kinds=["run.budget"])
    assert [event.run_id for event in events] == [claim.run_id]
    assert events[0].data["needed_usd"] == 0.0042
    with pytest.raises(BudgetExceeded):
        await db.write(
            lambda conn: reserve(
                conn, task_id=claim.task.id, run_id=claim.run_id, fence=claim.fence, amount_nusd=1, day_limit_nusd=None
            )
        )


async def test_without_a_limit_nothing_is_reserved(db: Database, claims: Claims) -> None:
    [claim] = await claims()
    costs = book(db)
    assert costs.reserver(claim) is None
    assert await costs.reserve(claim, 10**15) is None
    assert (
        await db.write(
            lambda conn: reserve(
                conn, task_id=claim.task.id, run_id=claim.run_id, fence=claim.fence, amount_nusd=10**15
            )
        )
        is None
    )
    await db.write(lambda conn: settle(conn, claim, [(record(77), None)], step=1))
    assert (await costs.task(claim.task.id)).cost_nusd == 77
    assert await costs.task_ledger(claim.task.id) is None
    assert await costs.day_ledger() is None
    assert {name: total.cost_nusd for name, total in (await costs.by("repo")).items()} == {claim.task.project: 77}
    [(hour, total)] = (await costs.by("hour")).items()
    assert (len(hour), hour[10], total.cost_nusd) == (13, "T", 77)


async def test_an_unknown_price_is_refused_unless_allowed(db: Database, claims: Claims) -> None:
    [claim] = await claims(budget_nusd=1_000)
    reserver = book(db).reserver(claim)
    assert reserver is not None
    with pytest.raises(BudgetExceeded, match="price of ollama:qwen3 is unknown"):
        await reserver(None, "ollama", "qwen3")
    allowed = book(db, unknown_price="allow")
    assert await allowed.reserve(claim, None) is None
    await db.write(lambda conn: settle(conn, claim, [(record(None), None)], step=1))
    total = await allowed.task(claim.task.id)
    assert (total.cost_nusd, total.unknown_calls) == (0, 1)


async def test_a_lost_call_stays_held_for_good_also_when_the_task_is_retried(
    db: Database, queue: TaskQueue, claims: Claims
) -> None:
    [claim] = await claims(budget_nusd=1_000)
    costs = book(db, daily_budget_usd=1)
    held = await costs.reserve(claim, 700)
    await db.write(lambda conn: settle(conn, claim, [(record(None, "lost"), held)], step=1))
    with pytest.raises(BudgetExceeded):
        await costs.reserve(claim, 700)
    refused = await costs.reserve(claim, 300)
    await db.write(lambda conn: settle(conn, claim, [(record(0, "refused"), refused)], step=2))
    await queue.fail(claim, "no answer", retryable=False)
    assert await db.write(lambda conn: close_task(conn, claim.task.id)) == 700
    assert await db.write(lambda conn: close_task(conn, claim.task.id)) == 0
    task, day = await costs.task_ledger(claim.task.id), await costs.day_ledger()
    assert task is not None
    assert day is not None
    assert (task.spent_nusd, task.held_nusd) == (0, 700)  # it may be on the bill, which the budget bounds
    assert (day.spent_nusd, day.held_nusd) == (0, 700)
    await queue.retry(claim.task.id, by="me")
    [again] = await queue.claim("w", [Slot(agent="claude-0", profile="claude")])
    with pytest.raises(BudgetExceeded, match="held for open and lost calls"):
        await costs.reserve(again, 301)
    assert await costs.reserve(again, 300)


async def test_a_limit_that_comes_late_knows_what_was_spent_before(db: Database, claims: Claims) -> None:
    first, second = await claims(2)
    await db.write(lambda conn: settle(conn, first, [(record(900_000_000), None)], step=1))
    costs = book(db, daily_budget_usd=1)
    with pytest.raises(BudgetExceeded, match=r"daily budget of \$1\.00: \$0\.900 spent"):
        await costs.reserve(second, 200_000_000)
    held = await costs.reserve(second, 100_000_000)
    await db.write(lambda conn: settle(conn, first, [(record(5), None)], step=2))  # counts against the day from now on
    await db.write(lambda conn: settle(conn, second, [(record(6), held)], step=1))
    day = await costs.day_ledger()
    assert day is not None
    assert (day.spent_nusd, day.held_nusd) == (900_000_011, 0)


async def test_a_stale_run_can_hold_nothing(db: Database, queue: TaskQueue, claims: Claims) -> None:
    [claim] = await claims(budget_nusd=1_000)
    await queue.release(claim, "drained")
    with pytest.raises(StaleFence):
        await book(db).reserve(claim, 1)


async def test_the_budget_holds_over_all_attempts(db: Database, queue: TaskQueue, claims: Claims) -> None:
    [claim] = await claims(budget_nusd=1_000)
    costs = book(db)
    held = await costs.reserve(claim, 800)
    await db.write(lambda conn: settle(conn, claim, [(record(800), held)], step=1))
    await queue.release(claim, "drained")
    [again] = await queue.claim("w", [Slot(agent="claude-0", profile="claude")])
    with pytest.raises(BudgetExceeded):
        await costs.reserve(again, 201)
    assert await costs.reserve(again, 200)


async def test_a_hundred_runs_at_once_overshoot_by_nothing(db: Database, claims: Claims) -> None:
    """Ten calls each, real prices below the worst cases, one daily limit and a budget per task: all hold always."""
    limit, budget, worst = 20_000, 700, 100
    costs = CostBook(db, CostSettings(daily_budget_usd=limit / 1e9))
    runs = await claims(100, budget_nusd=budget)
    luck = random.Random(7)
    refused = 0

    async def run(claim: Claim) -> int:
        nonlocal refused
        spent = 0
        for step in range(10):
            try:
                held = await costs.reserve(claim, worst)
            except BudgetExceeded:
                refused += 1
                break
            await asyncio.sleep(0)
            price = luck.randint(1, worst)
            calls = [(record(price), held)]
            await db.write(lambda conn, calls=calls, step=step: settle(conn, claim, calls, step=step))
            spent += price
            day = await costs.day_ledger()
            assert day is not None
            assert day.spent_nusd + day.held_nusd <= limit
        assert spent <= budget
        return spent

    spent = sum(await asyncio.gather(*(run(claim) for claim in runs)))
    assert refused
    day, total = await costs.day_ledger(), await costs.total()
    assert day is not None
    assert (day.spent_nusd, day.held_nusd) == (spent, 0)
    assert total.cost_nusd == spent
    assert limit - worst < spent <= limit  # used up, and not passed


async def test_sums_by_task_agent_profile_model_and_day(db: Database, claims: Claims) -> None:
    first, second = await claims(2)
    await db.write(lambda conn: settle(conn, first, [(record(5, input_tokens=1), None), (record(None), None)], step=1))
    await db.write(lambda conn: settle(conn, second, [(record(7, input_tokens=2), None)], step=1))
    await db.write(lambda conn: settle(conn, second, [], step=2))
    costs = book(db)
    at = await db.read(_clock)
    assert {name: total.cost_nusd for name, total in (await costs.by("task")).items()} == {
        first.task.id: 5,
        second.task.id: 7,
    }
    by_agent = await costs.by("agent")
    assert {name: total.cost_nusd for name, total in by_agent.items()} == {first.agent: 5, second.agent: 7}
    assert (await costs.by("profile"))["claude"].calls == 3
    assert (await costs.by("model"))["openai:gpt-6.1-sol"].unknown_calls == 1
    [(day, total)] = (await costs.by("day")).items()
    assert (len(day), total.cost_nusd, total.input_tokens) == (10, 12, 3)
    both = await costs.tasks([first.task.id, second.task.id, "none"])
    assert [total.cost_nusd for total in both.values()] == [5, 7, 0]
    assert await costs.by("day", until=at - 3_600) == {}
    assert (await costs.total(since=at - 3_600)).calls == 3


def _clock(conn: Connection) -> float:
    return now(conn)
