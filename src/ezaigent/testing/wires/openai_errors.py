"""How OpenAI and DeepSeek say no, and how OpenAI tells its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from ezaigent.testing.conversation import Turn
    from ezaigent.testing.limits import Standing

_OPENAI: Final[dict[str, tuple[int, str, str, str | None]]] = {
    "rate_limit": (429, "Rate limit reached for requests", "requests", "rate_limit_exceeded"),
    "quota": (
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    "billing": (429, "Billing hard limit has been reached", "insufficient_quota", "billing_hard_limit_reached"),
    "auth": (401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    "not_found": (
        404,
        "The model does not exist or you do not have access to it.",
        "invalid_request_error",
        "model_not_found",
    ),
    "bad_request": (400, "Invalid request.", "invalid_request_error", None),
    "context_length": (
        400,
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        "invalid_request_error",
        "context_length_exceeded",
    ),
    "overloaded": (503, "The engine is currently overloaded, please try again later", "server_error", None),
    "server_error": (500, "The server had an error while processing your request.", "server_error", None),
}
"""Kind: status, message, type, code."""

_DEEPSEEK: Final[dict[str, tuple[int, str, str, str | None]]] = {
    **_OPENAI,
    "rate_limit": (429, "Rate limit reached", "rate_limit_error", "rate_limit_reached"),
    "quota": (402, "Insufficient Balance", "unknown_error", "invalid_request_error"),
    "billing": (402, "Insufficient Balance", "unknown_error", "invalid_request_error"),
    "auth": (401, "Authentication Fails, Your api key is invalid", "authentication_error", "invalid_request_error"),
    "not_found": (400, "Model Not Exist", "invalid_request_error", "invalid_request_error"),
    "overloaded": (
        503,
        "Server overloaded, please retry your request after a brief wait",
        "service_unavailable_error",
        None,
    ),
}


def error(
    kind: str, turn: Turn | None, *, message: str | None, retry_after: float | None
) -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers."""
    table = _DEEPSEEK if turn is not None and turn.provider == "deepseek" else _OPENAI
    status, usual, kind_name, code = table[kind]
    body = {"error": {"message": message or usual, "type": kind_name, "param": None, "code": code}}
    headers: dict[str, str] = {}
    if retry_after is not None and kind in {"rate_limit", "overloaded"}:
        headers = {"retry-after": f"{max(1, round(retry_after))}", "retry-after-ms": f"{round(retry_after * 1000)}"}
    return status, orjson.dumps(body), headers


def limit_headers(standing: Standing) -> dict[str, str]:
    """Return OpenAI's headers; DeepSeek's API sends none."""
    if standing.provider == "deepseek":
        return {}
    headers: dict[str, str] = {}
    for name, bucket in (("requests", standing.requests), ("tokens", standing.tokens)):
        if bucket is not None:
            headers[f"x-ratelimit-limit-{name}"] = str(bucket.limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(bucket.remaining)
            headers[f"x-ratelimit-reset-{name}"] = f"{bucket.reset:.3f}s"
    return headers
