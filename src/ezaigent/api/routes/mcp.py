"""``/mcp``: the tools for programs that speak the Model Context Protocol, over streamable HTTP."""

from __future__ import annotations

import asyncio
from importlib import import_module

from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from ezaigent.api.access import Access
from ezaigent.api.backstage import Address, On
from ezaigent.api.backstage import Caller as Who
from ezaigent.api.gate import INSIDE_KEY, needs
from ezaigent.api.mcp.calling import Caller
from ezaigent.api.problems import request_id

router = APIRouter(include_in_schema=False)  # it has a description of its own: the list of tools


class _Answer(Response):
    """What the library answers."""

    def __init__(self, caller: Caller) -> None:
        super().__init__()
        self._caller = caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        library = await asyncio.to_thread(import_module, "ezaigent.api.mcp.library")  # takes a second, once
        await library.over_http(self._caller, scope, receive, send)


@router.post("/mcp", openapi_extra={**needs(Access.READ), INSIDE_KEY: True}, response_class=_Answer)
async def mcp(on: On, who: Who, address: Address, request: Request) -> _Answer:
    """Answer one message; each tool has an access of its own."""
    return _Answer(Caller(on=on, principal=who, address=address, request=request_id(request.scope)))
