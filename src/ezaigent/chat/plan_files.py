"""A plan as a TOML file that a person edits: written with its comments, read with an error that names the line."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from typing import Final

from pydantic import ValidationError

from ezaigent.chat.plans import Plan
from ezaigent.core.errors import UsageError
from ezaigent.core.ids import new_id

_HEAD: Final = """\
# A plan for Ez Aigent. Edit it, then queue it all at once with:  ezaigent plan --submit {name}
# Each task: name (how others need it), prompt; if you like title, needs = ["name"], scope = ["src/**"],
# checks = ["pytest -q"], profile = "claude", priority = "critical" | "high" | "normal" | "low".
# The key makes submitting the same file twice queue it once; take it out to queue it again.
"""


def write_plan(plan: Plan, *, notes: Sequence[str] = (), name: str = "plan.toml") -> str:
    """Return the plan as TOML; ``notes`` become comments at the top."""
    lines = [_HEAD.format(name=name), *(f"# note: {' '.join(note.split())}" for note in notes), ""]
    lines.append(f"key = {_text(new_id())}")
    lines += [f"{field} = {_text(value)}" for field, value in _of(plan) if value]
    for task in plan.tasks:
        lines += ["", "[[tasks]]", f"name = {_text(task.name)}"]
        if task.title:
            lines.append(f"title = {_text(task.title)}")
        lines.append(f"prompt = {_long(task.prompt)}")
        lines += [
            f"{field} = [{', '.join(map(_text, values))}]"
            for field, values in (("needs", task.needs), ("scope", task.scope), ("checks", task.checks))
            if values
        ]
        if task.profile:
            lines.append(f"profile = {_text(task.profile)}")
        if task.priority != "normal":
            lines.append(f"priority = {_text(task.priority)}")
    return "\n".join(lines).lstrip("\n") + "\n"


def read_plan(text: str) -> tuple[Plan, str | None]:
    """Return the plan of a TOML text and its key. Raises ``UsageError`` in one line for what is wrong."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the plan is no TOML: {error}") from None
    key = found.pop("key", None)
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= 100):  # noqa: PLR2004
        raise UsageError("the plan's key must be a text of 1 to 100 characters; take it out to have none")
    try:
        plan = Plan.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part + 1 if isinstance(part, int) else part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"the plan cannot be used: {f'{where}: ' if where else ''}{message}") from None
    if not plan.tasks:
        raise UsageError("the plan has no [[tasks]]")
    return plan, key


def _of(plan: Plan) -> list[tuple[str, str | None]]:
    return [("title", plan.title), ("repo", plan.repo), ("base", plan.base)]


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _long(value: str) -> str:
    """Return a text over several lines where it has several and can be written that way."""
    if "\n" not in value or "'''" in value or any(char < " " and char != "\n" for char in value) or "\x7f" in value:
        return _text(value)
    return f"'''\n{value}'''" if not value.endswith("'") else _text(value)
