"""Webhooks: events sent to other programs, and what code hosts send here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ezaigent.hooks.models import Delivery, DeliveryState, Trial, Webhook

if TYPE_CHECKING:
    from ezaigent.hooks.desk import Webhooks
    from ezaigent.hooks.github.clerk import Clerk
    from ezaigent.hooks.github.intake import Intake, Taken
    from ezaigent.hooks.posting import Post
    from ezaigent.hooks.sender import Sender

__all__ = [
    "Clerk",
    "Delivery",
    "DeliveryState",
    "Intake",
    "Post",
    "Sender",
    "Taken",
    "Trial",
    "Webhook",
    "Webhooks",
]

_LATER = {
    "Clerk": "github.clerk",
    "Intake": "github.intake",
    "Post": "posting",
    "Sender": "sender",
    "Taken": "github.intake",
    "Webhooks": "desk",
}


def __getattr__(name: str) -> object:
    """Load what sends only when it is asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
