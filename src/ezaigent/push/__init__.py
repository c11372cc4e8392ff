"""Notifications for people's browsers, by Web Push (RFC 8030, 8291, 8292)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ezaigent.push.models import NoteKind, Outcome, Subscription

if TYPE_CHECKING:
    from ezaigent.push.desk import Notifications
    from ezaigent.push.sender import Sender

__all__ = ["NoteKind", "Notifications", "Outcome", "Sender", "Subscription"]

_LATER = {"Notifications": "desk", "Sender": "sender"}


def __getattr__(name: str) -> object:
    """Load what sends only when it is asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
