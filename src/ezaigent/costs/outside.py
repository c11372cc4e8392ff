"""Model calls that belong to no run, such as those that read what people write to the chat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ezaigent.core.errors import BudgetExceeded
from ezaigent.costs.queries import Refusal, reserve_outside, settle_outside

if TYPE_CHECKING:
    from ezaigent.costs.models import CallRecord
    from ezaigent.store import Database


class OutsideCalls:
    """The purse of such calls: they are in the usage by the name of what they are for, and count against the day."""

    def __init__(
        self, db: Database, *, what: str, profile: str, day_limit_nusd: int | None, refuse_unknown: bool
    ) -> None:
        """Use ``CostBook.outside``."""
        self._db = db
        self._what = what
        self._profile = profile
        self._day_limit = day_limit_nusd
        self._refuse_unknown = refuse_unknown

    @property
    def limited(self) -> bool:
        """Whether a limit is in force, so that each call has to be reserved."""
        return self._day_limit is not None

    async def reserve(self, amount_nusd: int | None, provider: str, model: str) -> str | None:
        """Hold the worst case of the next call; return the reservation's id, or None where no limit is in force.

        Raises ``BudgetExceeded`` where it does not fit into the day's limit, or where the price is unknown and the
        settings say to refuse that.
        """
        limit = self._day_limit
        if limit is None:
            return None
        if amount_nusd is None:
            if not self._refuse_unknown:
                return None
            raise BudgetExceeded(
                f"the price of {provider}:{model} is unknown, so the daily budget cannot be kept; "
                'use a priced model, or set costs.unknown_price = "allow"'
            )
        amount = amount_nusd
        held = await self._db.write(
            lambda conn: reserve_outside(conn, self._what, amount_nusd=amount, day_limit_nusd=limit)
        )
        if isinstance(held, Refusal):
            raise BudgetExceeded(str(held))
        return held

    async def settle(self, calls: Sequence[tuple[CallRecord, str | None]]) -> None:
        """Write what the calls used and cost."""
        if calls:
            await self._db.write(lambda conn: settle_outside(conn, self._what, self._profile, calls))
