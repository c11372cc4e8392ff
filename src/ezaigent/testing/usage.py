"""Token counts of a turn: four characters are one token, and the prompt cache behaves like the real ones.

What the previous request of the conversation held is read from the cache, from 1,024 tokens on, in blocks of 128 where
caching is automatic (OpenAI, DeepSeek, Gemini, Mistral); where the client marks what to cache (Anthropic), the rest of
the prompt is written with the lifetime that was asked for. The counts follow from the request alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from ezaigent.testing.conversation import Usage

if TYPE_CHECKING:
    from ezaigent.testing.conversation import Message, Reply, Turn

_CHARS = 4
_SMALLEST = 1024
_BLOCK = 128
_OVERHEAD = 4
"""Tokens that each message costs on top of its text."""


def count(turn: Turn, reply: Reply) -> Usage:
    """Return the usage of answering ``turn`` with ``reply``."""
    if reply.usage is not None:
        return reply.usage
    before, total = _input(turn)
    reasoning = len(reply.reasoning) // _CHARS
    output = _OVERHEAD + len(reply.text) // _CHARS + reasoning + sum(_call(c.arguments) for c in reply.tool_calls)
    read = before if before >= _SMALLEST and turn.cache != "none" else 0
    written = total - read if turn.cache in {"5m", "1h"} and total >= _SMALLEST else 0
    if turn.cache == "auto":
        read -= read % _BLOCK
    return Usage(
        input_tokens=total,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_5m_tokens=written if turn.cache == "5m" else 0,
        cache_write_1h_tokens=written if turn.cache == "1h" else 0,
        reasoning_tokens=reasoning,
    )


def input_tokens(turn: Turn) -> int:
    """Return the tokens of the request."""
    return _input(turn)[1]


def _input(turn: Turn) -> tuple[int, int]:
    """Return the tokens of the conversation's previous request, and of this one."""
    fixed = len(turn.system) // _CHARS + _OVERHEAD
    for tool in turn.tools:
        fixed += _OVERHEAD + (len(tool.name) + len(tool.description)) // _CHARS + 12 * len(tool.schema)
    sizes = [_message(message) for message in turn.messages]
    last = max((i for i, message in enumerate(turn.messages) if message.role == "assistant"), default=0)
    return (fixed + sum(sizes[:last]) if last else 0), fixed + sum(sizes)


def _message(message: Message) -> int:
    size = _OVERHEAD + len(message.text) // _CHARS
    for call in message.calls:
        size += _call(call.arguments)
    for result in message.results:
        size += _OVERHEAD + len(result.text) // _CHARS
    return size


def _call(arguments: object) -> int:
    return 2 * _OVERHEAD + len(arguments if isinstance(arguments, str) else orjson.dumps(arguments)) // _CHARS
