"""Money is an integer of nano-USD (1e-9 USD), so that sums are exact and both databases store it alike.

A price of 0.075 USD per million tokens is 75 nano-USD per token; the smallest listed price stays an integer.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal

NANO = 1_000_000_000


def nano_usd(usd: Decimal | float | str) -> int:
    """Return ``usd`` in nano-USD, rounded up, so that a cap is never passed by rounding."""
    amount = usd if isinstance(usd, Decimal) else Decimal(str(usd))
    if not amount.is_finite():
        raise ValueError(f"an amount of money must be finite, got {usd!r}")
    return int((amount * NANO).to_integral_value(ROUND_CEILING))


def usd(nano: int | None) -> float | None:
    """Return nano-USD as USD for display and JSON; unknown stays unknown."""
    return None if nano is None else nano / NANO


def format_usd(nano: int | None) -> str:
    """Return an amount for people: ``$0.0042``, ``$1.20``, ``unknown``."""
    if nano is None:
        return "unknown"
    value = nano / NANO
    digits = 2 if value == 0 or abs(value) >= 1 else min(6, 2 - math.floor(math.log10(abs(value))))
    return f"${value:.{digits}f}"
