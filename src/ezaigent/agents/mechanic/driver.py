"""Chooses the next step from the conversation alone.

The plans are generators. They are built anew at each request and sent every recorded result in order, so the same
conversation always leads to the same step: that is what lets a run go on after a crash.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ezaigent.agents.mechanic.conversation import Called, Closed, Conversation, Happening, Said, without_brief
from ezaigent.agents.mechanic.plan import Brief, Call, Limits, Recipe, Result, Steps
from ezaigent.agents.mechanic.recipes.mend import mend
from ezaigent.agents.mechanic.request import Request, read_request
from ezaigent.core.errors import RunError

_FAILED = re.compile(
    r"\bexit(?:ed)?(?: with)?(?: code| status)?\s*[:=]?\s*-?[1-9]"
    r"|\bchecks?\b[^.\n]*\bfail|\bfail\w*\b[^.\n]*\bchecks?\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Move:
    """What comes next: a call, or closing words."""

    number: int
    """Which call of the conversation it is, from 1."""
    call: Call | None = None
    text: str = ""


def next_move(conversation: Conversation, recipes: Sequence[Recipe], tools: Collection[str]) -> Move:
    """Return the next call, or the closing words.

    Raises ``RunError`` where no recipe can do what is asked, a recipe gives up, or a tool it needs is not offered.
    """
    return _Replay(conversation, recipes).run(tools)


class _Replay:
    def __init__(self, conversation: Conversation, recipes: Sequence[Recipe]) -> None:
        self._brief = conversation.brief
        self._recipes = recipes
        self._past: deque[Happening] = deque(conversation.happenings)
        self._waiting: list[str] = []
        self._told: list[str] = []
        self._calls = 0
        self._limits = Limits()
        self._begun = False
        self._closed = False

    def run(self, tools: Collection[str]) -> Move:
        """Replay the past and return what comes after it."""
        while True:
            self._listen()
            if self._waiting:
                move = self._work(self._open(self._waiting.pop(0)), tools)
                if move is not None:
                    return move
            elif not self._past:
                return Move(self._calls + 1, text=" ".join(self._told) or "There was nothing to do.")
            elif isinstance(self._past.popleft(), Closed):
                self._told.clear()
                self._closed = True
            else:
                raise _unfit()

    def _listen(self) -> None:
        """Take in what was said up to here, whether between two steps or after the closing words."""
        while self._past and isinstance(self._past[0], Said):
            said = self._past.popleft()
            assert isinstance(said, Said)
            self._waiting.append(said.text)

    def _open(self, text: str) -> Steps:
        """Turn a text into steps: the task itself, failing checks sent back, or a person's word in between."""
        begun, self._begun = self._begun, True
        if begun and self._closed and _is_feedback(text, self._brief):
            return _answer(text, self._brief, self._limits)
        request = read_request(without_brief(text) if not begun else text, self._recipes, self._brief)
        if not begun:
            self._limits = request.limits
        if not begun or (request.plans and request.unknown is None):
            return _carry_out(request, self._brief, [recipe.able for recipe in self._recipes])
        return _decline(request)

    def _work(self, steps: Steps, tools: Collection[str]) -> Move | None:
        """Send the recorded results to the steps; None where they ended in the past."""
        result: Result | None = None
        while True:
            try:
                call = next(steps) if result is None else steps.send(result)
            except StopIteration as end:
                self._told.append(str(end.value))
                return None
            self._calls += 1
            if not self._past:
                if call.tool not in tools:
                    raise RunError(
                        f"the mechanic needs the tool {call.tool!r}, which this run does not offer", retryable=False
                    )
                return Move(self._calls, call)
            happened = self._past.popleft()
            if not isinstance(happened, Called) or happened.tool != call.tool or happened.result is None:
                raise _unfit()
            result = happened.result
            self._listen()


def _carry_out(request: Request, brief: Brief, able: Sequence[str]) -> Steps:
    if request.unknown is not None:
        raise RunError(
            f"the mechanic has no recipe for {request.unknown!r}: it can {'; '.join(able)}; "
            "give this to a profile with a model",
            retryable=False,
        )
    if not request.plans:
        raise RunError(f"the mechanic found nothing to do in the task: it can {'; '.join(able)}", retryable=False)
    told: list[str] = []
    for plan in request.plans:
        sentence = yield from plan.steps(brief, request.limits)
        told.append(sentence)
    return " ".join(told)


def _decline(request: Request) -> Steps:
    yield from ()
    return f"A message was left undone, there is no recipe for it: {request.unknown or 'it asks for nothing'!r}."


def _answer(text: str, brief: Brief, limits: Limits) -> Steps:
    """Go on after failing checks, or say that files outside the scope cannot be restored."""
    if "outside the task's scope" in text and not _FAILED.search(text):
        yield from ()
        raise RunError("the mechanic changed files outside the task's scope and cannot restore them", retryable=False)
    return (yield from mend(brief.checks or _commands(text), brief, limits))


def _is_feedback(text: str, brief: Brief) -> bool:
    return any(check in text for check in brief.checks) or bool(_FAILED.search(text)) or "task's scope" in text


def _commands(text: str) -> tuple[str, ...]:
    """Return the commands that a text about failing checks names, as ``$ command`` or between backticks."""
    found = re.findall(r"^\s*\$ (.+?)\s*$", text, re.MULTILINE) or re.findall(r"`([^`\n]+)`", text)
    return tuple(dict.fromkeys(found))


def _unfit() -> RunError:
    return RunError("the recorded steps do not fit this version's recipes; retry the task to start it afresh")
