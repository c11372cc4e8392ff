"""``/api/v1/autoscaler``: how the pools are sized, what was decided, and what a person changes."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Header, Query, Response
from pydantic import ConfigDict, Field

from ezaigent.api.access import Access
from ezaigent.api.backstage import Caller, On, Stage
from ezaigent.api.gate import needs
from ezaigent.api.models import Given, Shown, Text
from ezaigent.api.problems import NO_PRECONDITION, STALE, Refusal, documented
from ezaigent.core.described import described
from ezaigent.core.scaling import ScalingSettings
from ezaigent.fleet import InForce, Preview, ScalerView, Series

router = APIRouter(prefix="/api/v1/autoscaler", tags=["autoscaler"], responses=documented())

_VERSION = {"ETag": {"description": "Version of the settings.", "schema": {"type": "string"}}}
_one_at_a_time = asyncio.Lock()
_one_preview_at_a_time = asyncio.Lock()


class Autoscaler(Shown):
    """The autoscaler at one moment, and its settings."""

    status: ScalerView
    settings: dict[str, Any]
    """In force: the file's, with what was changed at run time. Their names are in docs/settings.md, ``[scaling]``."""
    pools: dict[str, dict[str, Any]]
    """The same for each pool, with what differs for it."""


class ScalerChanges(Given):
    """Settings to change, all of them or none; a value of null takes a change back."""

    changes: dict[str, Any]
    pool: Annotated[Text, Field(max_length=200)] | None = None
    """Only for this pool; left out: for all."""


class ScalerControl(Given):
    """What the autoscaler is to do."""

    action: Literal["start", "stop", "restart"]


class ScalerTrial(Given):
    """A change to be tried on the past."""

    changes: dict[str, Any]
    pool: Annotated[Text, Field(max_length=200)]
    hours: Annotated[float, Field(gt=0, le=24 * 30)] = 24.0
    """How much of the past."""


class DecisionView(Shown):
    """A recorded decision, with all that it was made of."""

    model_config = ConfigDict(extra="allow", json_schema_extra=described)

    id: int
    at: float
    pool: str


class Decisions(Shown):
    """Decisions, newest first."""

    items: list[DecisionView]
    next: int | None = None
    """Give it as ``before`` to go on; null at the end."""


@router.get(
    "",
    operation_id="get_autoscaler",
    openapi_extra=needs(Access.READ),
    responses={200: {"description": "The autoscaler.", "headers": _VERSION}},
)
async def get_autoscaler(on: On, response: Response) -> Autoscaler:
    """Return who leads, how each pool stands and why, and the settings in force."""
    return await _shown(on, response)


@router.put(
    "",
    operation_id="configure_autoscaler",
    openapi_extra=needs(Access.OPERATE),
    responses={**documented(STALE, NO_PRECONDITION), 200: {"description": "The autoscaler.", "headers": _VERSION}},
)
async def configure_autoscaler(
    wanted: ScalerChanges,
    on: On,
    caller: Caller,
    response: Response,
    if_match: Annotated[str | None, Header(description="The ETag that was seen; * for any.")] = None,
) -> Autoscaler:
    """Change settings while it runs; they hold at once and over restarts."""
    if if_match is None:
        raise Refusal(NO_PRECONDITION, "send If-Match with the ETag of the settings that you have seen")
    async with _one_at_a_time:
        if if_match.strip() != "*" and _version(await on.scaler().settings()) not in if_match:
            raise Refusal(STALE, "the autoscaler's settings have changed meanwhile; get them again")
        await on.scaler().configure(wanted.changes, by=caller.name, pool=wanted.pool)
    return await _shown(on, response)


@router.post("/control", operation_id="control_autoscaler", openapi_extra=needs(Access.OPERATE))
async def control_autoscaler(wanted: ScalerControl, on: On, caller: Caller, response: Response) -> Autoscaler:
    """Stop it, which leaves every pool as it is, or let it go on."""
    if wanted.action in {"stop", "restart"}:
        await on.scaler().stop(by=caller.name)
    if wanted.action in {"start", "restart"}:
        await on.scaler().start(by=caller.name)
    return await _shown(on, response)


@router.get("/history", operation_id="autoscaler_history", openapi_extra=needs(Access.READ))
async def autoscaler_history(
    on: On,
    pool: Annotated[Text | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    before: Annotated[int | None, Query(ge=0, le=2**62, description="``next`` of the page before.")] = None,
) -> Decisions:
    """Return what was decided, with the reasons."""
    found = await on.scaler().history(pool=pool, limit=limit, before=before)
    items = [DecisionView.model_validate(one) for one in found]
    return Decisions(items=items, next=items[-1].id if len(items) == limit else None)


@router.get("/series", operation_id="autoscaler_series", openapi_extra=needs(Access.READ))
async def autoscaler_series(
    on: On,
    pool: Annotated[Text | None, Query(max_length=200)] = None,
    hours: Annotated[float, Query(gt=0, le=24 * 30)] = 24.0,
    slices: Annotated[int, Query(ge=2, le=500)] = 96,
) -> Series:
    """Return queue, longest waits, agents, cost and errors of one pool, or of all, on one time axis.

    With ``cut`` it begins later than asked for, at the oldest of the 20,000 events or runs that are read at most.
    """
    async with on.pasts:
        return await on.scaler().series(pool=pool, seconds=hours * 3600, slices=slices)


@router.post("/preview", operation_id="preview_autoscaler", openapi_extra=needs(Access.OPERATE))
async def preview_autoscaler(wanted: ScalerTrial, on: On) -> Preview:
    """Run the fleet's own past again as the settings are and as they would be; nothing is changed."""
    async with _one_preview_at_a_time, on.pasts:
        return await on.scaler().preview(wanted.changes, pool=wanted.pool, seconds=wanted.hours * 3600)


async def _shown(on: Stage, response: Response) -> Autoscaler:
    force = await on.scaler().settings()
    response.headers["ETag"] = _version(force)
    settings: ScalingSettings = force.settings
    status = await on.scaler().status()
    pools = {one.pool: settings.pool(one.pool).model_dump(mode="json") for one in status.pools}
    return Autoscaler(status=status, settings=settings.model_dump(mode="json"), pools=pools)


def _version(force: InForce) -> str:
    seen = orjson.dumps([force.settings.model_dump(mode="json"), force.stopped], option=orjson.OPT_SORT_KEYS)
    return f'"{hashlib.sha256(seen).hexdigest()[:20]}"'
