"""The room `costs`: prices, budgets and what every model call used."""

from ezaigent.costs.book import CostBook
from ezaigent.costs.models import CallRecord, Ledger, Outcome, Totals
from ezaigent.costs.outside import OutsideCalls
from ezaigent.costs.prices import (
    NATIVE,
    Price,
    Rates,
    context_window,
    dearest_rates,
    price_call,
    private_host,
    table_date,
    worst_case,
)
from ezaigent.costs.queries import close_task, reserve, settle, totals_of_task

__all__ = [
    "NATIVE",
    "CallRecord",
    "CostBook",
    "Ledger",
    "Outcome",
    "OutsideCalls",
    "Price",
    "Rates",
    "Totals",
    "close_task",
    "context_window",
    "dearest_rates",
    "price_call",
    "private_host",
    "reserve",
    "settle",
    "table_date",
    "totals_of_task",
    "worst_case",
]
