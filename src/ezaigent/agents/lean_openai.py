"""The OpenAI SDK's client without its walk over every message of the history.

Before each request the SDK walks the whole body to rename aliased keys and to turn dates and files into text. No type
of a chat or a response has such a key or value, and the walk is most of the CPU that an agent's step costs: two
thirds with Chat Completions, five sixths with Responses, growing with the history. ``extra_body`` is the SDK's public
way to send fields as they are, so the big ones go there. A test compares the bodies of both clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from openai import AsyncOpenAI
from openai.resources.chat.chat import AsyncChat
from openai.resources.chat.completions import AsyncCompletions
from openai.resources.responses import AsyncResponses

if TYPE_CHECKING:
    cached_property = property  # as the SDK declares the properties that are replaced here
else:
    from functools import cached_property

_AS_THEY_ARE: Final = ("messages", "input", "tools")


def _beside(fields: dict[str, Any]) -> dict[str, Any]:
    """Move the fields that need no walk into ``extra_body``."""
    given: dict[str, Any] = fields.get("extra_body") or {}
    heavy = {name: list(fields[name]) for name in _AS_THEY_ARE if isinstance(fields.get(name), (list, tuple))}
    # The caller's own extra fields win, as they do in the SDK.
    return {**fields, **{name: [] for name in heavy}, "extra_body": {**heavy, **given}}


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
