"""One call of one tool: is it known, may the caller, are the arguments usable; and what is said when not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import structlog
from pydantic import BaseModel, ValidationError

from ezaigent.api.access import Principal
from ezaigent.api.audit import Deed, note_change, permit
from ezaigent.api.backstage import Stage
from ezaigent.api.mcp.tools import TOOLS, Tool
from ezaigent.api.problems import Refusal
from ezaigent.core.errors import EzAigentError
from ezaigent.core.logins import without_login

log = structlog.get_logger(__name__)

_KNOWN: Final = {tool.name: tool for tool in TOOLS}
_NAMING: Final = ("task_id", "agent", "pool", "repo")
"""Arguments that say whom or what a call touches."""


class Answer(NamedTuple):
    """What a tool gave back, or one line on why it did not."""

    data: dict[str, Any] | None
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls tools, and from where."""

    on: Stage
    principal: Principal
    address: str
    request: str
    """Id of the request, which the log and audit events have, too."""
    audited: bool = True
    """Whether changes are written down as audit events: over HTTP, but not where a person runs the command."""

    async def call(self, name: str, given: dict[str, Any]) -> Answer:
        """Call a tool. Never raises but for cancellation: a client gets one line, the log has the rest."""
        tool = _KNOWN.get(name)
        if tool is None:
            return Answer(None, f"there is no tool {name[:100]!r}; known: {', '.join(_KNOWN)}")
        try:
            return Answer((await self._called(tool, given)).model_dump(mode="json"))
        except ValidationError as error:
            return Answer(None, _where(error))
        except (EzAigentError, Refusal) as error:
            return Answer(None, " ".join(str(error).split()))
        except Exception:
            log.exception("a tool broke", tool=name, request=self.request)
            return Answer(None, f"{name} could not be done; the server's log has the reason under {self.request}")

    async def _called(self, tool: Tool[Any], given: dict[str, Any]) -> BaseModel:
        deed = Deed(
            principal=self.principal,
            needs=tool.access,
            action=tool.name,
            target={key: without_login(str(given[key])) for key in _NAMING if key in given},
            address=self.address,
            request=self.request,
            change=tool.changes and self.audited,
        )
        await permit(deed, self.on.accounts)
        taken = tool.takes.model_validate(given)
        await note_change(deed, self.on.accounts)
        return await tool.call(self.on, self.principal, taken)


def _where(error: ValidationError) -> str:
    """Say the first mistake, never the value: it may be a secret."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return " ".join(f"{where}: {first['msg']}".split())
