"""What a run may spend: the cap holds, what was done is kept, an unknown price stays unknown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.agents.stage import PROFILE, staged

from ezaigent.core.errors import BudgetExceeded
from ezaigent.core.money import nano_usd
from ezaigent.core.settings import CostSettings
from ezaigent.costs import CostBook
from ezaigent.store import Sql
from ezaigent.testing import ModelServer, Reply, ToolCall, Usage, from_steps

PRICED = replace(PROFILE, model="openai:gpt-6.1-sol", context_window=1_000_000, max_tokens=1_000)
USAGE = Usage(input_tokens=5_000, output_tokens=100)
WORK = [
    Reply(tool_calls=(ToolCall("shell", {"command": f"echo {number} >> log.txt"}),), usage=USAGE)
    for number in range(40)
]


async def test_a_run_that_meets_its_cap_stops_with_its_work_kept(tmp_path: Path) -> None:
    budget = nano_usd("0.08")
    async with ModelServer(from_steps(WORK)) as server, staged(tmp_path, server=server, profile=PRICED) as stage:
        claim = await stage.claim(budget_nusd=budget)
        tree = await stage.open(claim)
        with pytest.raises(
            BudgetExceeded, match=r"the next model call may cost \$0\.0\d+.*budget of \$0\.08"
        ) as caught:
            await stage.run(claim, workspace=tree)
        assert not caught.value.retryable
        paid = len(server.requests)
        assert 1 <= paid < len(WORK)
        assert (tree.path / "log.txt").read_text() == "".join(f"{number}\n" for number in range(paid))
        assert await stage.runtime.checkpoint(claim) is not None
        book = CostBook(stage.db, CostSettings())
        ledger = await book.task_ledger(claim.task.id)
        assert ledger is not None
        assert (ledger.held_nusd, ledger.spent_nusd) == (0, paid * (5_000 * 2_000 + 100 * 10_000))
        assert ledger.spent_nusd <= budget
        totals = await book.task(claim.task.id)
        assert (totals.calls, totals.unknown_calls, totals.cost_nusd) == (paid, 0, ledger.spent_nusd)
        [event] = await stage.events("run.budget")
        assert event.data["ledger"] == "task"


async def test_the_next_attempt_pays_nothing_twice_and_meets_the_same_cap(tmp_path: Path) -> None:
    async with ModelServer(from_steps(WORK)) as server, staged(tmp_path, server=server, profile=PRICED) as stage:
        claim = await stage.claim(budget_nusd=nano_usd("0.06"))
        with pytest.raises(BudgetExceeded):
            await stage.run(claim)
        paid = len(server.requests)
        await stage.queue.release(claim, "the worker stops")
        claim = await stage.reclaim()
        with pytest.raises(BudgetExceeded):
            await stage.run(claim)
        assert len(server.requests) == paid


async def test_an_unknown_price_is_stored_as_unknown(tmp_path: Path) -> None:
    async with (
        ModelServer(from_steps([Reply("Done.", usage=USAGE)])) as server,
        staged(tmp_path, server=server) as stage,
    ):
        await stage.run(await stage.claim())
        rows = await stage.db.read(Sql("SELECT input_tokens, cost_nusd, price_date FROM usage").all)
        assert [tuple(row) for row in rows] == [(5_000, None, None)]


async def test_a_budget_on_an_unknown_price_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async with ModelServer(from_steps(["Done."])) as server, staged(tmp_path, server=server) as stage:
        with pytest.raises(BudgetExceeded, match="the price of openai:gpt-test is unknown, so no budget can be kept"):
            await stage.run(await stage.claim(budget_nusd=nano_usd("1")))
        assert server.requests == []


async def test_the_price_and_the_date_of_its_table_are_written(tmp_path: Path) -> None:
    usage = Usage(input_tokens=2_000, output_tokens=300, cache_read_tokens=500, reasoning_tokens=120)
    script = from_steps([Reply("Done.", usage=usage)])
    async with ModelServer(script) as server, staged(tmp_path, server=server, profile=PRICED) as stage:
        await stage.run(await stage.claim())
        [row] = await stage.db.read(
            Sql("SELECT input_tokens, cache_read_tokens, output_tokens, reasoning_tokens, cost_nusd FROM usage").all
        )
        assert tuple(row) == (2_000, 500, 300, 120, 1_500 * 2_000 + 500 * 100 + 300 * 10_000)
        [(date,)] = await stage.db.read(Sql("SELECT price_date FROM usage").all)
        assert len(date) == len("2026-01-01")
