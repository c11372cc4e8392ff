"""Tells an agent that works from one that goes round in circles, by nothing but its calls and their results."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from ezaigent.core.errors import StuckError

REPEATS: Final = 4
"""Times in a row that the same turn, or the same short cycle of turns, may come back with the same results."""
CYCLE: Final = 3
"""Turns in the longest cycle that is looked for."""
IDLE_TURNS: Final = 25
"""Turns without a changed file and without a result that was not seen before."""

_DURATIONS = re.compile(r"\d+(?:\.\d+)?\s?(?:ms|s|sec|seconds?)\b")
"""The same test run takes another time each time: that is no new information."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One tool call of a turn with what came of it."""

    tool: str
    arguments: str
    result: str


class StuckDetector:
    """Watches the turns of one run: a turn is one model answer with the results of its tool calls.

    It depends on the turns alone, so a replayed run is judged like the one that was recorded.
    """

    def __init__(self) -> None:
        self._turns: deque[bytes] = deque(maxlen=REPEATS * CYCLE)
        self._results: set[bytes] = set()
        self._idle = 0

    def observe(self, turn: Sequence[Seen], *, files_changed: bool) -> None:
        """Take in one turn. Raises ``StuckError`` with a sentence that says what went on and on."""
        if not turn:
            return
        self._turns.append(_digest(*(part for call in turn for part in (call.tool, call.arguments, call.result))))
        news = False
        for call in turn:
            result = _digest(call.tool, call.result)
            news = news or result not in self._results
            self._results.add(result)
        self._idle = 0 if news or files_changed else self._idle + 1
        period = self._period()
        if period:
            again = f"the same {period} turns" if period > 1 else f"the same call of {turn[-1].tool!r}"
            raise StuckError(
                f"the agent is stuck: {again} came back with the same result {REPEATS} times in a row; "
                f"say in the task what it should do instead, or retry with another profile"
            )
        if self._idle >= IDLE_TURNS:
            raise StuckError(
                f"the agent is stuck: {IDLE_TURNS} turns without a changed file or anything new to read; "
                f"make the task more concrete, or retry with another profile"
            )

    def _period(self) -> int:
        turns = list(self._turns)
        for period in range(1, CYCLE + 1):
            span = turns[-period * REPEATS :]
            if len(span) == period * REPEATS and all(span[i] == span[i % period] for i in range(len(span))):
                return period
        return 0


def _digest(*parts: str) -> bytes:
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(_DURATIONS.sub("", part).encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.digest()
