"""Anthropic Messages."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from ezaigent.testing.conversation import ToolCall, ToolOffer, Turn
from ezaigent.testing.wires.base import Gatherer, dump_arguments, event, items, mapping, new_id, pieces, text_of

if TYPE_CHECKING:
    from ezaigent.testing.conversation import Reply, Usage
    from ezaigent.testing.limits import Standing

_ERRORS: Final[dict[str, tuple[int, str, str]]] = {
    "rate_limit": (429, "rate_limit_error", "This request would exceed your organization's rate limit."),
    "quota": (400, "invalid_request_error", "You have reached your specified API usage limits."),
    "billing": (
        400,
        "invalid_request_error",
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to purchase credits.",
    ),
    "auth": (401, "authentication_error", "invalid x-api-key"),
    "not_found": (404, "not_found_error", "model: unknown"),
    "bad_request": (400, "invalid_request_error", "messages: the request is not valid"),
    "context_length": (400, "invalid_request_error", "prompt is too long: 200001 tokens > 200000 maximum"),
    "overloaded": (529, "overloaded_error", "Overloaded"),
    "server_error": (500, "api_error", "Internal server error"),
}
"""Kind: status, type, message."""

_STOP: Final = {"length": "max_tokens", "content_filter": "refusal", None: "end_turn"}


class AnthropicWire:
    """The Messages API, its beta header's variant included."""

    api = "messages"
    stray_arguments = False

    def turn(self, provider: str, model: str, body: Mapping[str, Any]) -> Turn:
        """Normalise a request."""
        gatherer = Gatherer()
        marks: set[str] = set()
        _note(body, marks)
        system = body.get("system")
        for block in items(system):
            _note(block, marks)
        for entry in items(body.get("messages")):
            role = str(entry.get("role"))
            content = entry.get("content")
            if isinstance(content, str):
                gatherer.say(role, content)
            for block in items(content):
                _note(block, marks)
                _read_block(gatherer, role, block)
        offers = items(body.get("tools"))
        for tool in offers:
            _note(tool, marks)
        return Turn(
            provider=provider,
            model=str(body.get("model") or model),
            api=self.api,
            system=text_of(system) + "\n".join(gatherer.system),
            messages=gatherer.messages,
            tools=[
                ToolOffer(str(t.get("name")), str(t.get("description") or ""), mapping(t.get("input_schema")))
                for t in offers
                if "input_schema" in t
            ],
            stream=bool(body.get("stream")),
            raw=body,
            cache=_lifetime(marks),
        )

    def whole(self, turn: Turn, reply: Reply, usage: Usage) -> bytes:
        """Return the body of a plain reply."""
        message = self._message(turn, usage)
        message["content"] = [self._block(block) for block in self._blocks(reply)]
        message["stop_reason"] = self._stop(reply)
        return orjson.dumps(message)

    def events(self, turn: Turn, reply: Reply, usage: Usage) -> list[bytes]:
        """Return the events of a streamed reply."""
        opening = self._message(turn, usage)
        opening["usage"] = {**opening["usage"], "output_tokens": 1}
        plan: list[dict[str, Any]] = [{"type": "message_start", "message": opening}, {"type": "ping"}]
        for index, (kind, value) in enumerate(self._blocks(reply)):
            start, deltas = self._streamed(kind, value)
            plan.append({"type": "content_block_start", "index": index, "content_block": start})
            plan += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
            plan.append({"type": "content_block_stop", "index": index})
        delta = {"stop_reason": self._stop(reply), "stop_sequence": None}
        plan.append({"type": "message_delta", "delta": delta, "usage": _usage(usage)})
        plan.append({"type": "message_stop"})
        return [event(data, data["type"]) for data in plan]

    def error_event(self, message: str) -> bytes:
        """Return the event that reports an overload in the middle of a stream."""
        return event({"type": "error", "error": {"type": "overloaded_error", "message": message}}, "error")

    def error(
        self, kind: str, turn: Turn | None, *, message: str | None, retry_after: float | None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Return an error as Anthropic sends it."""
        del turn
        status, kind_name, usual = _ERRORS[kind]
        request_id = new_id("req_")
        body = {"type": "error", "error": {"type": kind_name, "message": message or usual}, "request_id": request_id}
        headers = {"request-id": request_id, "x-should-retry": "true" if status >= 429 else "false"}  # noqa: PLR2004
        if retry_after is not None and kind in {"rate_limit", "overloaded"}:
            headers["retry-after"] = f"{max(1, round(retry_after))}"
        return status, orjson.dumps(body), headers

    def limit_headers(self, standing: Standing) -> dict[str, str]:
        """Return the ``anthropic-ratelimit-*`` headers."""
        headers: dict[str, str] = {}
        for name, bucket in (("requests", standing.requests), ("tokens", standing.tokens)):
            if bucket is not None:
                reset = datetime.fromtimestamp(time.time() + bucket.reset, UTC)
                headers[f"anthropic-ratelimit-{name}-limit"] = str(bucket.limit)
                headers[f"anthropic-ratelimit-{name}-remaining"] = str(bucket.remaining)
                headers[f"anthropic-ratelimit-{name}-reset"] = reset.isoformat(timespec="seconds").replace(
                    "+00:00", "Z"
                )
        return headers

    def _message(self, turn: Turn, usage: Usage) -> dict[str, Any]:
        return {
            "id": new_id("msg_"),
            "type": "message",
            "role": "assistant",
            "model": turn.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage(usage),
        }

    def _stop(self, reply: Reply) -> str:
        return "tool_use" if reply.tool_calls and reply.finish is None else _STOP[reply.finish]

    def _blocks(self, reply: Reply) -> list[tuple[str, Any]]:
        blocks: list[tuple[str, Any]] = []
        if reply.reasoning:
            blocks.append(("thinking", reply.reasoning))
        if reply.text:
            blocks.append(("text", reply.text))
        return blocks + [("tool_use", call) for call in reply.tool_calls]

    def _block(self, block: tuple[str, Any]) -> dict[str, Any]:
        kind, value = block
        if kind == "text":
            return {"type": "text", "text": value, "citations": None}
        if kind == "thinking":
            return {"type": "thinking", "thinking": value, "signature": "scripted"}
        call: ToolCall = value
        arguments: Mapping[str, Any] = {} if isinstance(call.arguments, str) else call.arguments
        return {"type": "tool_use", "id": call.id or new_id("toolu_"), "name": call.name, "input": arguments}

    def _streamed(self, kind: str, value: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        block = self._block((kind, value))
        if kind == "text":
            return {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(value)]
        if kind == "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(value)]
            signature = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [*deltas, signature]
        parts = pieces(dump_arguments(value.arguments))
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]


def _read_block(gatherer: Gatherer, role: str, block: dict[str, Any]) -> None:
    kind = block.get("type")
    if kind == "text":
        gatherer.say(role, str(block.get("text") or ""))
    elif kind == "tool_use":
        call = ToolCall(str(block.get("name")), mapping(block.get("input")), str(block.get("id") or ""))
        gatherer.name_call(call.id, call.name)
        gatherer.side("assistant").calls.append(call)
    elif kind == "tool_result":
        error = bool(block.get("is_error"))
        gatherer.result(str(block.get("tool_use_id") or ""), text_of(block.get("content")), error=error)
    else:
        gatherer.side(role)


def _note(block: Mapping[str, Any], marks: set[str]) -> None:
    control = block.get("cache_control")
    if control:
        marks.add(str(mapping(control).get("ttl") or "5m"))


def _lifetime(marks: set[str]) -> Literal["none", "5m", "1h"]:
    if not marks:
        return "none"
    return "1h" if "1h" in marks else "5m"


def _usage(usage: Usage) -> dict[str, Any]:
    written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    return {
        "input_tokens": usage.input_tokens - usage.cache_read_tokens - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        "service_tier": "standard",
    }
