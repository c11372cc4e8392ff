"""``/api/v1/plans``: a document becomes a task graph to edit; an edited one is queued whole, or not at all."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header

from ezaigent.api.access import Access
from ezaigent.api.backstage import Caller, On
from ezaigent.api.gate import needs
from ezaigent.api.models import TaskItem, Text
from ezaigent.api.plan_models import PlanGiven, PlanProposed, PlanQueued, PlanText
from ezaigent.api.problems import UNREACHABLE, documented
from ezaigent.fleet import TaskView

router = APIRouter(prefix="/api/v1/plans", tags=["plans"], responses=documented(UNREACHABLE))

_OPERATE = needs(Access.OPERATE)


@router.post("", operation_id="draft_plan", openapi_extra=_OPERATE)
async def draft_plan(document: PlanText, on: On) -> PlanProposed:
    """Return the task graph that a document asks for; nothing is queued.

    The model of ``[chat] profile`` reads it, and its calls cost what they cost; without one, the document's own
    structure does: checkboxes, lists, headings, "after", "depends on".
    """
    found, profile = await on.draft(document.text, repo=document.repo, structure=document.structure)
    return PlanProposed(plan=found.plan, notes=list(found.notes), profile=profile)


@router.post("/submit", operation_id="submit_plan", status_code=201, openapi_extra=_OPERATE)
async def submit_plan(
    given: PlanGiven,
    on: On,
    caller: Caller,
    idempotency_key: Annotated[
        Text | None,
        Header(description="The same plan with the same key is queued once.", min_length=1, max_length=200),
    ] = None,
) -> PlanQueued:
    """Queue the tasks of a plan, all or none; needs that go in a circle are refused by name."""
    tasks = await on.submit_plan(given.plan(), key=idempotency_key, by=caller.name)
    totals = await on.costs.tasks([task.id for task in tasks])
    return PlanQueued(items=[TaskItem.of(TaskView.of(task, totals[task.id])) for task in tasks])
