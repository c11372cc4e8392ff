"""Reads the loop's messages: what people said, which tools were called with which result, and the task's brief.

This is the only file that knows how the loop words things, so it is generous: markers may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    RetryFeedbackPart,
    TextContent,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from ezaigent.agents.mechanic.plan import Brief, Result

_BLOCK = (
    r"^[ \t]*(?:#+[ \t]*)?(?:\*\*)?(?:{names})(?:\*\*)?[ \t]*:(?:\*\*)?[ \t]*(?P<inline>[^\n]*)\n?"
    r"(?P<items>(?:[ \t]*[-*][ \t]+[^\n]*(?:\n|$))*)"
)
_CHECKS = re.compile(_BLOCK.format(names="[Cc]hecks?"), re.MULTILINE)
_SCOPE = re.compile(_BLOCK.format(names="[Ss]cope"), re.MULTILINE)
_ITEM = re.compile(r"^[ \t]*[-*][ \t]+(.*?)[ \t]*$", re.MULTILINE)
_MARKERS = re.compile(r"\A\s*<(?P<name>task|prompt)>\s*(?P<text>.*?)\s*</(?P=name)>\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Said:
    """A person, or the loop with failing checks, wrote this."""

    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """A tool was called, and answered where ``result`` is set."""

    tool: str
    result: Result | None


@dataclass(frozen=True, slots=True)
class Closed:
    """The mechanic said that it was done."""


Happening = Said | Called | Closed


@dataclass(frozen=True, slots=True)
class Conversation:
    """The whole conversation, oldest first."""

    brief: Brief
    happenings: tuple[Happening, ...]


def read_conversation(messages: Sequence[ModelMessage], instructions: str | None) -> Conversation:
    """Read the messages of one run; ``instructions`` are those in force for the next request."""
    results = _results(messages)
    happenings: list[Happening] = []
    latest = instructions
    for message in messages:
        if isinstance(message, ModelRequest):
            latest = message.instructions or latest
            happenings += [Said(text) for part in message.parts if (text := _said(part))]
        else:
            calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
            happenings += [Called(call.tool_name, results.get(call.tool_call_id)) for call in calls]
            if not calls and message.text:
                happenings.append(Closed())
    prompt = next((happening.text for happening in happenings if isinstance(happening, Said)), "")
    return Conversation(read_brief(instructions or latest or "", prompt), tuple(happenings))


def read_brief(*texts: str) -> Brief:
    """Return checks and scope from the first text that names them, each under its own heading line."""
    return Brief(checks=_items(_CHECKS, texts), scope=_items(_SCOPE, texts))


def without_brief(prompt: str) -> str:
    """Return the request itself: the prompt without markers and without its list of checks and scope."""
    marked = _MARKERS.match(prompt)
    text = marked["text"] if marked else prompt
    for heading in (_CHECKS, _SCOPE):
        text = heading.sub(lambda found: "" if found["items"] else found[0], text)
    return text


def _items(heading: re.Pattern[str], texts: Sequence[str]) -> tuple[str, ...]:
    for text in texts:
        found = heading.search(text)
        if found and found["items"]:
            return tuple(filter(None, (item.strip("`") for item in _ITEM.findall(found["items"]))))
    return ()


def _results(messages: Sequence[ModelMessage]) -> dict[str, Result]:
    found: dict[str, Result] = {}
    for message in messages:
        if isinstance(message, ModelResponse):
            continue
        for part in message.parts:
            if isinstance(part, ToolReturnPart):
                found[part.tool_call_id] = Result(
                    part.model_response_str(wrap_if_error=False), refused=part.outcome != "success"
                )
    return found


def _said(part: ModelRequestPart) -> str:
    """Return what a person wrote, or what the loop wrote about a finished answer; empty for all other parts."""
    if not isinstance(part, UserPromptPart | RetryFeedbackPart):
        return ""
    if isinstance(part.content, str):
        return part.content
    return "\n".join(piece for item in part.content if (piece := _piece(item)))


def _piece(item: object) -> str:
    return item if isinstance(item, str) else item.content if isinstance(item, TextContent) else ""
