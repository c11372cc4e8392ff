"""``/api/v1/agui``: the chat for front ends that speak AG-UI."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from ezaigent.api.access import Access
from ezaigent.api.backstage import Caller, On, Stage
from ezaigent.api.gate import needs
from ezaigent.api.problems import documented
from ezaigent.api.routes.events import EventStream, check_room, still_allowed
from ezaigent.chat import FLEET
from ezaigent.core.errors import UnavailableError

if TYPE_CHECKING:
    from ezaigent.api.agui import AguiRun

router = APIRouter(prefix="/api/v1/agui", tags=["chat"])

Agent = Annotated[str, Path(description="Agent, such as claude-1.", pattern="^[A-Za-z0-9._-]{1,100}$")]

_ALIVE: Final = b": still here\n\n"
_AGAIN: Final = 1.0
"""Seconds before a credential is looked at again after the store was away."""

_BODY: Final[dict[str, Any]] = {
    "type": "object",
    "description": "RunAgentInput of the AG-UI protocol 1.0.",
    "required": ["threadId", "runId", "messages"],
    "properties": {
        "threadId": {"type": "string"},
        "runId": {"type": "string"},
        "messages": {"type": "array", "items": {"type": "object"}},
        "resume": {"type": "array", "items": {"type": "object"}},
    },
}
_ROUTE: Final[dict[str, Any]] = {
    "response_class": EventStream,
    "status_code": 200,
    "openapi_extra": {
        **needs(Access.READ),
        "requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}},
    },
    "responses": {
        **documented(),
        200: {
            "description": "Events of the AG-UI protocol as server-sent events, from RUN_STARTED to RUN_FINISHED or "
            "RUN_ERROR.",
            "content": {
                "text/event-stream": {"schema": {"type": "object", "properties": {"data": {"type": "string"}}}}
            },
        },
    },
}


@router.post("", operation_id="run_agui", **_ROUTE)
async def run_agui(request: Request, on: On, caller: Caller) -> EventStream:
    """Say the input's last message to the fleet, and stream what comes of it."""
    return await _run(request, on, caller, FLEET)


@router.post("/{agent}", operation_id="run_agui_agent", **_ROUTE)
async def run_agui_agent(agent: Agent, request: Request, on: On, caller: Caller) -> EventStream:
    """Say the input's last message to one agent, and stream what comes of it."""
    return await _run(request, on, caller, agent)


async def _run(request: Request, on: Stage, caller: Caller, to: str) -> EventStream:
    from ag_ui.core import RunAgentInput  # a tenth of a second, for those who use it

    from ezaigent.api.agui import AguiRun

    check_room(on)
    try:
        given = RunAgentInput.model_validate_json(await request.body())
    except ValidationError as error:
        found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False, include_input=False)]
        raise RequestValidationError(found) from None
    return EventStream(_pieces(on, request, AguiRun(on, caller, given, to=to)), on)


async def _pieces(on: Stage, request: Request, run: AguiRun) -> AsyncGenerator[bytes]:
    """Yield what is sent; nothing is once the credential counts no more, and nothing while nobody can tell."""
    from ag_ui.encoder import EventEncoder

    from ezaigent.api.agui import HEARTBEAT

    encoder, clock = EventEncoder(), asyncio.get_running_loop().time
    checked = clock()
    async with contextlib.aclosing(run.events()) as events:
        async for event in events:
            while clock() - checked >= HEARTBEAT:
                try:
                    if not await still_allowed(on, request.state.principal, request):
                        return
                    checked = clock()
                except UnavailableError:
                    if on.fanout.closing:
                        return
                    yield _ALIVE
                    await asyncio.sleep(_AGAIN)
            yield _ALIVE if event is None else encoder.encode(event).encode()
