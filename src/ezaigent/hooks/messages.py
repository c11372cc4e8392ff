"""What is sent: an event, in the shape that the Standard Webhooks specification recommends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from ezaigent.core.errors import UsageError
from ezaigent.core.events import KINDS, Event

NEVER: Final = "webhook."
"""Kinds that are never sent: news of failed deliveries would make deliveries that fail."""
_PRIVATE: Final = "audit."
"""Kinds that are sent to those only that name them."""
TEST: Final = "webhook.test"
"""Type of a test message, which is no event."""


def wanted(kinds: Sequence[str]) -> list[str]:
    """Return the event kinds that a filter means; see ``Webhook.kinds``. Raises ``UsageError`` for one that is none."""
    sendable = [kind for kind in KINDS if not kind.startswith(NEVER)]
    if not kinds:
        return [kind for kind in sendable if not kind.startswith(_PRIVATE)]
    found: set[str] = set()
    for one in kinds:
        meant = [kind for kind in sendable if kind == one or (one.endswith(".") and kind.startswith(one))]
        if not meant:
            raise UsageError(f"no events of kind {one!r} are sent; docs/events.md lists them, task. means all of tasks")
        found.update(meant)
    return sorted(found)


def still_wanted(kinds: Sequence[str]) -> list[str]:
    """Return the same for a filter that was accepted once: a kind that is gone since is left out."""
    if not kinds:
        return wanted(())
    return sorted({kind for one in kinds for kind in _known(one)})


def _known(one: str) -> list[str]:
    try:
        return wanted([one])
    except UsageError:
        return []


def body(event: Event) -> bytes:
    """Return an event as JSON."""
    return _shaped(event.kind, event.at, event.model_dump(mode="json"))


def trial_body(at: float, webhook: str) -> bytes:
    """Return a test message as JSON."""
    return _shaped(TEST, at, {"webhook": webhook})


def _shaped(kind: str, at: float, data: dict[str, Any]) -> bytes:
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return orjson.dumps({"type": kind, "timestamp": moment, "data": data})
