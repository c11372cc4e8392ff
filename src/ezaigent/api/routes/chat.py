"""``/api/v1/chat``: the conversations with the fleet and with each agent, the same as on the command line."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query

from ezaigent.api.access import Access
from ezaigent.api.backstage import Caller, On
from ezaigent.api.chat_models import (
    ChatAgents,
    ChatLine,
    ChatPage,
    CommandForm,
    Commands,
    Confirmations,
    Conversation,
    Conversations,
    ProfileFacts,
)
from ezaigent.api.gate import needs
from ezaigent.api.models import Text
from ezaigent.api.problems import documented
from ezaigent.chat import FLEET, GRAMMAR, KEPT, Reply

router = APIRouter(prefix="/api/v1/chat", tags=["chat"], responses=documented())

Token = Annotated[str, Path(description="``token`` of a confirmation.", pattern="^[0-9a-f]{8}$")]

_READ = needs(Access.READ)
_OPERATE = needs(Access.OPERATE)


@router.get("/conversations", operation_id="list_conversations", openapi_extra=_READ)
async def list_conversations(on: On) -> Conversations:
    """List the conversations: the whole fleet's, then one for each agent that is there or was spoken to."""
    newest = await on.chat.conversations()
    agents = {agent.name: agent for agent in await on.chat.agents()}
    names = dict.fromkeys([FLEET, *sorted(agents), *sorted(newest)])
    return Conversations(
        items=[Conversation(name=name, newest=newest.get(name), agent=agents.get(name)) for name in names]
    )


@router.get("/messages", operation_id="list_messages", openapi_extra=_READ)
async def list_messages(
    on: On,
    conversation: Annotated[Text, Query(description="``fleet``, or an agent.", max_length=200)] = FLEET,
    limit: Annotated[int, Query(ge=1, le=KEPT)] = 100,
    before: Annotated[int | None, Query(ge=0, le=2**62, description="``next`` of the page before.")] = None,
    after: Annotated[int | None, Query(ge=0, le=2**62, description="Only what is newer than this id.")] = None,
) -> ChatPage:
    """Return a conversation's newest messages, oldest first; it keeps the last 1,000."""
    found = await on.chat.history(conversation, limit=limit, before=before, after=after)
    return ChatPage(items=found, next=found[0].id if len(found) == limit else None)


@router.post("/messages", operation_id="say", openapi_extra=_READ)
async def say(
    line: ChatLine,
    on: On,
    caller: Caller,
    idempotency_key: Annotated[
        Text | None,
        Header(description="A line with the same key is taken once and gets the same reply.", max_length=200),
    ] = None,
) -> Reply:
    """Say a line to the fleet or to one agent: a slash command, a sentence, or words for the agent.

    Whoever may only read may use the commands that only look.
    """
    may_change, key = caller.access >= Access.OPERATE, idempotency_key
    return await on.chat.say(line.text, by=caller.name, to=line.to, repo=line.repo, may_change=may_change, key=key)


@router.get("/confirmations", operation_id="list_confirmations", openapi_extra=_READ)
async def list_confirmations(on: On, caller: Caller) -> Confirmations:
    """List what waits for the caller's yes."""
    return Confirmations(items=await on.chat.waiting(by=caller.name))


@router.post("/confirmations/{token}/confirm", operation_id="confirm", openapi_extra=_OPERATE)
async def confirm(token: Token, on: On, caller: Caller) -> Reply:
    """Do what was shown, once; 404 where it was answered already, or too late."""
    return await on.chat.decide(token, yes=True, by=caller.name)


@router.post("/confirmations/{token}/drop", operation_id="drop", openapi_extra=_OPERATE)
async def drop(token: Token, on: On, caller: Caller) -> Reply:
    """Leave what was shown undone."""
    return await on.chat.decide(token, yes=False, by=caller.name)


@router.get("/agents", operation_id="list_chat_agents", openapi_extra=_READ)
async def list_chat_agents(on: On) -> ChatAgents:
    """List whom one can speak to, with specialties and derived status, and what kinds of agents there are."""
    kinds = on.chat.profiles()
    return ChatAgents(
        items=list(await on.chat.agents()),
        profiles=[ProfileFacts(name=name, specialties=list(kinds[name])) for name in kinds],
    )


@router.get("/commands", operation_id="list_commands", openapi_extra=_READ)
async def list_commands() -> Commands:
    """List the slash commands, for a client that completes them."""
    return Commands(items=[CommandForm(name=one.name, form=one.form, meaning=one.meaning) for one in GRAMMAR])
