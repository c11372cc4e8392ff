"""Beside the API: probes, metrics, and the description of the API itself."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from ezaigent.api.access import Access
from ezaigent.api.backstage import On
from ezaigent.api.gate import needs
from ezaigent.api.metrics import CONTENT_TYPE, Metrics
from ezaigent.api.models import Health
from ezaigent.api.problems import documented
from ezaigent.core.errors import UnavailableError

router = APIRouter(tags=["health"])

_HEALTH: dict[int | str, dict[str, Any]] = {503: {"description": "Not able to work now.", "model": Health}}


@router.get("/healthz", operation_id="healthz", openapi_extra=needs(None))
async def healthz() -> Health:
    """Tell that the process answers."""
    return Health(status="ok")


@router.get("/readyz", operation_id="readyz", openapi_extra=needs(None), responses=_HEALTH, response_model=Health)
async def readyz(on: On) -> Response:
    """Tell whether requests can be served: the store answers, and the server is not stopping."""
    try:
        await on.events.head()
        store: Literal["ok", "unavailable"] = "ok"
    except UnavailableError:
        store = "unavailable"
    serving: Literal["ok", "unavailable"] = "unavailable" if on.fanout.closing else "ok"
    good = store == serving == "ok"
    health = Health(status="ok" if good else "unavailable", checks={"store": store, "server": serving})
    return JSONResponse(health.model_dump(), 200 if good else 503)


@router.get(
    "/metrics",
    operation_id="metrics",
    openapi_extra=needs(Access.READ),
    response_class=Response,
    responses={
        **documented(),
        200: {"description": "Prometheus text.", "content": {"text/plain": {"schema": {"type": "string"}}}},
    },
)
async def metrics(on: On, request: Request) -> Response:
    """Return the metrics as Prometheus reads them."""
    found = request.app.state.metrics
    assert isinstance(found, Metrics)
    return Response(await found.collect(on), media_type=CONTENT_TYPE)


@router.get(
    "/openapi.json",
    operation_id="openapi",
    openapi_extra=needs(Access.READ),
    responses=documented(),
)
async def openapi(request: Request) -> dict[str, Any]:
    """Return this API's OpenAPI 3.1 document."""
    document: dict[str, Any] = request.app.openapi()
    return document
