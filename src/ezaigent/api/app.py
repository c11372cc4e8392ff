"""The app: routes behind the gate, problems for errors, one OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp

from ezaigent.api import dashboard, page
from ezaigent.api.backstage import Backstage, Stage
from ezaigent.api.gate import COOKIE, Gate
from ezaigent.api.hygiene import Hygiene
from ezaigent.api.metrics import Metrics
from ezaigent.api.models import Problem
from ezaigent.api.oidc.provider import Provider
from ezaigent.api.problems import add_problems
from ezaigent.api.routes import (
    accounts,
    agents,
    agui,
    autoscaler,
    chat,
    costs,
    events,
    github,
    health,
    history,
    mcp,
    oidc,
    plans,
    push,
    session,
    tasks,
    webhooks,
)
from ezaigent.api.stream import Fanout
from ezaigent.api.throttle import SignIns

_LEAST_ZIPPED: Final = 2048
"""Bytes below which an answer is sent as it is. Nothing that holds a secret is as large."""
_LEVEL: Final = 1
"""Of gzip's 9. Lists of JSON become hardly smaller by more, and it takes several times as long."""

ROUTERS: Final[tuple[APIRouter, ...]] = (
    tasks.router,
    plans.router,
    agents.router,
    chat.router,
    agui.router,
    events.router,
    history.router,
    costs.router,
    autoscaler.router,
    session.router,
    oidc.router,
    accounts.router,
    github.router,  # before the webhooks' own ids
    webhooks.router,
    push.router,
    health.router,
    mcp.router,
    page.router,
    dashboard.router,
)


@asynccontextmanager
async def open_app(back: Backstage) -> AsyncGenerator[tuple[ASGIApp, Stage]]:
    """Build the app and start its reader of events."""
    async with Fanout(back.events) as fanout:
        stage = Stage.over(back, fanout)
        try:
            yield guarded(stage), stage
        finally:
            await stage.hearing.aclose()
        await stage.accounts.settled()


def guarded(stage: Stage) -> ASGIApp:
    """Return the app with the gate before it."""
    app = bare_app(stage.version)
    app.state.stage = stage
    app.state.provider = Provider(stage.settings.oidc)
    metrics: Metrics = app.state.metrics
    server = stage.settings.server
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    gate = Gate(app, accounts=stage.accounts, settings=server, routes=routes)
    zipped = GZipMiddleware(gate, minimum_size=_LEAST_ZIPPED, compresslevel=_LEVEL)
    return Hygiene(zipped, max_body=server.max_body, seen=metrics.seen)


def bare_app(version: str = "0") -> FastAPI:
    """Return the routes without a gate and without services: what the OpenAPI document is made of."""
    app = FastAPI(title="Ez Aigent", version=version, openapi_url=None, docs_url=None, redoc_url=None)
    for router in ROUTERS:
        app.include_router(router)
    add_problems(app)
    app.state.metrics = Metrics()
    app.state.sign_ins = SignIns()
    made: list[dict[str, Any]] = []

    def openapi() -> dict[str, Any]:
        if not made:
            made.append(_describe(app))
        return made[0]

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _describe(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary="Steer a fleet of AI coding agents.",
        routes=app.routes,
        servers=[{"url": "/"}],
    )
    parts = document["components"]
    schemas = parts["schemas"]
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    parts["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "ezaigent token create"},
        "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "With X-CSRF-Token on changes."},
    }
    document["security"] = [{"token": []}, {"session": []}]
    return document
