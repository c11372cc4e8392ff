"""The parts of a sentence that carry a value: whom, how many, which task, which period."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ezaigent.chat.commands import EVERYONE, Period
from ezaigent.chat.known import Spelling

TASK: Final = r"[0-9][0-9a-hjkmnp-tv-z]{4,15}"
"""How a task's id, or the beginning of one, looks: it begins with a digit and has five characters or more."""

_EVERYONE: Final = re.compile(
    r"\*|all|everything|every ?one|every ?body|everyting|evrything|evryone|(?:all )?(?:of )?them all"
    r"|(?:all |every )(?:the )?agents?|all of (?:the|our) agents|the agents|agents"
    r"|(?:all of )?(?:the |our )?(?:whole |entire )?(?:fleet|team|crew)"
)
_EXCEPT: Final = re.compile(
    r"\s*,?\s+(?:and )?(?:except(?:ing)?(?: for)?|but(?: not)?|apart from|aside from|other than|besides|save(?: for)?"
    r"|excluding|excpet|expect)\s+"
)
_AND: Final = re.compile(r"\s*(?:,\s*and|,|&|\band\b)\s*|\s+")
_NOISE: Final = re.compile(r"\b(?:both|all|of|the|every|our|agents?|pools?|ones?|profile)\b")

_NUMBERS: Final = {
    word: number
    for number, words in enumerate(
        (
            "zero no none",
            "one a an another single",
            "two couple",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        )
    )
    for word in words.split()
}
NUMBER: Final = rf"\d{{1,4}}|a couple(?: of)?|{'|'.join(_NUMBERS)}"

_PERIODS: Final[tuple[tuple[re.Pattern[str], Period], ...]] = (
    (re.compile(r"(?:today|day|daily|so far today|today so far|right now|now|todays|today'?s)"), "today"),
    (re.compile(r"(?:(?:this |the )?(?:last |past )?(?:week|7 days|seven days)(?:'s)?(?: so far)?|weekly)"), "week"),
    (
        re.compile(r"(?:(?:this |the )?(?:last |past )?(?:month|30 days|thirty days)(?:'s)?(?: so far)?|monthly)"),
        "month",
    ),
    (
        re.compile(r"(?:all|total|in total|altogether|overall|all time|ever|so far in total|in total so far|so far)"),
        "all",
    ),
)


class Whom(NamedTuple):
    """The targets of a command."""

    targets: tuple[str, ...]
    excepted: tuple[str, ...] = ()


def whom(text: str, spelling: Spelling) -> Whom | None:
    """Read ``everything except claude-1``, ``the gpt agents``, ``claude-1 and gpt``; None where it is not only that."""
    wanted, *rest = _EXCEPT.split(text.strip().casefold())
    if len(rest) > 1:
        return None
    targets = _names(wanted, spelling)
    excepted = _names(rest[0], spelling) if rest else ()
    if not targets or excepted is None or EVERYONE in excepted:
        return None
    return Whom(targets, excepted)


def _names(text: str, spelling: Spelling) -> tuple[str, ...] | None:
    if _EVERYONE.fullmatch(text.strip()):
        return (EVERYONE,)
    plain = re.sub(r"([a-z]) (\d+)\b", r"\1-\2", " ".join(_NOISE.sub(" ", text).split()))
    found: list[str] = []
    for word in filter(None, _AND.split(plain)):
        name = spelling.name(word)
        if name is None:
            spelling.wrong.append(word)
            return None
        found.append(name)
    return tuple(dict.fromkeys(found)) or None


def number(text: str) -> int | None:
    """Read a number in digits or words; None for anything else."""
    word = text.strip().casefold().removesuffix(" of").removeprefix("a ") if text.strip() else ""
    if word.isascii() and word.isdigit():
        return int(word)
    return _NUMBERS.get(word, 1 if text.strip().casefold() == "a" else None)


def period(text: str) -> Period | None:
    """Read ``this week``; None for anything else."""
    plain = text.strip().casefold()
    return next((name for pattern, name in _PERIODS if pattern.fullmatch(plain)), None)
