"""``/api/v1/users`` and ``/api/v1/tokens``: who may come in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from ezaigent.api.access import SCOPES, Access
from ezaigent.api.backstage import Address, Caller, On
from ezaigent.api.gate import needs
from ezaigent.api.models import CreatedToken, NewToken, NewUser, TokenList, UserList, UserView
from ezaigent.api.problems import FORBIDDEN, Refusal, documented

router = APIRouter(prefix="/api/v1", tags=["accounts"], responses=documented())

Name = Annotated[str, Path(pattern="^[a-z0-9][a-z0-9._@-]{0,63}$")]


@router.get("/users", operation_id="list_users", openapi_extra=needs(Access.ADMIN))
async def list_users(on: On) -> UserList:
    """List the people who may sign in."""
    return UserList(items=await on.accounts.users())


@router.post("/users", operation_id="add_user", status_code=201, openapi_extra=needs(Access.ADMIN))
async def add_user(given: NewUser, on: On, caller: Caller, address: Address) -> UserView:
    """Let a person in."""
    return await on.accounts.add_user(given.name, given.password, given.role, by=caller.name, address=address)


@router.delete("/users/{name}", operation_id="remove_user", status_code=204, openapi_extra=needs(Access.ADMIN))
async def remove_user(name: Name, on: On, caller: Caller, address: Address) -> None:
    """Remove a person, with every session and token."""
    await on.accounts.remove_user(name, by=caller.name, address=address)


@router.get("/tokens", operation_id="list_tokens", openapi_extra=needs(Access.READ))
async def list_tokens(on: On, caller: Caller) -> TokenList:
    """List the caller's tokens; an administrator sees all."""
    if caller.access is not Access.ADMIN and caller.user is None:
        return TokenList(items=[])
    return TokenList(items=await on.accounts.tokens(None if caller.access is Access.ADMIN else caller.user))


@router.post("/tokens", operation_id="create_token", status_code=201, openapi_extra=needs(Access.READ))
async def create_token(given: NewToken, on: On, caller: Caller, address: Address) -> CreatedToken:
    """Make a token, at most as mighty as its maker; its secret is shown this once."""
    if caller.via == "token" and caller.access is not Access.ADMIN:
        raise Refusal(FORBIDDEN, "a token makes no tokens, unless it is an administrator's; sign in")
    if SCOPES[given.scope] > caller.access:
        raise Refusal(FORBIDDEN, f"{caller.name} may {caller.access.name.lower()}, so no token for {given.scope}")
    view, text = await on.accounts.create_token(
        given.name, given.scope, owner=caller.user, days=given.days, by=caller.name, address=address
    )
    return CreatedToken(**view.model_dump(), token=text)


@router.delete("/tokens/{key}", operation_id="revoke_token", status_code=204, openapi_extra=needs(Access.READ))
async def revoke_token(
    key: Annotated[str, Path(description="Id of the token.", pattern="^[0-9a-z]{16}$")],
    on: On,
    caller: Caller,
    address: Address,
) -> None:
    """Revoke a token at once: an administrator any, others their own."""
    admin = caller.access is Access.ADMIN
    if not admin and caller.user is None:
        raise Refusal(FORBIDDEN, "this token belongs to nobody, so it has no tokens to revoke")
    await on.accounts.revoke(key, owner=None if admin else caller.user, by=caller.name, address=address)
