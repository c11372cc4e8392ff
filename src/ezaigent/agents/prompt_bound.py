"""How many tokens a prompt can have at most, known before it is sent.

Soundness. Every tokenizer in use is a byte-level BPE, or a SentencePiece model with byte fallback: each token stands
for at least one byte of text, so a text has no more tokens than UTF-8 bytes. The serialised form of a message holds
all of its text and more (field names, ids, escapes), and that surplus covers the few tokens by which a provider marks
roles and tools; a fixed allowance covers the preamble that some providers put before the tools (Anthropic documents
under 700 tokens).

One token a byte is some four times too much for English and code, so it is used only for what is new: the provider
told how many tokens the previous request had, and a request that repeats it pays for what was added to it. That
holds as long as the model, the earlier messages and the tools are the same; otherwise everything is counted anew.

Text only: images and files have token counts that no length tells, so a prompt with any may fill the whole window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_core import to_json

PREAMBLE: Final = 1_024
"""Tokens allowed for what the provider adds by itself."""
WINDOW: Final = 2_000_000
"""Tokens assumed for a prompt with images or files where the model's window is unknown; none is larger today."""


class PromptBound(NamedTuple):
    """What is known about the next prompt."""

    tokens: int
    """It has no more than these."""
    media: bool
    """Whether it holds anything but text."""


@dataclass(frozen=True, slots=True)
class _Anchor:
    model_id: str
    messages: tuple[ModelMessage, ...]
    frame: int
    tokens: int


class PromptMeasure:
    """Bounds the prompts of one run, each from the one before it."""

    def __init__(self) -> None:
        self._sizes: dict[int, tuple[ModelMessage, int, bool]] = {}
        self._anchor: _Anchor | None = None

    def bound(
        self,
        model_id: str,
        messages: Sequence[ModelMessage],
        parameters: ModelRequestParameters,
        *,
        window: int | None,
    ) -> PromptBound:
        """Return the bound for sending ``messages`` to ``model_id``, whose context window is ``window`` tokens."""
        sizes = [self._size(message) for message in messages]
        self._sizes = {id(message): (message, *size) for message, size in zip(messages, sizes, strict=True)}
        media = any(has_media for _, has_media in sizes)
        if media:
            return PromptBound(window or WINDOW, media=True)
        frame = _frame(messages, parameters)
        known = self._known(model_id, messages)
        if known is None:
            tokens = PREAMBLE + frame + sum(size for size, _ in sizes)
        else:
            added = sum(size for size, _ in sizes[len(known.messages) :])
            tokens = PREAMBLE + known.tokens + added + max(0, frame - known.frame)
        return PromptBound(min(tokens, window) if window else tokens, media=False)

    def answered(
        self,
        model_id: str,
        messages: Sequence[ModelMessage],
        parameters: ModelRequestParameters,
        input_tokens: int,
    ) -> None:
        """Learn how many tokens the provider counted for ``messages``."""
        if input_tokens > 0:
            self._anchor = _Anchor(model_id, tuple(messages), _frame(messages, parameters), input_tokens)

    def _known(self, model_id: str, messages: Sequence[ModelMessage]) -> _Anchor | None:
        anchor = self._anchor
        if anchor is None or anchor.model_id != model_id or len(anchor.messages) > len(messages):
            return None
        same = all(old is new or old == new for old, new in zip(anchor.messages, messages, strict=False))
        return anchor if same else None

    def _size(self, message: ModelMessage) -> tuple[int, bool]:
        cached = self._sizes.get(id(message))
        if cached is not None and cached[0] is message:
            return cached[1], cached[2]
        if isinstance(message, ModelRequest):
            # The standing instructions are sent once, with the last request: the frame counts them.
            return len(ModelMessagesTypeAdapter.dump_json([replace(message, instructions=None)])), _has_media(message)
        size = len(ModelMessagesTypeAdapter.dump_json([message]))
        # A reasoning item may come back by its id alone, and then counts with the tokens it had.
        return max(size, message.usage.output_tokens), False


def _frame(messages: Sequence[ModelMessage], parameters: ModelRequestParameters) -> int:
    """Return the bytes of what stands around the messages: instructions, tools, output schema."""
    instructions = next(
        (message.instructions for message in reversed(messages) if isinstance(message, ModelRequest)), None
    )
    tools = [*parameters.function_tools, *parameters.output_tools]
    size = len((instructions or "").encode())
    size += sum(len(part.content.encode()) for part in parameters.instruction_parts or ())
    for tool in tools:
        size += len(tool.name) + len((tool.description or "").encode()) + len(to_json(tool.parameters_json_schema))
    if parameters.output_object is not None:
        size += len(to_json(parameters.output_object.json_schema))
    return size


def _has_media(message: ModelRequest) -> bool:
    for part in message.parts:
        if isinstance(part, UserPromptPart) and not isinstance(part.content, str):
            if any(not isinstance(item, str) for item in part.content):
                return True
        elif isinstance(part, ToolReturnPart) and part.files:
            return True
    return False
