"""Gemini generateContent and streamGenerateContent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from ezaigent.testing.conversation import ToolCall, ToolOffer, Turn
from ezaigent.testing.wires.base import Gatherer, event, items, mapping, new_id, pieces, text_of

if TYPE_CHECKING:
    from ezaigent.testing.conversation import Reply, Usage
    from ezaigent.testing.limits import Standing

_ERRORS: Final[dict[str, tuple[int, str, str]]] = {
    "rate_limit": (
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "quota": (
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "billing": (
        400,
        "FAILED_PRECONDITION",
        "Gemini API free tier is not available in your country. Please enable billing on your project.",
    ),
    "auth": (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    "not_found": (404, "NOT_FOUND", "The model is not found for API version v1beta."),
    "bad_request": (400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    "context_length": (
        400,
        "INVALID_ARGUMENT",
        "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "overloaded": (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "server_error": (500, "INTERNAL", "An internal error has occurred. Please retry."),
}
"""Kind: HTTP status, status, message."""

_STOP: Final = {"length": "MAX_TOKENS", "content_filter": "SAFETY", None: "STOP"}


class GeminiWire:
    """The Gemini API. Calls carry no ids, so results are matched by name and order."""

    api = "generate"
    stray_arguments = False

    def turn(self, provider: str, model: str, body: Mapping[str, Any]) -> Turn:
        """Normalise a request."""
        gatherer = Gatherer()
        for entry in items(body.get("contents")):
            role = str(entry.get("role") or "user")
            for part in items(entry.get("parts")):
                _read_part(gatherer, role, part)
        system = mapping(body.get("systemInstruction") or body.get("system_instruction"))
        offers = [
            offer
            for tool in items(body.get("tools"))
            for offer in items(tool.get("functionDeclarations") or tool.get("function_declarations"))
        ]
        return Turn(
            provider=provider,
            model=model,
            api=self.api,
            system=text_of(system.get("parts")),
            messages=gatherer.messages,
            tools=[ToolOffer(str(o.get("name")), str(o.get("description") or ""), _schema(o)) for o in offers],
            stream=False,
            raw=body,
        )

    def whole(self, turn: Turn, reply: Reply, usage: Usage) -> bytes:
        """Return the body of a plain reply."""
        parts: list[dict[str, Any]] = []
        if reply.reasoning:
            parts.append({"text": reply.reasoning, "thought": True})
        if reply.text:
            parts.append({"text": reply.text})
        parts += [_call(call) for call in reply.tool_calls]
        return orjson.dumps(self._body(turn, new_id("r"), parts, _STOP[reply.finish], usage))

    def events(self, turn: Turn, reply: Reply, usage: Usage) -> list[bytes]:
        """Return the events of a streamed reply."""
        response_id = new_id("r")
        parts: list[dict[str, Any]] = [{"text": piece, "thought": True} for piece in pieces(reply.reasoning)]
        parts += [{"text": piece} for piece in pieces(reply.text)]
        parts += [_call(call) for call in reply.tool_calls]
        chunks = [event(self._body(turn, response_id, [part], None, None)) for part in parts[:-1]]
        return [*chunks, event(self._body(turn, response_id, parts[-1:], _STOP[reply.finish], usage))]

    def error_event(self, message: str) -> bytes:
        """Return the error object that the stream ends with."""
        status, name, _ = _ERRORS["overloaded"]
        return event({"error": {"code": status, "message": message, "status": name}})

    def error(
        self, kind: str, turn: Turn | None, *, message: str | None, retry_after: float | None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Return an error as Google sends it: what to wait for stands in the body, not in a header."""
        status, name, usual = _ERRORS[kind]
        body: dict[str, Any] = {"code": status, "message": message or usual, "status": name}
        if kind in {"rate_limit", "quota"}:
            body["details"] = _exhausted(kind, turn, retry_after)
        if kind == "auth":
            info: dict[str, Any] = {"reason": "API_KEY_INVALID", "domain": "googleapis.com", "metadata": {}}
            body["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", **info}]
        return status, orjson.dumps({"error": body}), {}

    def limit_headers(self, standing: Standing) -> dict[str, str]:
        """Return nothing: Gemini tells no limits before they are met."""
        del standing
        return {}

    def _body(
        self, turn: Turn, response_id: str, parts: list[dict[str, Any]], finish: str | None, usage: Usage | None
    ) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        body: dict[str, Any] = {"candidates": [candidate], "modelVersion": turn.model, "responseId": response_id}
        if usage is not None:
            body["usageMetadata"] = _usage(usage)
        return body


def _read_part(gatherer: Gatherer, role: str, part: dict[str, Any]) -> None:
    call = mapping(part.get("functionCall") or part.get("function_call"))
    answer = mapping(part.get("functionResponse") or part.get("function_response"))
    if call:
        args = mapping(call.get("args"))
        gatherer.side("model").calls.append(ToolCall(str(call.get("name")), args, str(call.get("id") or "")))
    elif answer:
        response = mapping(answer.get("response"))
        error = next((response[key] for key in ("error", "call_error") if key in response), None)
        value = error if error is not None else next(iter(response.values()), "") if len(response) == 1 else response
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        name = str(answer.get("name") or "")
        gatherer.result(str(answer.get("id") or ""), text, name=name, error=error is not None)
    elif part.get("thought"):
        gatherer.side(role)
    else:
        gatherer.say(role, str(part.get("text") or ""))


def _schema(offer: dict[str, Any]) -> dict[str, Any]:
    schema = offer.get("parametersJsonSchema") or offer.get("parameters_json_schema") or offer.get("parameters")
    return mapping(schema)


def _call(call: ToolCall) -> dict[str, Any]:
    return {"functionCall": {"name": call.name, "args": {} if isinstance(call.arguments, str) else call.arguments}}


def _exhausted(kind: str, turn: Turn | None, retry_after: float | None) -> list[dict[str, Any]]:
    period = "PerMinute" if kind == "rate_limit" else "PerDay"
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_paid_tier_requests",
        "quotaId": f"GenerateRequests{period}PerProjectPerModel",
        "quotaDimensions": {"location": "global", "model": turn.model if turn is not None else ""},
    }
    details: list[dict[str, Any]] = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}
    ]
    if retry_after is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{retry_after:g}s"})
    return details


def _usage(usage: Usage) -> dict[str, Any]:
    told: dict[str, Any] = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input_tokens}],
    }
    if usage.reasoning_tokens:
        told["thoughtsTokenCount"] = usage.reasoning_tokens
    if usage.cache_read_tokens:
        told["cachedContentTokenCount"] = usage.cache_read_tokens
        told["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": usage.cache_read_tokens}]
    return told
