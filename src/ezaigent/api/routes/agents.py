"""``/api/v1/agents`` and ``/api/v1/queue``: who works, and what waits."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query
from pydantic import Field

from ezaigent.api.access import Access
from ezaigent.api.backstage import Caller, On
from ezaigent.api.gate import needs
from ezaigent.api.models import AgentList, AgentMessage, Steered, Text
from ezaigent.api.problems import documented
from ezaigent.api.routes import kinds
from ezaigent.fleet import Status
from ezaigent.tasks import QueueStats

router = APIRouter(prefix="/api/v1", tags=["fleet"], responses=documented())
router.include_router(kinds.router)

Name = Annotated[
    str, Path(description="Agent, such as claude-1; a profile for its agents; all.", pattern="^[A-Za-z0-9._-]{1,100}$")
]


@router.get("/agents", operation_id="list_agents", openapi_extra=needs(Access.READ))
async def list_agents(
    on: On,
    status: Annotated[list[Status] | None, Query(description="Only agents with one of these.")] = None,
    profile: Annotated[
        list[Annotated[Text, Field(max_length=200)]] | None,
        Query(description="Only agents of these profiles.", max_length=100),
    ] = None,
) -> AgentList:
    """List the agents that exist, and paused ones that do not, each with its derived status; all of them, no pages."""
    return AgentList(
        items=[
            agent
            for agent in await on.roster.agents()
            if (not status or agent.status in status) and (not profile or agent.profile in profile)
        ]
    )


@router.post("/agents/{name}/pause", operation_id="pause_agent", openapi_extra=needs(Access.OPERATE))
async def pause_agent(name: Name, on: On, caller: Caller) -> Steered:
    """Let agents take no task and make no further step; they stay paused over restarts."""
    return Steered(agents=await on.steer("pause", name, by=caller.name))


@router.post("/agents/{name}/resume", operation_id="resume_agent", openapi_extra=needs(Access.OPERATE))
async def resume_agent(name: Name, on: On, caller: Caller) -> Steered:
    """Let paused agents go on."""
    return Steered(agents=await on.steer("resume", name, by=caller.name))


@router.post("/agents/{name}/drain", operation_id="drain_agent", openapi_extra=needs(Access.OPERATE))
async def drain_agent(name: Name, on: On, caller: Caller) -> Steered:
    """Let agents finish what they do and then go."""
    return Steered(agents=await on.drain(name, by=caller.name))


@router.post("/agents/{name}/message", operation_id="message_agent", openapi_extra=needs(Access.OPERATE))
async def message_agent(
    name: Name,
    message: AgentMessage,
    on: On,
    caller: Caller,
    idempotency_key: Annotated[
        str | None,
        Header(description="The same key a hundred times is one message.", min_length=1, max_length=200),
    ] = None,
) -> Steered:
    """Write to agents that work on a task; delivered before their next model request."""
    return Steered(agents=await on.tell(name, message.text, by=caller.name, key=idempotency_key))


@router.get("/queue", operation_id="get_queue", openapi_extra=needs(Access.READ))
async def get_queue(on: On) -> QueueStats:
    """Return how deep the queue is and how long it waits."""
    return await on.queue.stats()
