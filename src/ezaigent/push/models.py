"""What notifications speak about: a browser that asked for them, what it wants, how one was taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ezaigent.core.described import described

NoteKind = Literal["approvals", "failures", "budget"]
"""``approvals``: a person must look, approve or answer. ``failures``: dead letters. ``budget``: a cap was met."""


class Subscription(BaseModel):
    """A browser that asked for notifications, without what is needed to notify it."""

    model_config = ConfigDict(frozen=True, json_schema_extra=described)

    id: str
    service: str
    """Host of the push service that brings them there."""
    label: str
    """What the browser called itself."""
    kinds: tuple[NoteKind, ...]
    """What it is told."""
    error: str
    """Why the last notification could not be handed over; empty after one that was."""
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """The same as the sender sees it."""

    id: str
    user: str
    role: str
    endpoint: str
    p256dh: str
    auth: str
    kinds: frozenset[str]
    since: float
    """What happened before is not told; seconds since 1970."""


class Outcome(BaseModel):
    """How the push service took a notification."""

    model_config = ConfigDict(frozen=True, json_schema_extra=described)

    ok: bool
    error: str
    """Empty when it was taken."""
