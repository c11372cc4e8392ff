"""The neutral inner model: what every provider's request and reply come down to.

A wire turns a request's JSON into a :class:`Turn`, a script answers it with a :class:`Reply`, and the wire turns that
back into the provider's JSON or event stream. Scripts therefore know nothing of providers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

import orjson

if TYPE_CHECKING:
    from ezaigent.testing.faults import Fault


@dataclass(frozen=True, slots=True)
class ToolOffer:
    """A tool that the client offers to the model."""

    name: str
    description: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """JSON schema of the arguments, as sent."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model makes. An empty ``id`` is filled in by the server."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict[str, Any])
    """The arguments; a string is sent as it is where the wire allows it, for malformed ones."""
    id: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the client's tool returned."""

    id: str
    name: str
    text: str
    error: bool = False


@dataclass(slots=True)
class Message:
    """One turn of the conversation. Tool results and the text sent with them are one user message."""

    role: Literal["user", "assistant"]
    text: str = ""
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    results: list[ToolResult] = field(default_factory=list[ToolResult])


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request. ``input_tokens`` includes the cached ones, ``output_tokens`` the reasoning."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model answers."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    """Left out: counted from the conversation, see :func:`ezaigent.testing.usage.count`."""
    fault: Fault | None = None
    """How the answer goes wrong, if the script wants that; counted down by its ``times`` like a planned one."""
    reasoning: str = ""
    """Thinking shown to the client, on the wires that have it."""
    finish: Literal["length", "content_filter"] | None = None
    """Why the answer ended, when it was neither complete nor a tool call."""
    latency: float | None = None
    """Seconds before the first byte; left out: the server's own."""


@dataclass(slots=True, weakref_slot=True)
class Turn:
    """One request, normalised."""

    provider: str
    """First part of the path: ``openai``, ``anthropic``, ``google``, ``mistral``, ``deepseek`` or any other name."""
    model: str
    api: str
    """Wire format: ``chat``, ``responses``, ``messages``, ``generate`` or ``mistral``."""
    system: str
    messages: list[Message]
    tools: list[ToolOffer]
    stream: bool
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Harmless headers only; never a key."""
    raw: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The request's JSON, for assertions on settings that the neutral model leaves out."""
    cache: Literal["auto", "none", "5m", "1h"] = "auto"
    """Prompt caching asked for: by itself, none, or written for five minutes or one hour."""
    include_usage: bool = True
    """Whether a streamed reply tells its usage (Chat Completions: only on demand)."""

    def fingerprint(self) -> str:
        """Return a hash of the messages: equal for the same conversation on any provider, model or wire.

        The system prompt is left out, as it may name a time or a folder. Ids of tool calls count, so two agents
        doing the same work are told apart from their second request on.
        """
        parts: list[bytes] = []
        for message in self.messages:
            parts += (b"\x00", message.role.encode(), b"\x00", _bytes(message.text))
            for call in message.calls:
                arguments = orjson.dumps(call.arguments, option=orjson.OPT_SORT_KEYS)
                parts += (b"\x01", call.id.encode(), b"\x01", call.name.encode(), b"\x01", arguments)
            for result in message.results:
                parts += (b"\x02", result.id.encode(), b"\x02", _bytes(result.text))
        return blake2b(b"".join(parts), digest_size=12).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


class Conversation:
    """A script's view of a turn: nothing but what the client sent, so that scripts need no state of their own."""

    def __init__(self, turn: Turn) -> None:
        """Look at ``turn``; nothing is computed before it is asked for."""
        self._turn = turn

    @cached_property
    def replies(self) -> int:
        """Assistant turns so far: the index of the reply that is due."""
        return sum(message.role == "assistant" for message in self._turn.messages)

    @cached_property
    def prompt(self) -> str:
        """Everything that people wrote, first to last."""
        return "\n".join(message.text for message in self._turn.messages if message.role == "user" and message.text)

    @property
    def said_last(self) -> str:
        """Text of the last user message; empty when it holds tool results only."""
        last = self._turn.messages[-1] if self._turn.messages else None
        return last.text if last is not None and last.role == "user" else ""

    @property
    def results(self) -> list[ToolResult]:
        """Results of the calls made in the last assistant turn."""
        last = self._turn.messages[-1] if self._turn.messages else None
        return last.results if last is not None else []

    @cached_property
    def exchanges(self) -> list[tuple[ToolCall, ToolResult]]:
        """Every call that has a result, with it, in order.

        Paired by position as well as by id: one wire sends no ids at all.
        """
        pairs: list[tuple[ToolCall, ToolResult]] = []
        waiting: list[ToolCall] = []
        for message in self._turn.messages:
            waiting.extend(message.calls)
            for result in message.results:
                match = next((call for call in waiting if call.id and call.id == result.id), None)
                match = match or next((call for call in waiting if call.name == result.name), None)
                if match is not None:
                    waiting.remove(match)
                    pairs.append((match, result))
        return pairs


Script = Callable[[Turn, Conversation], Awaitable[Reply]]
"""Answers one request. Must decide from the conversation alone, so that it survives a restart of either side."""
