"""``/api/v1/costs``: what was spent, on what."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from ezaigent.api.access import Access
from ezaigent.api.backstage import On
from ezaigent.api.gate import needs
from ezaigent.api.models import CostItem, Costs
from ezaigent.api.problems import documented
from ezaigent.core.money import usd

router = APIRouter(prefix="/api/v1", tags=["costs"], responses=documented())

Seconds = Annotated[float, Query(ge=0, le=1e12, description="Seconds since 1970.")]


@router.get("/costs", operation_id="get_costs", openapi_extra=needs(Access.READ))
async def get_costs(
    on: On,
    by: Annotated[Literal["task", "repo", "agent", "profile", "model", "day", "hour"], Query()] = "day",
    since: Seconds = 0.0,
    until: Seconds = 1e12,
) -> Costs:
    """Return tokens and USD of all model calls in a span of time, and their sums by one thing."""
    total = await on.costs.total(since=since, until=until)
    items = await on.costs.by(by, since=since, until=until)
    today = await on.costs.day_ledger()
    return Costs(
        total=CostItem.of("all", total),
        items=[CostItem.of(name, totals) for name, totals in items.items()],
        day_limit_usd=on.settings.costs.daily_budget_usd,
        day_spent_usd=None if today is None else usd(today.spent_nusd),
        day_held_usd=None if today is None else usd(today.held_nusd),
    )
