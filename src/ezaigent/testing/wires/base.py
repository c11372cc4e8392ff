"""What a wire format is, and the few things that all of them share."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import orjson

from ezaigent.testing.conversation import Message, ToolResult

if TYPE_CHECKING:
    from ezaigent.testing.conversation import Reply, Turn, Usage
    from ezaigent.testing.limits import Standing

PIECES = 4
"""Pieces that a streamed text or argument string is cut into at least, if it has the length."""
LARGEST = 256
"""Characters of a piece at most."""


class Wire(Protocol):
    """One provider's JSON, in both directions."""

    api: str
    """Name of the format, as told to scripts."""
    stray_arguments: bool
    """Whether a reply can carry arguments that are not JSON."""

    def turn(self, provider: str, model: str, body: Mapping[str, Any]) -> Turn:
        """Normalise a request; ``model`` comes from the path where the format puts it there."""
        ...

    def whole(self, turn: Turn, reply: Reply, usage: Usage) -> bytes:
        """Return the body of a plain reply."""
        ...

    def events(self, turn: Turn, reply: Reply, usage: Usage) -> list[bytes]:
        """Return the events of a streamed reply, each one complete."""
        ...

    def error_event(self, message: str) -> bytes:
        """Return the event that reports an overload in the middle of a stream."""
        ...

    def error(
        self, kind: str, turn: Turn | None, *, message: str | None, retry_after: float | None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Return status, body and headers of an error of this kind."""
        ...

    def limit_headers(self, standing: Standing) -> dict[str, str]:
        """Return the rate-limit headers of this provider."""
        ...


_prefix = secrets.token_hex(5)
_numbers = itertools.count(1)


def new_id(prefix: str) -> str:
    """Return an id like the provider's, unique across restarts of the server."""
    return f"{prefix}{_prefix}{next(_numbers):010x}"


def event(data: object, name: str | None = None) -> bytes:
    """Return one server-sent event."""
    body = orjson.dumps(data)
    return b"data: " + body + b"\n\n" if name is None else b"event: " + name.encode() + b"\ndata: " + body + b"\n\n"


def pieces(text: str) -> list[str]:
    """Cut a text into :data:`PIECES` parts, fewer if it is short, and more if it is long."""
    size = min(max(8, -(-len(text) // PIECES)), LARGEST)
    return [text[start : start + size] for start in range(0, len(text), size)]


def items(value: object) -> list[dict[str, Any]]:
    """Return a JSON array's objects; anything else is empty."""
    return [mapping(item) for item in cast("list[object]", value)] if isinstance(value, list) else []


def mapping(value: object) -> dict[str, Any]:
    """Return a JSON object; anything else is empty."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def text_of(content: object) -> str:
    """Return the text of a message's content: a string, or parts with a text."""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or "") for part in items(content))


def parse_arguments(value: object) -> dict[str, Any] | str:
    """Return a call's arguments as an object, or as they are when they are not one."""
    if not isinstance(value, str):
        return mapping(value)
    try:
        parsed: object = orjson.loads(value or "{}")
    except orjson.JSONDecodeError:
        return value
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else value


def dump_arguments(arguments: Mapping[str, Any] | str) -> str:
    """Return a call's arguments as the JSON text that goes out."""
    return arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()


class Gatherer:
    """Collects a request's entries into turns: neighbours of the same side become one message."""

    def __init__(self) -> None:
        """Start with an empty conversation."""
        self.messages: list[Message] = []
        self.system: list[str] = []
        self._names: dict[str, str] = {}

    def side(self, role: str) -> Message:
        """Return the message to add to: the last one, if it is of this side."""
        wanted = "assistant" if role in {"assistant", "model"} else "user"
        if not self.messages or self.messages[-1].role != wanted:
            self.messages.append(Message(role=wanted))
        return self.messages[-1]

    def say(self, role: str, text: str) -> None:
        """Add a text; an empty assistant text still opens its turn."""
        if role in {"system", "developer"}:
            self.system.append(text)
            return
        message = self.side(role)
        message.text = f"{message.text}\n{text}" if message.text and text else message.text or text

    def name_call(self, call_id: str, name: str) -> None:
        """Remember which tool a call id belongs to."""
        self._names[call_id] = name

    def result(self, call_id: str, text: str, *, name: str = "", error: bool = False) -> None:
        """Add a tool's result."""
        self.side("user").results.append(ToolResult(call_id, name or self._names.get(call_id, ""), text, error))
