"""The wire formats, and which path speaks which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ezaigent.testing.wires.anthropic import AnthropicWire
from ezaigent.testing.wires.chat import ChatWire
from ezaigent.testing.wires.gemini import GeminiWire
from ezaigent.testing.wires.mistral import MistralWire
from ezaigent.testing.wires.responses import ResponsesWire

if TYPE_CHECKING:
    from ezaigent.testing.wires.base import Wire

_CHAT: Final = ChatWire()
_MISTRAL: Final = MistralWire()
_RESPONSES: Final = ResponsesWire()
_ANTHROPIC: Final = AnthropicWire()
_GEMINI: Final = GeminiWire()


def route(path: str) -> tuple[Wire, str, str, str] | None:
    """Return wire, provider, model (where the path names it) and verb for a path; None when nothing speaks there.

    The first part of the path is the provider's name and the end tells the format, so that any name works:
    ``/my-gateway/v1/chat/completions`` is provider ``my-gateway``, Chat Completions.
    """
    provider, _, tail = path.lstrip("/").partition("/")
    if tail.endswith("chat/completions"):
        return (_MISTRAL if provider == "mistral" else _CHAT), provider, "", "complete"
    if tail.endswith("v1/messages"):
        return _ANTHROPIC, provider, "", "complete"
    if tail.endswith("v1/messages/count_tokens"):
        return _ANTHROPIC, provider, "", "count"
    if tail.endswith("responses"):
        return _RESPONSES, provider, "", "complete"
    name, _, verb = tail.rpartition("/")[2].partition(":")
    verbs = {"generateContent": "complete", "streamGenerateContent": "stream", "countTokens": "count"}
    return (_GEMINI, provider, name, verbs[verb]) if verb in verbs else None


__all__ = ["route"]
