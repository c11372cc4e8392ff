"""What is around an order is taken off, and misspelt command words are mended."""

from __future__ import annotations

import difflib
import re
from typing import Final

_BEFORE: Final = re.compile(
    r"(?:please|pls|plz|hey|hi|hello|ok(?:ay)?|so|now|well|and|then|just|quickly|kindly|ez(?:aigent)?|fleet|team"
    r"|(?:can|could|would|will) you(?: please)?(?: just)?|i(?:'d| would) like you to|i want you to|i need you to"
    r"|let's|lets|go ahead and|time to)[\s,:]+",
    re.IGNORECASE,
)
_AFTER: Final = re.compile(
    r"[\s,]+(?:please|pls|plz|for now|right now|now|at once|immediately|for a (?:moment|while|bit|minute)|a moment"
    r"|thanks|thank you|thx|again|then|at the moment|will you|would you|ok(?:ay)?)[\s.!?]*$",
    re.IGNORECASE,
)
_RUN: Final = re.compile(r"(?:, ?){8,}")
"""Commas in a row, over which patterns would go again and again."""
_MARKS: Final = " .!?;,"
_LAYERS: Final = 12
"""Times that politeness is taken off."""
_TAIL: Final = 60
"""Characters at the end in which it is looked for."""

_COMMAND: Final = """
pause stop hold halt suspend freeze resume unpause continue start restart drain finish cancel abort kill retry
rerun approve accept scale clear empty flush purge wipe remove delete drop queue backlog status overview agents
agent tasks task everything everyone everybody except fleet pool cost costs spend spent help commands show list
queued waiting running failed review more work
"""
WORDS: Final = frozenset(_COMMAND.split())
"""Words of the templates that may be misspelt."""

_ENGLISH: Final = """
cause parse paste phase pulse clean clever cleaner clears cleared start smart state stats stale store story
scare space shale train brain grain channel counsel concel cancels canceled cancelled pauses paused entry entity
holt hole hood kill skill till fill bill mill will clear queen quiet quite every expect accepts excerpt approves
approved cost cast coast host post most lost test text asks mask flask flash fresh lush flow pools spool tool
cool pull poll reviews reviewed wait waits warning failure fail fails sent send span speed help shell held heap
hope list last least lift agent agile urgent stack task talk tank work word world worm ward wore more move mode
model note made make shop stamp step stops stopped
"""
_REAL: Final = frozenset(_ENGLISH.split())
"""Real words that are near a command word and must not become one."""

_CLOSE: Final = 0.74
_SHORTEST: Final = 4
_LONGER: Final = 2


def bare(text: str) -> str:
    """Return the order without politeness and closing marks, its own letters kept."""
    plain = _RUN.sub(", ", " ".join(text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split()))
    for _ in range(_LAYERS):
        shorter = plain.rstrip(_MARKS)
        found = _BEFORE.match(shorter)
        if found:
            shorter = shorter[found.end() :]
        end = max(0, len(shorter) - _TAIL)
        shorter = shorter[:end] + _AFTER.sub("", shorter[end:])
        if not shorter:
            return plain.rstrip(_MARKS)
        if shorter == plain:
            break
        plain = shorter
    return plain


def mended(text: str, known: frozenset[str]) -> str:
    """Return the text with words that are close to a command word put right; ``known`` names stay as they are."""
    return re.sub(r"[A-Za-z]{4,}(?![\w-]*\d)", lambda found: _mend(found[0], known), text)


def _mend(word: str, known: frozenset[str]) -> str:
    low = word.casefold()
    if low in WORDS or low in _REAL or low in known or low.removesuffix("s") in WORDS | known:
        return word
    best = [one for one in WORDS if abs(len(one) - len(low)) <= _LONGER and one[0] == low[0] and _near(low, one)]
    if not best:
        return word
    return max(best, key=lambda one: difflib.SequenceMatcher(None, low, one).ratio())


def _near(word: str, right: str) -> bool:
    if len(right) < _SHORTEST:
        return False
    if sorted(word) == sorted(right):
        return True  # two letters changed places
    return difflib.SequenceMatcher(None, word, right).ratio() >= _CLOSE
