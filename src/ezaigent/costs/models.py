"""What the room speaks about: one model call with its tokens and its price, and sums over many."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Outcome = Literal["ok", "refused", "lost"]
"""``ok``: answered and billed. ``refused``: the provider said no, so nothing was billed. ``lost``: the connection broke
or the time ran out after the request had left, so nobody knows whether it was billed."""


class CallRecord(BaseModel):
    """One model call as it goes into the ledger. Token counts overlap: see each field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: str
    model: str
    """The name the provider answered with, or else the name that was asked for."""
    input_tokens: int = 0
    """All tokens of the prompt, those read from and written to the provider's cache included."""
    cache_read_tokens: int = 0
    """Part of ``input_tokens`` that came from the provider's cache."""
    cache_write_5m_tokens: int = 0
    """Part of ``input_tokens`` written to the cache for the short lifetime (five minutes at Anthropic)."""
    cache_write_1h_tokens: int = 0
    """Part of ``input_tokens`` written to the cache for one hour."""
    output_tokens: int = 0
    """All tokens produced, reasoning included."""
    reasoning_tokens: int = 0
    """Part of ``output_tokens`` spent on reasoning."""
    cost_nusd: int | None = None
    """Price in nano-USD, rounded up; None where it is unknown, never 0 in its place."""
    price_date: str | None = None
    """ISO date of the newest price change that the table in use knew to be in force; None for an unknown price."""
    outcome: Outcome = "ok"


class Totals(BaseModel):
    """Sums over model calls."""

    model_config = ConfigDict(frozen=True)

    calls: int = 0
    """Calls that were made, the refused and the lost ones included."""
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nusd: int = 0
    """Sum of the known prices, in nano-USD; a lower bound while ``unknown_calls`` is not 0."""
    unknown_calls: int = 0
    """Calls whose price is unknown: models that the price table does not know, and lost calls."""


class Ledger(BaseModel):
    """What is spent and held against one limit."""

    model_config = ConfigDict(frozen=True)

    key: str
    """``task:<id>`` or ``day:<UTC date>``."""
    limit_nusd: int | None
    spent_nusd: int
    held_nusd: int
    """Worst cases of calls that are under way or were lost: they may have been billed, so a lost call's stays."""
