"""What can go wrong with a model request, on demand.

A fault says what happens (``kind``), whom it meets (``provider``, ``model``, ``step``, ``containing``) and how often
(``skip`` matching requests, then hit ``times``). Scripts may also put one into their reply.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

from ezaigent.core.errors import UsageError

if TYPE_CHECKING:
    from ezaigent.testing.conversation import Turn

FaultKind = Literal[
    "rate_limit",
    "quota",
    "billing",
    "auth",
    "not_found",
    "bad_request",
    "context_length",
    "overloaded",
    "server_error",
    "stream_error",
    "hang",
    "cut_stream",
    "truncated_stream",
    "malformed_json",
    "wrong_tool",
    "bad_arguments",
    "empty",
    "slow_first_byte",
]

FAULTS: Final[dict[FaultKind, str]] = {
    "rate_limit": "429 in the provider's own words, with Retry-After (Gemini: RetryInfo) of `retry_after` seconds.",
    "quota": "The account's usage limit is used up; waiting does not help. Status and body as the provider sends them.",
    "billing": "The account must be topped up: OpenAI 429, Anthropic and Gemini 400, Mistral and DeepSeek 402.",
    "auth": "The key is refused.",
    "not_found": "No such model.",
    "bad_request": "400: the request is not valid; sending it again can't help.",
    "context_length": "400: the conversation is longer than the model's window.",
    "overloaded": "The provider is overloaded: Anthropic 529, the others 503.",
    "server_error": "500, its own fault.",
    "stream_error": "The stream starts and then reports an overload as an event (not streamed: as overloaded).",
    "hang": "Nothing is sent until release() or the client gives up; then the reply as it would have been.",
    "cut_stream": "The connection breaks in the middle of the reply, inside a chunk; `at` is the share sent before.",
    "truncated_stream": "The stream ends in order but without its closing events (not streamed: as cut_stream).",
    "malformed_json": "Status 200 and a body, or an event, that is not JSON.",
    "wrong_tool": "The reply calls a tool that was never offered.",
    "bad_arguments": "The reply's arguments are broken JSON; where the wire can't carry that, they miss the schema.",
    "empty": "A complete reply with neither text nor calls.",
    "slow_first_byte": "The reply as it is, `seconds` late.",
}
"""Every kind of fault with its meaning."""

REFUSALS: Final = frozenset(
    {
        "rate_limit",
        "quota",
        "billing",
        "auth",
        "not_found",
        "bad_request",
        "context_length",
        "overloaded",
        "server_error",
    }
)
"""Kinds that answer with an error status before the model is asked."""


@dataclass(slots=True)
class Fault:
    """One planned fault. Counts down as it is used; an own one for each plan."""

    kind: FaultKind
    provider: str = "*"
    """Pattern for the provider's name in the path."""
    model: str = "*"
    """Pattern for the model."""
    step: int | None = None
    """Only at this request of a conversation: 0 is the first one (assistant turns so far)."""
    containing: str = ""
    """Only where some message's text contains this."""
    skip: int = 0
    """Matching requests that pass unharmed before the first hit."""
    times: int | None = 1
    """Hits before the fault is used up; None: always."""
    retry_after: float | None = 1.0
    """Seconds told to the client with rate_limit and overloaded; None: the header is left out."""
    seconds: float = 1.0
    """Delay of slow_first_byte."""
    at: float = 0.5
    """Share of the reply sent before cut_stream, truncated_stream or stream_error."""
    status: int | None = None
    """Another HTTP status than the provider's usual one."""
    message: str | None = None
    """Another message than the provider's usual one."""
    hits: int = field(default=0, compare=False)
    """How often it has struck."""

    def strikes(self, turn: Turn) -> bool:
        """Say whether the fault meets this request, and count it."""
        if self.times is not None and self.times <= 0:
            return False
        if not (fnmatchcase(turn.provider, self.provider) and fnmatchcase(turn.model, self.model)):
            return False
        if self.step is not None and self.step != sum(message.role == "assistant" for message in turn.messages):
            return False
        if self.containing and not any(self.containing in message.text for message in turn.messages):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        self.hits += 1
        return True

    @classmethod
    def from_json(cls, value: object) -> Fault:
        """Build a fault from a control request; :class:`UsageError` names what is wrong with it."""
        if not isinstance(value, dict):
            raise UsageError(f"a fault must be an object with a kind, got {value!r}")
        fields = cast("dict[str, Any]", value)
        if fields.get("kind") not in get_args(FaultKind):
            raise UsageError(f"unknown fault kind {fields.get('kind')!r}; one of: {', '.join(FAULTS)}")
        try:
            return cls(**fields)
        except TypeError as error:
            raise UsageError(f"fault {fields.get('kind')!r}: {error}") from None
