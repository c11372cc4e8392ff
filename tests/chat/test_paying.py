"""What the chat's own model calls cost is in the usage and counts against the day."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.agents.stage import settings_for

from ezaigent.chat import Chat
from ezaigent.core.errors import BudgetExceeded
from ezaigent.core.money import nano_usd
from ezaigent.core.settings import ChatSettings, CostSettings, Settings
from ezaigent.costs import CallRecord, CostBook
from ezaigent.store import Database
from ezaigent.testing import ModelServer, Reply, Script, ToolCall, Usage, from_steps
from ezaigent.wiring import Fleet, draft, open_chat

USAGE = Usage(input_tokens=1_000, output_tokens=100)
COST = 1_000 * 2_000 + 100 * 10_000
"""Of one such call, in nano-USD."""


def meant(answer: dict[str, Any]) -> Script:
    return from_steps([Reply(tool_calls=(ToolCall("final_result", answer),), usage=USAGE)])


def settings(home: Path, url: str, budget: float | None) -> Settings:
    profiles = {"reader": {"model": "openai:gpt-6.1-sol", "max_tokens": 1_000, "context_window": 100_000}}
    return Settings.model_validate(
        {
            **settings_for(home, url).model_dump(),
            "profiles": profiles,
            "chat": ChatSettings(profile="reader"),
            "costs": CostSettings(daily_budget_usd=budget),
        }
    )


async def asked(chat: Chat) -> bool:
    """Say what only a model understands; return whether it did."""
    return (await chat.say("wie lang ist die Schlange?", by="ada")).ok


@pytest.mark.parametrize("budget", [None, 1.0])
async def test_a_line_that_a_model_reads_is_paid(tmp_path: Path, budget: float | None) -> None:
    async with (
        ModelServer(meant({"command": {"kind": "queue"}})) as server,
        Fleet.connect(settings=settings(tmp_path, server.url, budget)) as fleet,
    ):
        chat, costs = open_chat(fleet.services), fleet.services.costs
        assert await asked(chat)
        assert await asked(chat)
        await chat.say("/status", by="ada")  # nobody is asked
        total = await costs.total()
        assert (total.calls, total.cost_nusd, total.unknown_calls) == (2, 2 * COST, 0)
        for what, name in (("agent", "chat"), ("profile", "reader"), ("task", "chat"), ("repo", "chat")):
            found = await costs.by(what)  # type: ignore[arg-type]
            assert {key: one.cost_nusd for key, one in found.items()} == {name: 2 * COST}
        ledger = await costs.day_ledger()
        assert (ledger is None) == (budget is None)
        if ledger is not None:
            assert (ledger.spent_nusd, ledger.held_nusd) == (2 * COST, 0)


async def test_without_room_in_the_day_no_model_is_asked(tmp_path: Path) -> None:
    async with (
        ModelServer(meant({"command": {"kind": "queue"}})) as server,
        Fleet.connect(settings=settings(tmp_path, server.url, 0.001)) as fleet,
    ):
        reply = await open_chat(fleet.services).say("wie lang ist die Schlange?", by="ada")
        assert not reply.ok
        assert "daily budget" in reply.text
        assert len(server.requests) == 0
        ledger = await fleet.services.costs.day_ledger()
        assert ledger is None or (ledger.spent_nusd, ledger.held_nusd) == (0, 0)


async def test_who_may_only_look_spends_nothing(tmp_path: Path) -> None:
    async with (
        ModelServer(meant({"command": {"kind": "queue"}})) as server,
        Fleet.connect(settings=settings(tmp_path, server.url, None)) as fleet,
    ):
        reply = await open_chat(fleet.services).say("wie lang ist die Schlange?", by="eve", may_change=False)
        assert not reply.ok
        assert len(server.requests) == 0


async def test_a_document_that_a_model_reads_is_paid(tmp_path: Path) -> None:
    answer = {"tasks": [{"name": "a", "prompt": "Do a."}]}
    async with (
        ModelServer(meant(answer)) as server,
        Fleet.connect(settings=settings(tmp_path, server.url, 1.0)) as fleet,
    ):
        costs = fleet.services.costs
        made = await draft("Do a.", fleet.settings, profile="reader", costs=costs)
        assert [task.name for task in made.plan.tasks] == ["a"]
        assert {key: one.cost_nusd for key, one in (await costs.by("agent")).items()} == {"plan": COST}


async def test_the_purse_keeps_the_day_on_both_databases(db: Database) -> None:
    """Holds are refused beyond the limit, turned into what was spent, and kept where nobody knows the price."""
    book = CostBook(db, CostSettings(daily_budget_usd=0.01))
    purse = book.outside("chat", "reader")
    first = await purse.reserve(nano_usd("0.006"), "openai", "m")
    with pytest.raises(BudgetExceeded, match="daily budget"):
        await purse.reserve(nano_usd("0.006"), "openai", "m")
    with pytest.raises(BudgetExceeded, match="unknown"):
        await purse.reserve(None, "openai", "m")
    await purse.settle([(CallRecord(provider="openai", model="m", cost_nusd=nano_usd("0.002")), first)])
    second = await purse.reserve(nano_usd("0.006"), "openai", "m")
    await purse.settle([(CallRecord(provider="openai", model="m", cost_nusd=None, outcome="lost"), second)])
    await purse.settle([])
    ledger = await book.day_ledger()
    assert ledger is not None
    assert (ledger.spent_nusd, ledger.held_nusd) == (nano_usd("0.002"), nano_usd("0.006"))
    allowed = CostBook(db, CostSettings(daily_budget_usd=0.01, unknown_price="allow")).outside("chat", "reader")
    assert await allowed.reserve(None, "openai", "m") is None
