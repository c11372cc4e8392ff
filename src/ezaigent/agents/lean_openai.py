"""The OpenAI SDK's client without its walk over every message of the history.

Before each request the SDK walks the whole body to rename aliased keys and to turn dates and files into text. No type
of a chat or a response has such a key or value, and the walk is most of the CPU that an agent's step costs: two
thirds with Chat Completions, five sixths with Responses, growing with the history. ``extra_body`` is the SDK's public
way to send fields as they are, so all but a few go there. A test compares the bodies of both clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from openai import AsyncOpenAI, NotGiven, Omit
from openai.resources.chat.chat import AsyncChat
from openai.resources.chat.completions import AsyncCompletions
from openai.resources.responses import AsyncResponses

if TYPE_CHECKING:
    cached_property = property  # as the SDK declares the properties that are replaced here
else:
    from functools import cached_property

_OF_THE_CALL: Final = frozenset({"model", "stream", "extra_headers", "extra_query", "extra_body", "timeout"})
"""What the SDK itself looks at; everything else is a field of the body."""
_REQUIRED: Final = ("messages", "input")


def _beside(fields: dict[str, Any]) -> dict[str, Any]:
    """Move the fields of the body into ``extra_body``."""
    call = {name: value for name, value in fields.items() if name in _OF_THE_CALL}
    body = {
        name: value
        for name, value in fields.items()
        if name not in _OF_THE_CALL and not isinstance(value, (NotGiven, Omit))
    }
    call |= {name: [] for name in _REQUIRED if name in body}
    # The caller's own extra fields win, as they do in the SDK.
    return {**call, "extra_body": {**body, **(fields.get("extra_body") or {})}}


class _LeanCompletions(AsyncCompletions):
    async def create(self, **fields: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        plain: Any = super()
        return await plain.create(**_beside(fields))


class _LeanChat(AsyncChat):
    @cached_property
    def completions(self) -> AsyncCompletions:
        return _LeanCompletions(self._client)


class _LeanResponses(AsyncResponses):
    async def create(self, **fields: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        plain: Any = super()
        return await plain.create(**_beside(fields))


class LeanOpenAI(AsyncOpenAI):
    """``AsyncOpenAI`` whose two ways to ask a model send histories and tools untouched."""

    @cached_property
    def chat(self) -> AsyncChat:
        """The Chat Completions API."""
        return _LeanChat(self)

    @cached_property
    def responses(self) -> AsyncResponses:
        """The Responses API."""
        return _LeanResponses(self)
