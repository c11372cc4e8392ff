"""The OpenAI SDK's client without its walks over every message and every answer.

Before each request the SDK walks the whole body to rename aliased keys and to turn dates and files into text. No type
of a chat or a response has such a key or value, and the walk is most of the CPU that an agent's step costs: two
thirds with Chat Completions, five sixths with Responses, growing with the history. ``client.post`` is the SDK's public
way to send a body as it is. An answer of Chat Completions is read by pydantic; only one that is not as the SDK's type
says is put together field by field, as the SDK does with all. A test compares the bodies of both clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from openai import AsyncOpenAI, AsyncStream, NotGiven, Omit
from openai.resources.chat.chat import AsyncChat
from openai.resources.chat.completions import AsyncCompletions
from openai.resources.responses import AsyncResponses
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import ValidationError

if TYPE_CHECKING:
    cached_property = property  # as the SDK declares the properties that are replaced here
else:
    from functools import cached_property

_OF_THE_CALL: Final = frozenset({"extra_headers", "extra_query", "extra_body", "timeout"})
"""What is about the request; everything else is a field of its body."""


def _request(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``client.post`` takes for the fields of a call to ``create``."""
    given = {name: value for name, value in fields.items() if not isinstance(value, (NotGiven, Omit))}
    body = {name: value for name, value in given.items() if name not in _OF_THE_CALL}
    options: dict[str, Any] = {"security": {"bearer_auth": True}}
    if given.get("extra_headers") is not None:
        options["headers"] = given["extra_headers"]
    if given.get("extra_query") is not None:
        options["params"] = given["extra_query"]
    if "timeout" in given:
        options["timeout"] = given["timeout"]
    # The caller's own extra fields win, as they do in the SDK.
    return {"body": body | (given.get("extra_body") or {}), "options": options, "stream": bool(body.get("stream"))}


class _Answer(ChatCompletion):
    """An answer, read by pydantic where it is one as the type says."""

    @classmethod
    def construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Self:
        """Return the answer with these values, which the SDK would put together one by one."""
        try:
            return cls.model_validate(values)
        except ValidationError:
            return super().construct(_fields_set, **values)


class _LeanCompletions(AsyncCompletions):
    async def create(self, **fields: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        streaming = AsyncStream[ChatCompletionChunk]
        return await self._client.post("/chat/completions", cast_to=_Answer, stream_cls=streaming, **_request(fields))


class _LeanChat(AsyncChat):
    @cached_property
    def completions(self) -> AsyncCompletions:
        return _LeanCompletions(self._client)


class _LeanResponses(AsyncResponses):
    async def create(self, **fields: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        streaming = AsyncStream[ResponseStreamEvent]
        return await self._client.post("/responses", cast_to=Response, stream_cls=streaming, **_request(fields))


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
