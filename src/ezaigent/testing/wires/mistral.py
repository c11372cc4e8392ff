"""Mistral's chat completions: close to OpenAI's, with its own ids, stream, errors and limit headers."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from ezaigent.testing.wires.base import event, pieces
from ezaigent.testing.wires.chat import ChatWire

if TYPE_CHECKING:
    from ezaigent.testing.conversation import Reply, ToolCall, Turn, Usage
    from ezaigent.testing.limits import Standing

_ERRORS: Final[dict[str, tuple[int, str, str, str | None]]] = {
    "rate_limit": (429, "Rate limit exceeded", "rate_limited", "1300"),
    "quota": (402, "Usage limit reached for this month.", "payment_required", None),
    "billing": (402, "Inactive subscription or usage limit reached", "payment_required", None),
    "auth": (401, "Unauthorized", "unauthorized", None),
    "not_found": (404, "Invalid model", "invalid_model", "1500"),
    "bad_request": (400, "Invalid request", "invalid_request_error", None),
    "context_length": (
        400,
        "Prompt contains more tokens than the model's maximum context length, too large for the model.",
        "invalid_request_prompt",
        "3051",
    ),
    "overloaded": (503, "Service tier capacity exceeded for this model.", "service_tier_capacity_exceeded", "3505"),
    "server_error": (500, "Internal server error", "internal_server_error", "3000"),
}
"""Kind: status, message, type, code."""

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_start = secrets.randbelow(36**8)
_numbers = itertools.count(1)


class MistralWire(ChatWire):
    """Mistral chat completions."""

    api = "mistral"

    def events(self, turn: Turn, reply: Reply, usage: Usage) -> list[bytes]:
        """Return the events of a streamed reply: usage and the end of the last choice come in one event."""
        head = self._head(turn, "chat.completion.chunk")
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        if reply.reasoning:
            deltas.append({"content": [_thinking(reply.reasoning)]})
        deltas += [{"content": piece} for piece in pieces(reply.text)]
        if reply.tool_calls:
            calls = [{**self._call(call), "index": index} for index, call in enumerate(reply.tool_calls)]
            deltas.append({"content": "", "tool_calls": calls})
        chunks = [event(self._chunk(head, delta)) for delta in deltas]
        last = {**self._chunk(head, {"content": ""}, self._finish(reply)), "usage": self._usage(turn, usage)}
        return [*chunks, event(last), b"data: [DONE]\n\n"]

    def error_event(self, message: str) -> bytes:
        """Return the error object that the stream ends with."""
        return event({"object": "error", "message": message, "type": _ERRORS["overloaded"][2], "code": "3505"})

    def error(
        self, kind: str, turn: Turn | None, *, message: str | None, retry_after: float | None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Return an error as Mistral sends it."""
        del turn
        status, usual, kind_name, code = _ERRORS[kind]
        body = {"object": "error", "message": message or usual, "type": kind_name, "param": None, "code": code}
        if kind == "auth":
            return status, orjson.dumps({"detail": message or usual}), {}
        told = retry_after is not None and kind in {"rate_limit", "overloaded"}
        return status, orjson.dumps(body), {"retry-after": f"{max(1, round(retry_after or 0))}"} if told else {}

    def limit_headers(self, standing: Standing) -> dict[str, str]:
        """Return the ``x-ratelimit-*-minute`` headers."""
        headers: dict[str, str] = {}
        for name, bucket in (("req", standing.requests), ("tokens", standing.tokens)):
            if bucket is not None:
                headers[f"x-ratelimit-limit-{name}-minute"] = str(bucket.limit)
                headers[f"x-ratelimit-remaining-{name}-minute"] = str(bucket.remaining)
        if standing.tokens is not None:
            headers["x-ratelimit-tokens-query-cost"] = str(standing.cost)
        return headers

    def _wants_usage(self, body: Mapping[str, Any]) -> bool:
        del body
        return True

    def _content(self, reply: Reply) -> Any:
        if not reply.reasoning:
            return reply.text
        return [_thinking(reply.reasoning), {"type": "text", "text": reply.text}]

    def _call_id(self) -> str:
        """Return nine letters and digits, the only ids that Mistral accepts back."""
        value = (_start + next(_numbers)) % 36**8
        digits: list[str] = []
        for _ in range(8):
            value, digit = divmod(value, 36)
            digits.append(_ALPHABET[digit])
        return "c" + "".join(reversed(digits))

    def _finish(self, reply: Reply) -> str:
        return "error" if reply.finish == "content_filter" else super()._finish(reply)

    def _call(self, call: ToolCall) -> dict[str, Any]:
        return {**super()._call(call), "index": 0}


def _thinking(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}
