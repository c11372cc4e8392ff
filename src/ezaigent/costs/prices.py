"""Prices from the table that comes with genai-prices: no network, exact, and unknown where the table is silent.

The providers that the product names are priced by provider and model wherever their requests go, since a gateway or
a proxy passes their prices on. Any other name is priced only where the table knows exactly that provider and the
server is not on a private host: a model served by Ollama must not get the price of a namesake.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from ezaigent.core.money import nano_usd

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, Provider, Usage

NATIVE: Final = frozenset({"anthropic", "openai", "google", "mistral", "deepseek"})
"""Providers whose own API the product speaks."""

_MEGA: Final = Decimal(1_000_000)
_MEDIA: Final = ("audio", "image", "video")
_COUNTED: Final = ("_tokens", "_seconds")
_HORIZON: Final = (timedelta(0), timedelta(minutes=30), timedelta(hours=1))
"""When a reserved call may be billed: prices that depend on the hour change at most once within that time."""


class Price(NamedTuple):
    """What a call cost."""

    nusd: int
    """Nano-USD, rounded up."""
    table_date: str
    """ISO date: see ``table_date``."""


class Rates(NamedTuple):
    """The dearest that a model may charge for one token, in USD per million tokens."""

    input_mtok: Decimal
    output_mtok: Decimal


def private_host(base_url: str | None) -> bool:
    """Return whether ``base_url`` names this machine or a private network."""
    host = (urlsplit(base_url).hostname or "") if base_url else ""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return (
            host == "localhost"
            or host.endswith((".localhost", ".local", ".internal", ".lan"))
            or (bool(host) and "." not in host)
        )


def price_call(
    usage: Any, *, provider: str, model: str, base_url: str | None = None, context: Mapping[str, str] | None = None
) -> Price | None:
    """Return what ``usage`` cost, or None where the table knows no price for this provider's model.

    ``usage`` has the fields of ``pydantic_ai.usage.RequestUsage``; ``context`` selects variants such as a service
    tier.
    """
    found = _find(provider, model, base_url)
    if found is None:
        return None
    try:
        priced = found[1].calc_price(_counts(usage), found[0], price_context=context or None)
    except (LookupError, ValueError):  # counts that contradict each other cannot be priced
        return None
    return Price(nano_usd(priced.total_price), table_date())


def _counts(usage: Any) -> Usage:
    """Return the counts of ``usage`` as the table takes them; by itself it would look for each of its sixty kinds."""
    from genai_prices.types import Usage

    fields: dict[str, Any] = usage.__dict__
    return Usage(**{name: count for name, count in fields.items() if name.endswith(_COUNTED) and count is not None})


def dearest_rates(
    *,
    provider: str,
    model: str,
    base_url: str | None = None,
    input_tokens: int,
    media: bool = False,
    now: datetime | None = None,
) -> Rates | None:
    """Return the highest price per token that a call with at most ``input_tokens`` may meet; None if unknown.

    For input that is the dearest of plain, cache-writing and cache-reading text tokens, and with ``media`` of image,
    audio and video tokens too; tiers that so long a prompt can reach count, and so do prices that come into force
    within the next hour. One-hour cache writes are left out: the product never asks for them.
    """
    found = _find(provider, model, base_url)
    if found is None:
        return None
    moment = now or datetime.now(UTC)
    tables = [found[1].get_prices(moment + later) for later in _HORIZON]
    inputs = [rate for table in tables for rate in _rates(table, ("input", "cache"), input_tokens, media=media)]
    outputs = [rate for table in tables for rate in _rates(table, ("output",), input_tokens, media=media)]
    if not inputs or not outputs:
        return None
    return Rates(max(inputs), max(outputs))


def worst_case(
    *,
    provider: str,
    model: str,
    base_url: str | None = None,
    input_tokens: int,
    output_tokens: int,
    media: bool = False,
) -> int | None:
    """Return the most that a call may cost in nano-USD; None if the price is unknown.

    Every token is taken at the dearest rate; reasoning is part of the output tokens at all providers, so
    ``output_tokens`` (the ``max_tokens`` sent) bounds it.
    """
    rates = dearest_rates(provider=provider, model=model, base_url=base_url, input_tokens=input_tokens, media=media)
    if rates is None:
        return None
    return nano_usd((rates.input_mtok * input_tokens + rates.output_mtok * output_tokens) / _MEGA)


def context_window(*, provider: str, model: str) -> int | None:
    """Return how many tokens the model can hold, where the table knows it."""
    found = _find(provider, model, None)
    return None if found is None else found[1].context_window


def table_date(now: datetime | None = None) -> str:
    """Return the date of the price table: its newest price change in force (the table itself carries no date)."""
    today = (now or datetime.now(UTC)).date().isoformat()
    return max((day for day in _change_dates() if day <= today), default="")


def _change_dates() -> frozenset[str]:
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import StartDateConstraint

    snapshot = get_snapshot()
    if snapshot is not _dated.get("snapshot"):
        dates = frozenset(
            condition.constraint.start_date.isoformat()
            for provider in snapshot.providers
            for model in provider.models
            if isinstance(model.prices, list)
            for condition in model.prices
            if isinstance(condition.constraint, StartDateConstraint)
        )
        _dated.update(snapshot=snapshot, dates=dates)
    return _dated["dates"]


_dated: dict[str, Any] = {}
"""The dates of the table in use; walking its 2,000 models takes a millisecond, so it is done once."""


def _find(provider: str, model: str, base_url: str | None) -> tuple[Provider, ModelInfo] | None:
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    if snapshot is not _looked_up.get("snapshot"):
        _looked_up.clear()
        _looked_up["snapshot"] = snapshot
    place = (provider, model, private_host(base_url))
    if place not in _looked_up:
        _looked_up[place] = _look_up(snapshot, *place)
    return _looked_up[place]


_looked_up: dict[object, Any] = {}
"""Models found in the table in use: a look tries the names of every model that the provider has."""


def _look_up(
    snapshot: DataSnapshot,
    provider: str,
    model: str,
    private: bool,  # noqa: FBT001 - a key
) -> tuple[Provider, ModelInfo] | None:
    known = provider in NATIVE or (not private and any(entry.id == provider for entry in snapshot.providers))
    if not known:
        return None
    try:
        return snapshot.find_provider_model(model, None, provider, None)
    except LookupError:
        return None


def _rates(table: ModelPrice, marks: tuple[str, ...], input_tokens: int, *, media: bool) -> Iterator[Decimal]:
    from genai_prices.types import TieredPrices

    for key, price in vars(table).items():
        if not key.endswith("_mtok") or not key.startswith(marks) or "_1h_" in key:
            continue
        if not media and any(kind in key for kind in _MEDIA):
            continue
        if isinstance(price, TieredPrices):
            yield price.base
            yield from (tier.price for tier in price.tiers if input_tokens > tier.start)
        elif isinstance(price, Decimal):
            yield price
