"""What a run's model calls used and cost, kept until the run's next journal write takes it along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ezaigent.costs import CallRecord, Outcome, price_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_ai.messages import ModelResponse


def record_of(response: ModelResponse, *, provider: str, model: str, base_url: str | None = None) -> CallRecord:
    """Return the ledger entry of an answered call: what the provider counted, priced exactly.

    ``provider`` and ``model`` are the names that were asked for; ``base_url`` tells a private server, whose prices
    are unknown, from the provider itself.
    """
    usage = response.usage
    name = response.model_name or model
    written = usage.cache_write_tokens
    written_1h = min(usage.cache_write_1h_tokens, written)
    price = None
    if not usage.unmeasured_requests:
        details = response.provider_details or {}
        context = {key: value for key, value in details.items() if isinstance(value, str)}
        price = price_call(usage, provider=provider, model=name, base_url=base_url, context=context)
        if price is None and name != model:
            price = price_call(usage, provider=provider, model=model, base_url=base_url, context=context)
    return CallRecord(
        provider=provider,
        model=name,
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_5m_tokens=written - written_1h,
        cache_write_1h_tokens=written_1h,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.output_reasoning_tokens,
        cost_nusd=None if price is None else price.nusd,
        price_date=None if price is None else price.table_date,
    )


class Meter:
    """Collects the calls of one run between two journal writes.

    The loop drains it after each model request, and once more when a request failed, and hands what it got to
    ``costs.settle`` inside the same transaction as the journal row.
    """

    def __init__(self) -> None:
        self._calls: list[tuple[CallRecord, str | None]] = []

    def add(self, record: CallRecord, reservation: str | None) -> None:
        """Note a call that ended, with the reservation that was made for it."""
        self._calls.append((record, reservation))

    def add_failed(self, outcome: Outcome, *, provider: str, model: str, reservation: str | None) -> None:
        """Note a call without an answer: ``refused`` cost nothing, the cost of a ``lost`` one is unknown."""
        cost = 0 if outcome == "refused" else None
        self.add(CallRecord(provider=provider, model=model, cost_nusd=cost, outcome=outcome), reservation)

    def put_back(self, calls: Sequence[tuple[CallRecord, str | None]]) -> None:
        """Take back drained calls that could not be written; they are drained again before newer ones."""
        self._calls[:0] = calls

    def drain(self) -> list[tuple[CallRecord, str | None]]:
        """Return the calls since the last time, oldest first, each with its reservation, and forget them."""
        calls, self._calls = self._calls, []
        return calls
