"""Finds out what the offered tools are for, from their names and schemas, so that scripts work with any tool set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, cast

from ezaigent.testing.conversation import ToolCall, ToolOffer

Role = Literal["shell", "read", "edit", "write", "search", "list"]

_PATH = ("path", "file_path", "filepath", "file", "filename", "file_name", "target")
_COMMAND = ("command", "cmd", "script", "bash", "command_line")
_OLD = ("old_text", "old_string", "old_str", "old", "search", "find")
_NEW = ("new_text", "new_string", "new_str", "new", "replace", "replacement")
_CONTENT = ("content", "contents", "text", "file_text", "new_content")
_PATTERN = ("pattern", "query", "regex", "glob")

_ROLES: Final[dict[Role, tuple[str, dict[str, Sequence[str]]]]] = {
    "shell": (r"", {"command": _COMMAND}),
    "edit": (r"", {"path": _PATH, "old": _OLD, "new": _NEW}),
    "write": (r"write|create|save", {"path": _PATH, "content": _CONTENT}),
    "read": (r"read|view|cat|open|show", {"path": _PATH}),
    "search": (r"grep|search|find", {"pattern": _PATTERN}),
    "list": (r"list|ls|tree|glob|find", {}),
}
"""Role: pattern for the tool's name, and the arguments it must have with the names these go by."""


class Toolbox:
    """The tools of one turn, by role."""

    def __init__(self, tools: Sequence[ToolOffer]) -> None:
        """Look at ``tools``; roles are worked out when asked for."""
        self._tools = tools

    def find(self, role: Role) -> tuple[ToolOffer, dict[str, str]] | None:
        """Return the tool for a role, with what its arguments are called; None when nobody offered one."""
        pattern, wanted = _ROLES[role]
        for tool in self._tools:
            if pattern and not re.search(pattern, tool.name.lower()):
                continue
            names = _arguments(tool, wanted)
            if names is not None and set(required(tool)) <= set(names.values()):
                return tool, names
        return None

    def call(self, role: Role, **arguments: Any) -> ToolCall | None:
        """Return a call of the tool for ``role`` with its own names for the arguments; None without such a tool."""
        found = self.find(role)
        if found is None:
            return None
        tool, names = found
        return ToolCall(tool.name, {names[key]: value for key, value in arguments.items() if key in names})

    def role_of(self, call: ToolCall) -> tuple[Role, dict[str, Any]] | None:
        """Return the role that a call was made in, and its arguments by our names."""
        for role in _ROLES:
            found = self.find(role)
            if found is not None and found[0].name == call.name and not isinstance(call.arguments, str):
                return role, {key: call.arguments[name] for key, name in found[1].items() if name in call.arguments}
        return None

    def any_call(self, hints: Mapping[str, Any]) -> ToolCall | None:
        """Return a valid call of the first tool; ``hints`` are arguments to use where it has them."""
        if not self._tools:
            return None
        tool = self._tools[0]
        arguments = {name: example(schema) for name, schema in properties(tool) if name in required(tool)}
        arguments |= {name: hints[name] for name, _ in properties(tool) if name in hints}
        return ToolCall(tool.name, arguments)


def properties(tool: ToolOffer) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the arguments of a tool with their schemas."""
    found = tool.schema.get("properties")
    if isinstance(found, dict):
        yield from cast("dict[str, dict[str, Any]]", found).items()


def required(tool: ToolOffer) -> list[str]:
    """Return the names of the arguments that a call must have."""
    found = tool.schema.get("required")
    return [str(name) for name in cast("list[object]", found)] if isinstance(found, list) else []


def example(schema: Mapping[str, Any]) -> Any:
    """Return a value that a simple schema accepts."""
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    for options in (schema.get("anyOf"), schema.get("oneOf")):
        if options:
            return example(options[0])
    values: dict[str, Any] = {"integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}, "null": None}
    return values.get(str(kind), "x")


def _arguments(tool: ToolOffer, wanted: Mapping[str, Sequence[str]]) -> dict[str, str] | None:
    there = {name for name, _ in properties(tool)}
    names: dict[str, str] = {}
    for key, candidates in wanted.items():
        name = next((candidate for candidate in candidates if candidate in there), None)
        if name is None:
            return None
        names[key] = name
    if "path" not in names:
        path = next((name for name in _PATH if name in there), None)
        if path is not None:
            names["path"] = path
    return names
