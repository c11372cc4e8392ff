"""The scripts that come with the server, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from ezaigent.core.errors import UsageError
from ezaigent.testing.conversation import Reply, ToolCall, Usage
from ezaigent.testing.faults import Fault
from ezaigent.testing.scripts.basic import as_reply, big_context, chatty, echo_tools, from_steps, loop_forever
from ezaigent.testing.scripts.mending import fix_failing_check

if TYPE_CHECKING:
    from collections.abc import Callable

    from ezaigent.testing.conversation import Script

SCRIPTS: Final[dict[str, Callable[..., Script]]] = {
    "fix_failing_check": fix_failing_check,
    "echo_tools": echo_tools,
    "chatty": chatty,
    "loop_forever": loop_forever,
    "big_context": big_context,
    "from_steps": from_steps,
}
"""Every script by the name that the command line takes."""


def build(name: str, options: Mapping[str, Any]) -> Script:
    """Return the script ``name`` with these options; steps may be given as JSON, see :func:`step_from_json`."""
    if name not in SCRIPTS:
        raise UsageError(f"no script is called {name!r}; one of: {', '.join(SCRIPTS)}")
    arguments = dict(options)
    if name == "from_steps":
        arguments["steps"] = [step_from_json(step) for step in arguments.get("steps", [])]
    try:
        return SCRIPTS[name](**arguments)
    except TypeError as error:
        raise UsageError(f"script {name!r}: {error}") from None


def step_from_json(step: object) -> Reply:
    """Return a step: a text, or an object with text, tool, arguments, calls, reasoning, usage, fault, latency.

    ``calls`` is a list of ``{"tool", "arguments"}``; ``tool`` beside it is the short form of one call.
    """
    if isinstance(step, str):
        return as_reply(step)
    if not isinstance(step, dict):
        raise UsageError(f"a step must be a text or an object, got {step!r}")
    given = cast("dict[str, Any]", step)
    calls: list[dict[str, Any]] = [*given.get("calls", []), *([given] if "tool" in given else [])]
    return Reply(
        text=given.get("text", ""),
        tool_calls=tuple(ToolCall(call["tool"], call.get("arguments", {})) for call in calls),
        reasoning=given.get("reasoning", ""),
        usage=Usage(**given["usage"]) if "usage" in given else None,
        fault=Fault.from_json(given["fault"]) if "fault" in given else None,
        latency=given.get("latency"),
    )


__all__ = [
    "SCRIPTS",
    "as_reply",
    "big_context",
    "build",
    "chatty",
    "echo_tools",
    "fix_failing_check",
    "from_steps",
    "loop_forever",
    "step_from_json",
]
