"""The cost book: reserves before a call, and answers what was spent on what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from ezaigent.core.errors import BudgetExceeded
from ezaigent.core.money import nano_usd, usd
from ezaigent.core.settings import CostSettings
from ezaigent.costs.models import Ledger, Totals
from ezaigent.costs.outside import OutsideCalls
from ezaigent.costs.queries import (
    Refusal,
    day_key,
    ledgers,
    models_of_session,
    task_key,
    totals_by,
    totals_of_all,
    totals_of_task,
    totals_of_tasks,
    try_reserve,
)
from ezaigent.store import Connection, Database, emit, now
from ezaigent.tasks import Claim, Task

_FAR: float = 1e12
"""Seconds since 1970 that no call reaches."""


class CostBook:
    """What model calls may cost, and what they did cost."""

    def __init__(self, db: Database, settings: CostSettings) -> None:
        """Keep the book in ``db``; the daily limit and the rule for unknown prices come from ``settings``."""
        self._db = db
        self._refuse_unknown = settings.unknown_price == "refuse"
        self._day_limit = None if settings.daily_budget_usd is None else nano_usd(settings.daily_budget_usd)

    def limited(self, claim: Claim) -> bool:
        """Return whether any limit is in force for the run."""
        return self._day_limit is not None or claim.task.budget_nusd is not None

    def reserver(self, claim: Claim) -> Callable[[int | None, str, str], Awaitable[str | None]] | None:
        """Return the run's way to reserve, for ``agents.ResilientModel``; None where no limit is in force."""
        if not self.limited(claim):
            return None

        async def reserve(amount_nusd: int | None, provider: str, model: str) -> str | None:
            return await self.reserve(claim, amount_nusd, what=f"{provider}:{model}")

        return reserve

    def outside(self, what: str, profile: str) -> OutsideCalls:
        """Return the purse of calls that belong to no run: ``what`` they are for stands for task and agent."""
        return OutsideCalls(
            self._db,
            what=what,
            profile=profile,
            day_limit_nusd=self._day_limit,
            refuse_unknown=self._refuse_unknown,
        )

    async def reserve(self, claim: Claim, amount_nusd: int | None, *, what: str = "the model") -> str | None:
        """Hold the worst case of the next call; return the reservation's id, or None where no limit is in force.

        ``amount_nusd`` None means that the price of ``what`` is unknown: refused or let through as the settings say.
        Raises ``BudgetExceeded``, after writing the event ``run.budget``, and ``StaleFence``.
        """
        if not self.limited(claim):
            return None
        if amount_nusd is None:
            if not self._refuse_unknown:
                return None
            raise BudgetExceeded(
                f"the price of {what} is unknown, so no budget can be kept; "
                'use a priced model, drop the budget, or set costs.unknown_price = "allow"'
            )
        amount = amount_nusd

        def hold(conn: Connection) -> str | Refusal | None:
            held = try_reserve(
                conn,
                task_id=claim.task.id,
                run_id=claim.run_id,
                fence=claim.fence,
                amount_nusd=amount,
                day_limit_nusd=self._day_limit,
            )
            if isinstance(held, Refusal):
                emit(
                    conn,
                    "run.budget",
                    task_id=claim.task.id,
                    run_id=claim.run_id,
                    agent=claim.agent,
                    data={
                        "ledger": held.key.partition(":")[0],
                        "limit_usd": usd(held.limit_nusd),
                        "spent_usd": usd(held.spent_nusd),
                        "held_usd": usd(held.held_nusd),
                        "needed_usd": usd(held.needed_nusd),
                    },
                )
            return held

        held = await self._db.write(hold)
        if isinstance(held, Refusal):
            raise BudgetExceeded(str(held))
        return held

    async def task(self, task_id: str) -> Totals:
        """Return what a task used and cost, over all its runs."""
        return await self._db.read(lambda conn: totals_of_task(conn, task_id))

    async def models(self, task: Task) -> list[str]:
        """Return the models (``provider:model``) that answered in the task's present session, in order of first use."""
        return await self._db.read(lambda conn: models_of_session(conn, task.id, task.session))

    async def tasks(self, task_ids: Sequence[str]) -> dict[str, Totals]:
        """Return the same for several tasks, by id."""
        return await self._db.read(lambda conn: totals_of_tasks(conn, task_ids))

    async def total(self, *, since: float = 0.0, until: float = _FAR) -> Totals:
        """Return the sums over all calls between two times (seconds since 1970)."""
        return await self._db.read(lambda conn: totals_of_all(conn, since, until))

    async def by(
        self,
        what: Literal["task", "repo", "agent", "profile", "model", "day", "hour"],
        *,
        since: float = 0.0,
        until: float = _FAR,
    ) -> dict[str, Totals]:
        """Return the sums by task id, repository, agent, profile, ``provider:model``, UTC day or hour (ISO)."""
        return await self._db.read(lambda conn: totals_by(conn, what, since, until))

    async def task_ledger(self, task_id: str) -> Ledger | None:
        """Return what counts against a task's budget; None before its first reservation, or without a budget."""
        found = await self._db.read(lambda conn: ledgers(conn, [task_key(task_id)]))
        return found[0] if found else None

    async def day_ledger(self) -> Ledger | None:
        """Return what counts against today's limit (UTC); None before the first reservation, or without a limit."""
        found = await self._db.read(lambda conn: ledgers(conn, [day_key(now(conn))]))
        return found[0] if found else None
