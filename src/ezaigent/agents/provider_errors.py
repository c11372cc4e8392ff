"""What a failed model call means: the one place where that is decided.

pydantic-ai sorts what the providers answer (status, code, type and text of the body) into its error categories; this
file turns those, and everything that is raised beside them, into what a run does next.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, cast

from pydantic_ai import exceptions as pai

from ezaigent.agents.provider_failure import Bill, Kind, ProviderFailure
from ezaigent.core.errors import EzAigentError

_Errors = type[BaseException] | tuple[type[BaseException], ...]


def classify(error: BaseException, *, secrets: Iterable[str] = ()) -> ProviderFailure:
    """Return what ``error``, raised by a model call, means. ``secrets`` are blotted out of its message."""
    kind = _kind(error)
    status = error.status_code if isinstance(error, pai.ModelHTTPError) else None
    return ProviderFailure(
        kind=kind,
        message=scrub(_text(error), secrets),
        retry_after=_retry_after(error) if kind in ("rate_limit", "overload", "transient") else None,
        resets_in=_resets_in(error) if kind == "quota" else None,
        status=status,
        too_long=_too_long(error),
        bill=_bill(error),
    )


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Return ``text`` as one line of at most 300 characters in which nothing looks like a key."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    for pattern, blotted in _KEY_SHAPES:
        text = pattern.sub(blotted, text)
    line = " ".join(text.split())
    return line if len(line) <= _LINE else line[: _LINE - 1] + "…"


_LINE: Final = 300
_LONGEST_WAIT: Final = 86_400.0
_SHORTEST_SECRET: Final = 6
_KEY_SHAPES: Final = (
    (re.compile(r"\b(sk|pk|rk|key|gsk|xai)-[A-Za-z0-9_*-]{6,}"), r"\1-***"),
    (re.compile(r"\bAIza[A-Za-z0-9_-]{6,}"), "AIza***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=*-]{6,}"), r"\1 ***"),
    (re.compile(r"(?i)([?&](?:key|api_key|token)=)[^&\s\"']+"), r"\1***"),
    (re.compile(r"(?i)(x-api-key|x-goog-api-key|authorization)(['\"]?\s*[:=]\s*['\"]?)[^\s'\",}]+"), r"\1\2***"),
    (re.compile(r"(?i)(api key (?:provided|is)?:?\s*)[A-Za-z0-9_*-]{12,}"), r"\1***"),
    (re.compile(r"://[^/\s:@]+:[^/\s@]+@"), "://***@"),
)
"""Shapes of keys as the providers echo them in their error texts, and of credentials in headers and addresses."""

_BILLING_WORDS: Final = ("billing_error", "billing_hard_limit", "enable billing", "credit", "balance", "spend_limit")
_QUOTA_WORDS: Final = (
    "exceeded your current quota",
    "insufficient_quota",
    "usage limit",
    "monthly limit",
    "daily limit",
    "tokens per day",
    "requests per day",
)
_LONG_WORDS: Final = ("context length", "context window", "prompt is too long", "too many tokens", "request_too_large")
_PURSE_WORDS: Final = ("insufficient balance", "credit balance", "payment required", "billing hard")
_REGAINED: Final = re.compile(r"regain access on (\d{4}-\d\d-\d\d)(?: at (\d\d:\d\d) UTC)?")
"""How Anthropic says when a cap that was reached ends."""
_HTTP_STACK: Final = frozenset(
    {"httpx", "httpx2", "aiohttp", "openai", "anthropic", "google", "mistralai", "json", "pydantic_core"}
)
_SERVER_SIDE: Final = 500
_PASSING: Final = frozenset({408, 409, 425, 460, 499})
"""Statuses of the 4xx range that say nothing about the request itself."""


def _kind(error: BaseException) -> Kind:
    if _too_long(error):
        return "permanent"
    rule = next((rule for known, rule in _RULES if isinstance(error, known)), _kind_of_stranger)
    return rule(error)


def _kind_of_quota(error: BaseException) -> Kind:
    return "billing" if _is_status(error, 402) or _says(error, _BILLING_WORDS) else "quota"


def _kind_of_429(error: BaseException) -> Kind:
    """Tell an empty purse and a used-up quota from a limit that passes: all of them come as 429."""
    if _is_daily_at_google(error):
        return "quota"
    if _says(error, ("overloaded", "over capacity", "capacity exceeded")):
        return "overload"
    if _retry_after(error) is None and not _says(error, ("per minute", "per-minute", "perminute")):
        if _says(error, _PURSE_WORDS):
            return "billing"
        if _says(error, _QUOTA_WORDS):
            return "quota"
    return "rate_limit"  # where the provider says how long to wait, waiting helps


def _kind_of_rejected(error: BaseException) -> Kind:
    # Gateways wrap an empty purse into 400 and 403; what the text says about money is what counts.
    if _says(error, _PURSE_WORDS):
        return "billing"
    return "quota" if _says(error, ("api usage limits",)) else "permanent"  # Anthropic's own cap on an account


def _kind_of_status(error: BaseException) -> Kind:
    status = error.status_code if isinstance(error, pai.ModelHTTPError) else 0
    return "transient" if status in _PASSING or status >= _SERVER_SIDE else "permanent"


def _kind_of_stranger(error: BaseException) -> Kind:
    """Judge what no SDK wrapped: from the HTTP stack it passes, from our own code it would come again."""
    return "transient" if type(error).__module__.partition(".")[0] in _HTTP_STACK else "permanent"


_RULES: Final[
    tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Callable[[BaseException], Kind]], ...]
] = (
    (pai.ModelQuotaExceededError, _kind_of_quota),
    (pai.ModelRateLimitError, _kind_of_429),
    (pai.ModelUnavailableError, lambda _: "overload"),  # overloaded is a kind of it
    (pai.ModelRequestRejectedError, _kind_of_rejected),
    (pai.ModelHTTPError, _kind_of_status),
    ((pai.ContentFilterError, pai.UserError, EzAigentError), lambda _: "permanent"),
    # The server's own failure, a broken connection, a time-out, or an answer that cannot be understood.
    ((pai.ModelAPIError, pai.UnexpectedModelBehavior), lambda _: "transient"),
    (OSError, lambda _: "transient"),  # time-outs are a kind of it
)
"""First match wins: the particular stands before the general."""


def _too_long(error: BaseException) -> bool:
    if isinstance(error, pai.ModelContextWindowExceededError):
        return True
    rejected = isinstance(error, pai.ModelRequestRejectedError) or _is_status(error, 413)
    return rejected and (_is_status(error, 413) or _says(error, _LONG_WORDS))


def _bill(error: BaseException) -> Bill:
    if isinstance(error, pai.ModelConnectionError):
        return "refused" if error.phase in ("pool", "connect") else "lost"
    if isinstance(error, pai.ModelHTTPError):
        return "lost" if error.in_stream else "refused"
    if isinstance(error, (pai.UserError, EzAigentError, ConnectionRefusedError)):
        return "refused"
    return "lost"


def _retry_after(error: BaseException) -> float | None:
    if not isinstance(error, pai.ModelAPIError):
        return None
    if error.retry_after is None and isinstance(error, pai.ModelHTTPError) and error.headers:
        try:  # fractions of a second are outside the standard, yet gateways send them
            seconds = float(error.headers.get("retry-after", ""))
        except ValueError:
            return None
        return seconds if 0 <= seconds < _LONGEST_WAIT else None
    return error.retry_after


def _is_daily_at_google(error: BaseException) -> bool:
    """Whether Google names a quota of a day: the short delay that it tells beside it does not help."""
    return isinstance(error, pai.ModelAPIError) and "PerDayPerProject" in json.dumps(error.body, default=str)


def _resets_in(error: BaseException) -> float | None:
    if _is_daily_at_google(error):  # at midnight, Pacific time (ai.google.dev, rate limits)
        return 86_400.0 - (time.time() - 8 * 3600.0) % 86_400.0
    if told := _REGAINED.search(_text(error)):
        try:
            day = datetime.fromisoformat(f"{told[1]}T{told[2] or '00:00'}+00:00")
        except ValueError:
            return None
        return max(60.0, day.timestamp() - time.time())
    return _retry_after(error)


def _is_status(error: BaseException, status: int) -> bool:
    return isinstance(error, pai.ModelHTTPError) and error.status_code == status


def _says(error: BaseException, words: Iterable[str]) -> bool:
    text = f"{_text(error)} {getattr(error, 'provider_error_code', '')} {getattr(error, 'provider_error_type', '')}"
    lowered = text.lower()
    return any(word in lowered for word in words)


def _text(error: BaseException) -> str:
    """Return what the provider itself said, or else what the exception says."""
    if isinstance(error, pai.ModelAPIError):
        said = _said(error.body)
        if said:
            return f"{error.status_code}: {said}" if isinstance(error, pai.ModelHTTPError) else said
        return error.message
    if isinstance(error, pai.UnexpectedModelBehavior):
        return error.message
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _said(body: object) -> str:
    """Find the message in an error body: every provider nests it differently."""
    if isinstance(body, str):
        try:
            return _said(json.loads(body)) or body if body.lstrip().startswith(("{", "[")) else body
        except ValueError:
            return body
    if isinstance(body, list):
        return next((said for item in cast("list[Any]", body) if (said := _said(item))), "")
    if isinstance(body, dict):
        fields = cast("dict[str, Any]", body)
        for name in ("message", "error", "detail", "msg"):
            if said := _said(fields.get(name)):
                return said
    return ""
