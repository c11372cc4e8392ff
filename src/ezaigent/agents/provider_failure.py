"""A failed model call, understood: plain values that need no library, so that they are there from the start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["rate_limit", "overload", "quota", "billing", "permanent", "transient"]
"""``rate_limit``: wait, then the same model. ``overload``: back off, then fail over. ``quota`` and ``billing``: fail
over at once. ``permanent``: the run fails. ``transient``: try again with jitter."""

Bill = Literal["refused", "lost"]


@dataclass(frozen=True, slots=True)
class ProviderFailure:
    """One failed model call, understood."""

    kind: Kind
    message: str
    """One line for people, without secrets."""
    retry_after: float | None = None
    """Seconds that the provider asked to wait."""
    resets_in: float | None = None
    """Seconds until a used-up quota is known to be whole again."""
    status: int | None = None
    """HTTP status, where the provider answered with one."""
    too_long: bool = False
    """Whether the prompt does not fit into the model's context window."""
    bill: Bill = "refused"
    """``refused``: certainly not billed. ``lost``: the request had left, and may have been billed."""
