"""OpenAI Responses."""

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


class ResponsesWire:
    """The Responses API, without server-side state: the client sends the whole conversation each time."""

    api = "responses"
    stray_arguments = True

    def turn(self, provider: str, model: str, body: Mapping[str, Any]) -> Turn:
        """Normalise a request."""
        gatherer = Gatherer()
        if isinstance(body.get("instructions"), str):
            gatherer.say("system", body["instructions"])
        given = body.get("input")
        entries = [{"role": "user", "content": given}] if isinstance(given, str) else items(given)
        for entry in entries:
            kind = entry.get("type")
            if kind == "function_call":
                call = ToolCall(
                    str(entry.get("name")), parse_arguments(entry.get("arguments")), str(entry.get("call_id") or "")
                )
                gatherer.name_call(call.id, call.name)
                gatherer.side("assistant").calls.append(call)
            elif kind == "function_call_output":
                gatherer.result(str(entry.get("call_id") or ""), text_of(entry.get("output")))
            elif kind == "reasoning":
                gatherer.side("assistant")
            elif "role" in entry:
                gatherer.say(str(entry["role"]), text_of(entry.get("content")))
        offers = [tool for tool in items(body.get("tools")) if tool.get("type") == "function"]
        return Turn(
            provider=provider,
            model=str(body.get("model") or model),
            api=self.api,
            system="\n".join(gatherer.system),
            messages=gatherer.messages,
            tools=[
                ToolOffer(str(t.get("name")), str(t.get("description") or ""), mapping(t.get("parameters")))
                for t in offers
            ],
            stream=bool(body.get("stream")),
            raw=body,
        )

    def whole(self, turn: Turn, reply: Reply, usage: Usage) -> bytes:
        """Return the body of a plain reply."""
        return orjson.dumps(self._response(turn, reply, self._output(reply), usage, new_id("resp_")))

    def events(self, turn: Turn, reply: Reply, usage: Usage) -> list[bytes]:
        """Return the events of a streamed reply."""
        response_id = new_id("resp_")
        output = self._output(reply)
        opening = self._response(turn, reply, [], None, response_id)
        plan: list[tuple[str, dict[str, Any]]] = [
            ("response.created", {"response": opening}),
            ("response.in_progress", {"response": opening}),
        ]
        for index, item in enumerate(output):
            plan.append(("response.output_item.added", {"output_index": index, "item": self._unfinished(item)}))
            plan += self._item_events(index, item)
            plan.append(("response.output_item.done", {"output_index": index, "item": item}))
        ending = "response.incomplete" if reply.finish else "response.completed"
        plan.append((ending, {"response": self._response(turn, reply, output, usage, response_id)}))
        return [
            event({"type": name, "sequence_number": number, **data}, name) for number, (name, data) in enumerate(plan)
        ]

    def error_event(self, message: str) -> bytes:
        """Return the event that reports an overload in the middle of a stream."""
        body = {"type": "error", "code": "server_is_overloaded", "message": message, "param": None}
        return event({**body, "sequence_number": 0}, "error")

    def error(
        self, kind: str, turn: Turn | None, *, message: str | None, retry_after: float | None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Return an error as OpenAI sends it."""
        return openai_errors.error(kind, turn, message=message, retry_after=retry_after)

    def limit_headers(self, standing: Standing) -> dict[str, str]:
        """Return the ``x-ratelimit-*`` headers."""
        return openai_errors.limit_headers(standing)

    def _response(
        self, turn: Turn, reply: Reply, output: list[dict[str, Any]], usage: Usage | None, response_id: str
    ) -> dict[str, Any]:
        status = "in_progress" if usage is None else "incomplete" if reply.finish else "completed"
        reason = {"length": "max_output_tokens", "content_filter": "content_filter", None: None}[reply.finish]
        return {
            "id": response_id,
            "object": "response",
            "created_at": int(time.time()),
            "status": status,
            "error": None,
            "incomplete_details": {"reason": reason} if reason and usage is not None else None,
            "instructions": None,
            "metadata": {},
            "model": turn.model,
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "store": False,
            "usage": None if usage is None else _usage(usage),
        }

    def _output(self, reply: Reply) -> list[dict[str, Any]]:
        output: list[dict[str, Any]] = []
        if reply.reasoning:
            summary = [{"type": "summary_text", "text": reply.reasoning}]
            output.append({"id": new_id("rs_"), "type": "reasoning", "summary": summary, "status": "completed"})
        if reply.text:
            part: dict[str, Any] = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
            output.append(
                {"id": new_id("msg_"), "type": "message", "status": "completed", "role": "assistant", "content": [part]}
            )
        output += [
            {
                "id": new_id("fc_"),
                "type": "function_call",
                "status": "completed",
                "call_id": call.id or new_id("call_"),
                "name": call.name,
                "arguments": dump_arguments(call.arguments),
            }
            for call in reply.tool_calls
        ]
        return output

    def _unfinished(self, item: dict[str, Any]) -> dict[str, Any]:
        blank: dict[str, dict[str, Any]] = {
            "message": {"content": []},
            "function_call": {"arguments": ""},
            "reasoning": {"summary": []},
        }
        return {**item, "status": "in_progress", **blank[item["type"]]}

    def _item_events(self, index: int, item: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        place = {"item_id": item["id"], "output_index": index}
        if item["type"] == "function_call":
            arguments = item["arguments"]
            name = "response.function_call_arguments"
            plan = [(f"{name}.delta", {**place, "delta": piece}) for piece in pieces(arguments)]
            return [*plan, (f"{name}.done", {**place, "arguments": arguments, "name": item["name"]})]
        if item["type"] == "reasoning":
            place["summary_index"] = 0
            part = item["summary"][0]
            name, family = "response.reasoning_summary_text", "response.reasoning_summary_part"
        else:
            place["content_index"] = 0
            part = item["content"][0]
            name, family = "response.output_text", "response.content_part"
        extra: dict[str, Any] = {"logprobs": []} if item["type"] == "message" else {}
        return [
            (f"{family}.added", {**place, "part": {**part, "text": ""}}),
            *((f"{name}.delta", {**place, **extra, "delta": piece}) for piece in pieces(part["text"])),
            (f"{name}.done", {**place, **extra, "text": part["text"]}),
            (f"{family}.done", {**place, "part": part}),
        ]


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cache_read_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
