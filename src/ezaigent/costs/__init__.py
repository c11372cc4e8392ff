"""The room `costs`: prices, budgets and what every model call used."""

from ezaigent.costs.models import CallRecord, Ledger, Outcome, Totals
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

__all__ = [
    "NATIVE",
    "CallRecord",
    "Ledger",
    "Outcome",
    "Price",
    "Rates",
    "Totals",
    "context_window",
    "dearest_rates",
    "price_call",
    "private_host",
    "table_date",
    "worst_case",
]
