"""OpenAI Chat Completions, as spoken by OpenAI, DeepSeek and every compatible server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from ezaigent.testing.conversation import ToolCall, ToolOffer, Turn
from ezaigent.testing.wires import openai_errors
from ezaigent.testing.wires.base import (
    Gatherer,
    dump_arguments,
    event,
    items,
    mapping,
    new_id,
    parse_arguments,
    pieces,
    text_of,
)

if TYPE_CHECKING:
    from ezaigent.testing.conversation import Reply, Usage
    from ezaigent.testing.limits import Standing


class ChatWire:
    """Chat Completions."""

    api = "chat"
    stray_arguments = True
    _call_prefix = "call_"

    def turn(self, provider: str, model: str, body: Mapping[str, Any]) -> Turn:
        """Normalise a request."""
        gatherer = Gatherer()
        for entry in items(body.get("messages")):
            role = str(entry.get("role"))
            if role == "tool":
                call_id = str(entry.get("tool_call_id") or "")
                gatherer.result(call_id, text_of(entry.get("content")), name=str(entry.get("name") or ""))
                continue
            gatherer.say(role, text_of(entry.get("content")))
            for item in items(entry.get("tool_calls")):
                function = mapping(item.get("function"))
                call = ToolCall(
                    str(function.get("name")), parse_arguments(function.get("arguments")), str(item.get("id") or "")
                )
                gatherer.name_call(call.id, call.name)
                gatherer.side("assistant").calls.append(call)
        offers = [mapping(tool.get("function")) for tool in items(body.get("tools"))]
        return Turn(
            provider=provider,
            model=str(body.get("model") or model),
            api=self.api,
            system="\n".join(gatherer.system),
            messages=gatherer.messages,
            tools=[
                ToolOffer(str(f.get("name")), str(f.get("description") or ""), mapping(f.get("parameters")))
                for f in offers
            ],
            stream=bool(body.get("stream")),
            raw=body,
            include_usage=self._wants_usage(body),
        )

    def _wants_usage(self, body: Mapping[str, Any]) -> bool:
        return bool(mapping(body.get("stream_options")).get("include_usage"))

    def whole(self, turn: Turn, reply: Reply, usage: Usage) -> bytes:
        """Return the body of a plain reply."""
        message: dict[str, Any] = {"role": "assistant", "content": self._content(reply), "refusal": None}
        if reply.reasoning and turn.provider == "deepseek":
            message["reasoning_content"] = reply.reasoning
        if reply.tool_calls:
            message["tool_calls"] = [self._call(call) for call in reply.tool_calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish(reply)}
        return orjson.dumps(
            {
                **self._head(turn, "chat.completion"),
                "choices": [choice],
                "usage": self._usage(turn, usage),
            }
        )

    def events(self, turn: Turn, reply: Reply, usage: Usage) -> list[bytes]:
        """Return the events of a streamed reply."""
        head = self._head(turn, "chat.completion.chunk")
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        if turn.provider == "deepseek":
            deltas += [{"reasoning_content": piece} for piece in pieces(reply.reasoning)]
        deltas += [{"content": piece} for piece in pieces(reply.text)]
        for index, call in enumerate(reply.tool_calls):
            deltas += self._call_deltas(index, call)
        chunks = [event(self._chunk(head, delta)) for delta in deltas]
        last = self._chunk(head, {}, self._finish(reply))
        if turn.include_usage and self._usage_in_last_choice(turn):
            last["usage"] = self._usage(turn, usage)
        chunks.append(event(last))
        if turn.include_usage and not self._usage_in_last_choice(turn):
            chunks.append(event({**head, "choices": [], "usage": self._usage(turn, usage)}))
        chunks.append(b"data: [DONE]\n\n")
        return chunks

    def error_event(self, message: str) -> bytes:
        """Return the event that reports an overload in the middle of a stream."""
        return event(
            {"error": {"message": message, "type": "server_error", "param": None, "code": "server_overloaded"}}
        )

    def error(
        self, kind: str, turn: Turn | None, *, message: str | None, retry_after: float | None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Return an error as OpenAI or, by the name in the path, DeepSeek sends it."""
        return openai_errors.error(kind, turn, message=message, retry_after=retry_after)

    def limit_headers(self, standing: Standing) -> dict[str, str]:
        """Return the ``x-ratelimit-*`` headers."""
        return openai_errors.limit_headers(standing)

    def _content(self, reply: Reply) -> Any:
        return reply.text or (None if reply.tool_calls else "")

    def _head(self, turn: Turn, kind: str) -> dict[str, Any]:
        return {
            "id": new_id("chatcmpl-"),
            "object": kind,
            "created": int(time.time()),
            "model": turn.model,
            "system_fingerprint": "fp_scripted",
        }

    def _chunk(self, head: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}

    def _usage_in_last_choice(self, turn: Turn) -> bool:
        return turn.provider == "deepseek"

    def _finish(self, reply: Reply) -> str:
        return reply.finish or ("tool_calls" if reply.tool_calls else "stop")

    def _call(self, call: ToolCall) -> dict[str, Any]:
        function = {"name": call.name, "arguments": dump_arguments(call.arguments)}
        return {"id": call.id or self._call_id(), "type": "function", "function": function}

    def _call_id(self) -> str:
        return new_id(self._call_prefix)

    def _call_deltas(self, index: int, call: ToolCall) -> list[dict[str, Any]]:
        whole = self._call(call)
        start = {**whole, "index": index, "function": {"name": call.name, "arguments": ""}}
        parts = pieces(whole["function"]["arguments"])
        return [{"tool_calls": [start]}] + [
            {"tool_calls": [{"index": index, "function": {"arguments": part}}]} for part in parts
        ]

    def _usage(self, turn: Turn, usage: Usage) -> dict[str, Any]:
        told: dict[str, Any] = {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        }
        if turn.provider == "deepseek":
            told["prompt_cache_hit_tokens"] = usage.cache_read_tokens
            told["prompt_cache_miss_tokens"] = usage.input_tokens - usage.cache_read_tokens
        return told
