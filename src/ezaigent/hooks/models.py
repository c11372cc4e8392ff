"""What webhooks speak about: a target, a delivery, a trial."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from ezaigent.core.described import described

DeliveryState = Literal["pending", "sent", "dead"]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, json_schema_extra=described)


class Webhook(_View):
    """A target that events are sent to; its secret is not part of it."""

    id: str
    url: str
    kinds: tuple[str, ...]
    """Whole kinds, or beginnings that end in a dot; empty: every kind but ``audit.`` and ``webhook.``."""
    enabled: bool
    """While it is off nothing is sent; what happens meanwhile is not sent later either."""
    created_at: float
    by: str
    """Who made it."""
    pending: int = 0
    """Deliveries that wait for their next attempt."""
    dead: int = 0
    """Deliveries that were given up."""
    error: str = ""
    """Why the last attempt failed; empty after one that did not."""

    @property
    def chosen(self) -> tuple[str, str, tuple[str, ...], bool]:
        """What people choose of it, without what becomes of its deliveries."""
        return self.id, self.url, self.kinds, self.enabled


class Delivery(_View):
    """One event on its way to one target."""

    id: str
    """Sent as ``webhook-id``: the same for every attempt, so that the receiver knows what it has seen."""
    webhook: str
    seq: int
    """The event's number."""
    kind: str
    state: DeliveryState
    attempts: int
    next_at: float | None
    """When it is tried next, seconds since 1970; null when it is not."""
    status: int | None
    """HTTP status of the last answer; null without one."""
    error: str
    created_at: float
    updated_at: float


class Trial(_View):
    """How a test message was taken."""

    ok: bool
    status: int | None
    """HTTP status; null without an answer."""
    error: str
    """Why not; empty when it was taken."""
    seconds: float
