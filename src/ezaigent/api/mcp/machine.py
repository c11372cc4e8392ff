"""The tools on standard input and output, for a program that runs the command on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ezaigent.api.access import Access, Principal
from ezaigent.api.backstage import Backstage, Stage
from ezaigent.api.mcp.calling import Caller
from ezaigent.api.mcp.library import over_stdio
from ezaigent.api.stream import Fanout
from ezaigent.core.ids import new_id
from ezaigent.tasks import NewTask


async def serve_stdio(back: Backstage, *, by: str, place: Callable[[str], str]) -> None:
    """Serve until the client closes its end.

    Whoever runs the command may what the command line may, as ``by``; ``place`` makes a repository's path absolute.
    """

    async def admit(new: NewTask) -> NewTask:
        return await back.admit(new.model_copy(update={"repo": place(new.repo)}))

    stage = Stage.over(replace(back, admit=admit), Fanout(back.events))
    person = Principal(name=by, access=Access.ADMIN, via="token", key="this machine", user=None)
    caller = Caller(on=stage, principal=person, address="this machine", request=new_id(), audited=False)
    await over_stdio(caller)
