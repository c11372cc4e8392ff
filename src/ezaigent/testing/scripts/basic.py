"""Scripts that need no understanding: fixed steps, tool calls for benchmarks, talk, loops, long contexts.

Every script decides from the conversation that the client sent, so it survives a restart of either side.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ezaigent.core.errors import UsageError
from ezaigent.testing.conversation import Conversation, Reply, Script, ToolCall, Turn
from ezaigent.testing.faults import Fault
from ezaigent.testing.toolbox import Toolbox
from ezaigent.testing.usage import input_tokens

Step = Reply | ToolCall | str | Sequence[ToolCall]
"""A reply, or a short form of one: a call, several calls at once, or a text."""


def from_steps(steps: Sequence[Step]) -> Script:
    """Give these replies in order; the next one is picked by the assistant turns that the conversation already has.

    So the same request always gets the same step, whoever restarted in between. After the last step it is given
    again. (A client that compacts its history drops turns and gets earlier steps again.)
    """
    replies = [as_reply(step) for step in steps]
    if not replies:
        raise UsageError("from_steps needs at least one step")

    async def script(turn: Turn, conversation: Conversation) -> Reply:
        del turn
        return replies[min(conversation.replies, len(replies) - 1)]

    return script


def as_reply(step: Step) -> Reply:
    """Return a step as the reply it stands for."""
    if isinstance(step, Reply):
        return step
    if isinstance(step, str):
        return Reply(text=step)
    return Reply(tool_calls=(step,) if isinstance(step, ToolCall) else tuple(step))


def echo_tools(
    n: int = 10,
    *,
    size: int = 4096,
    parallel: int = 1,
    latency: float | None = None,
    path: str | None = None,
    answer: str = "All calls are done.",
) -> Script:
    """Make ``n`` tool calls, ``parallel`` at a time, then answer. For benchmarks and for counting.

    Asks for ``size`` bytes in every result: with ``path`` it reads that file; else it hands ``size`` to the first tool
    if that has such an argument; else it has the shell print them. ``latency`` is the seconds before each reply.
    """

    async def script(turn: Turn, conversation: Conversation) -> Reply:
        done = _done(conversation)
        calls = [_sized_call(Toolbox(turn.tools), done + i, size, path) for i in range(min(parallel, n - done))]
        made = tuple(call for call in calls if call is not None)
        return Reply(tool_calls=made, latency=latency) if made else Reply(text=answer, latency=latency)

    return script


def _done(conversation: Conversation) -> int:
    """Return the calls made so far; from the last one's number, as a client may have dropped older turns."""
    exchanges = conversation.exchanges
    numbers = [_number(call) for call, _ in exchanges]
    return max([len(exchanges), *(number + 1 for number in numbers if number is not None)])


def _number(call: ToolCall) -> int | None:
    if isinstance(call.arguments, str):
        return None
    number = call.arguments.get("number")
    if isinstance(number, int):
        return number
    found = re.search(r" # (\d+)$", str(call.arguments.get("command", "")))
    return int(found[1]) if found else None


def _sized_call(tools: Toolbox, number: int, size: int, path: str | None) -> ToolCall | None:
    if path is not None:
        call = tools.call("read", path=path)
        if call is not None:
            return call
    first = tools.any_call({"size": size, "number": number})
    if first is not None and "size" in first.arguments:
        return first
    # The number keeps the calls apart, or a client would rightly take them for a loop.
    shell = tools.call("shell", command=f"head -c {size} /dev/zero | tr '\\0' x # {number}")
    return shell or first


def chatty(paragraphs: int = 5, *, calls: int = 1) -> Script:
    """Think aloud, write long texts, and make ``calls`` tool calls on the way, each with more text around it."""

    async def script(turn: Turn, conversation: Conversation) -> Reply:
        text = "\n\n".join(
            f"Paragraph {number + 1} of turn {conversation.replies + 1}: "
            + "there is always more to say about this. " * 8
            for number in range(paragraphs)
        )
        call = Toolbox(turn.tools).any_call({}) if conversation.replies < calls else None
        thought = "Let me think about what was asked before I answer."
        return Reply(text=text, reasoning=thought, tool_calls=() if call is None else (call,))

    return script


def loop_forever(arguments: dict[str, Any] | None = None) -> Script:
    """Make the same call with the same arguments again and again: the client must notice that it is stuck.

    Prefers a read of README.md, then a listing; ``arguments`` are for the first tool where neither is offered.
    """

    async def script(turn: Turn, conversation: Conversation) -> Reply:
        del conversation
        tools = Toolbox(turn.tools)
        call = tools.call("read", path="README.md") or tools.call("list") or tools.any_call(arguments or {})
        return Reply(text="I will look at it once more.", tool_calls=() if call is None else (call,))

    return script


def big_context(n: int = 20, *, size: int = 32_768, window: int | None = 100_000) -> Script:
    """Make ``n`` calls with results of ``size`` bytes; past ``window`` tokens refuse the request as too long.

    A client that compacts its history in time gets through; one that does not meets the provider's error. The calls
    are numbered, so that dropped turns are not made again. Asked without any tools, it summarises.
    """
    call_tools = echo_tools(n, size=size)

    async def script(turn: Turn, conversation: Conversation) -> Reply:
        if window is not None and input_tokens(turn) > window:
            return Reply(fault=Fault("context_length"))
        if not turn.tools:
            return Reply(text="Summary: large results were read; nothing in them matters.")
        return await call_tools(turn, conversation)

    return script
