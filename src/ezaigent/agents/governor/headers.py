"""What providers tell of their limits in response headers.

OpenAI and its kin: ``x-ratelimit-{limit,remaining,reset}-{requests,tokens}``, the reset as ``6m0s`` or ``120ms``.
Anthropic: ``anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}``, the reset as an
RFC 3339 time. Mistral: ``x-ratelimit-{limit,remaining}-{req,tokens}-minute``. Gemini and DeepSeek tell nothing.
A reset is when the quota will be whole again, so that limit, remaining and reset together tell the rate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final


@dataclass(frozen=True, slots=True)
class Told:
    """One meter as the provider told it with an answer."""

    meter: str
    limit: float
    """Units that the quota holds."""
    remaining: float
    """Units left."""
    reset: float | None = None
    """Seconds until it is whole again."""
    grain: float = 0.0
    """Seconds by which the reset may be wrong."""


def read_limits(headers: Mapping[str, str], now: float) -> list[Told]:
    """Return what the headers tell; ``now`` is seconds since 1970. What cannot be read is passed over."""
    found = [*_anthropic(headers, now), *_mistral(headers), *_openai(headers)]
    meters = {told.meter for told in found}
    if "input_tokens" in meters:  # the sum is told beside its parts, and stands for the tightest of them
        found = [told for told in found if told.meter != "tokens"]
    return found


def _openai(headers: Mapping[str, str]) -> Iterator[Told]:
    for meter in ("requests", "tokens"):
        limit, remaining = (
            _count(headers, f"x-ratelimit-limit-{meter}"),
            _count(headers, f"x-ratelimit-remaining-{meter}"),
        )
        if limit and remaining is not None:
            reset = _duration(headers.get(f"x-ratelimit-reset-{meter}", ""))
            yield Told(meter, limit, remaining, reset, grain=0.001)


def _anthropic(headers: Mapping[str, str], now: float) -> Iterator[Told]:
    for meter in ("requests", "tokens", "input_tokens", "output_tokens"):
        head = f"anthropic-ratelimit-{meter.replace('_', '-')}"
        limit, remaining = _count(headers, f"{head}-limit"), _count(headers, f"{head}-remaining")
        if limit and remaining is not None:
            yield Told(meter, limit, remaining, _until(headers.get(f"{head}-reset", ""), now), grain=1.0)


def _mistral(headers: Mapping[str, str]) -> Iterator[Told]:
    for meter, name in (("requests", "req"), ("tokens", "tokens")):
        limit = _count(headers, f"x-ratelimit-limit-{name}-minute")
        remaining = _count(headers, f"x-ratelimit-remaining-{name}-minute")
        if limit and remaining is not None:
            yield Told(meter, limit, remaining)


def _count(headers: Mapping[str, str], name: str) -> float | None:
    try:
        value = float(headers.get(name, ""))
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None


_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _duration(text: str) -> float | None:
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return None


def _until(text: str, now: float) -> float | None:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now)
