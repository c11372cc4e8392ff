"""``/api/v1/events/history``: the event log page by page, from the newest event back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from ezaigent.api.access import Access
from ezaigent.api.backstage import Caller, On
from ezaigent.api.gate import needs
from ezaigent.api.models import Shown, Text
from ezaigent.api.problems import documented
from ezaigent.api.window import PRIVATE
from ezaigent.core.events import KINDS, Event

router = APIRouter(prefix="/api/v1", tags=["events"], responses=documented())


class EventPage(Shown):
    """Events, newest first."""

    items: list[Event]
    next: int | None = None
    """Give it as ``before`` to go on; null at the beginning. A page may be short, even empty, before that."""


@router.get("/events/history", operation_id="list_events", openapi_extra=needs(Access.READ))
async def list_events(  # noqa: PLR0917 - FastAPI reads parameters as they are
    on: On,
    caller: Caller,
    before: Annotated[int | None, Query(description="``next`` of the page before.", ge=0, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    kind: Annotated[
        list[Text] | None, Query(description="Only these kinds; ``task.`` means all that begin so.", max_length=100)
    ] = None,
    task: Annotated[Text | None, Query(description="Only events of this task.", max_length=64)] = None,
    agent: Annotated[Text | None, Query(description="Only events of this agent.", max_length=200)] = None,
    by: Annotated[
        Text | None, Query(description="Only what this person or token did, as ``data.by`` names them.", max_length=200)
    ] = None,
) -> EventPage:
    """Return what happened before, newest first; audit events to administrators only."""
    found, before = await on.events.back(
        before,
        limit,
        kinds=None if kind is None else _kinds(kind),
        task_id=task,
        agent=agent,
        by=by,
        hidden=None if caller.access >= Access.ADMIN else PRIVATE,
    )
    return EventPage(items=found, next=before)


def _kinds(wanted: list[str]) -> list[str]:
    """Return the kinds that are meant, each once."""
    beginnings = tuple(one for one in wanted if one.endswith("."))
    return list(dict.fromkeys((*wanted, *(kind for kind in KINDS if beginnings and kind.startswith(beginnings)))))
