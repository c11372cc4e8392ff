"""What a task says about its order: ``after the parser``, ``depends on #2``, ``once the schema is in place``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_WORDS: Final = r"(?:depends on|depending on|after|needs|requires|blocked by|once|following|builds on|based on)"
_IN_BRACKETS: Final = re.compile(rf"\s*[(\[]\s*(?:{_WORDS}):?\s+(?P<what>[^)\]]{{1,500}})[)\]]", re.IGNORECASE)
_AT_END: Final = re.compile(
    rf"[\s,;.\u2013\u2014-]+(?:and )?(?:{_WORDS}):?\s+(?P<what>[^.;]+?)"
    r"(?: (?:is|are) (?:done|finished|ready|in place|merged|there|complete))?[.\s]*$",
    re.IGNORECASE,
)
_MARKS: Final = ",;.\u2013\u2014-"
_LINE: Final = re.compile(
    r"^(?:depends on|dependencies|depends|after|needs|requires|blocked by)\s*:?\s+(?P<what>.+)$", re.IGNORECASE
)
_NUMBER: Final = re.compile(r"(?:#|no\.? ?|task |step |item )?(\d{1,3})\b", re.IGNORECASE)
_SEVERAL: Final = re.compile(r"\s*(?:,\s*and\s+|,|;|\band\b|&|\+)\s*")
_PREVIOUS: Final = re.compile(
    r"(?:the )?(?:previous|above|last|preceding|prior)(?: one| task| step| item)?|that|this|it", re.IGNORECASE
)
_ALL_ABOVE: Final = re.compile(
    r"(?:all |everything |the )+(?:of the )?(?:above|others?|rest|previous)(?: tasks?| steps?)?", re.IGNORECASE
)
_WORD: Final = re.compile(r"[a-z0-9]+")
_EMPTY: Final = frozenset(
    {"a", "an", "the", "to", "of", "in", "on", "for", "and", "or", "is", "are", "be", "it", "its"}
)
_ENOUGH: Final = 0.6


@dataclass(frozen=True, slots=True)
class Said:
    """A text without what it says about order, and what that was."""

    text: str
    after: tuple[str, ...] = ()
    """References in the author's own words."""


def order_of(text: str) -> Said:
    """Take the references out of a title."""
    after: list[str] = []
    bare = _IN_BRACKETS.sub(lambda found: after.append(found["what"].strip()) or "", text)
    found = _AT_END.search(bare, _last_clause(bare))
    if found and bare[: found.start()].strip():
        after.append(found["what"].strip())
        bare = bare[: found.start()]
    return Said(bare.strip(), tuple(after))


def _last_clause(text: str) -> int:
    """Return where a reference at the end can begin at the earliest: none goes over a full stop or a semicolon.

    Without it the pattern would go to that mark again from each of many words that look like a reference.
    """
    end = len(text)
    while end and (text[end - 1] == "." or text[end - 1].isspace()):
        end -= 1
    begin = max(text.rfind(".", 0, end), text.rfind(";", 0, end), 0)
    while begin and (text[begin - 1] in _MARKS or text[begin - 1].isspace()):
        begin -= 1
    return begin


def order_in_line(line: str) -> str | None:
    """Return what a line of details such as ``Depends on: the parser`` refers to; None for another line."""
    found = _LINE.match(line.strip().strip("*_"))
    return found["what"].strip().lstrip("*_ ") if found else None


def named_in(reference: str) -> list[str]:
    """Return the names in a reference, which may list several."""
    return [part for part in _SEVERAL.split(_bare(reference)) if part]


def resolve(
    reference: str, titles: Sequence[frozenset[str]], numbers: Sequence[int | None], at: int
) -> list[int] | None:
    """Return the places of the tasks that a reference means, seen from the task at ``at``; None where it is unclear.

    ``titles`` are the words (``words_of``) of the tasks' titles.
    """
    whole = _bare(reference)
    if _ALL_ABOVE.fullmatch(whole):
        return list(range(at))
    if _PREVIOUS.fullmatch(whole):
        return [at - 1] if at else []
    parts = named_in(reference)
    several = [at - 1 if _PREVIOUS.fullmatch(part) and at else _one(part, titles, numbers, at) for part in parts]
    found = [place for place in several if place is not None]
    if found and len(found) == len(several):
        return found
    one = _one(whole, titles, numbers, at)
    return None if one is None else [one]


def _bare(reference: str) -> str:
    return reference.strip().strip("`'\"*_.")


def _one(text: str, titles: Sequence[frozenset[str]], numbers: Sequence[int | None], at: int) -> int | None:
    number = _NUMBER.fullmatch(text.strip())
    if number:
        wanted = int(number[1])
        numbered = [place for place, own in enumerate(numbers) if own == wanted and place != at]
        if numbered:
            return min(numbered, key=lambda place: abs(place - at))
        return wanted - 1 if 0 < wanted <= len(titles) and wanted - 1 != at else None
    words = words_of(text)
    if not words:
        return None
    best, place = max(
        (
            (_share(words, title), place)
            for place, title in enumerate(titles)
            if place != at and not words.isdisjoint(title)
        ),
        default=(0.0, -1),
    )
    return place if best >= _ENOUGH else None


def _share(wanted: frozenset[str], title: frozenset[str]) -> float:
    """Return how much of what is referred to is in a title, a little less the more else is in it."""
    common = len(wanted & title)
    return common / len(wanted) - 0.001 * (len(title) - common)


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text by which it is told from others, without their endings."""
    return frozenset(_stem(word) for word in _WORD.findall(text.casefold()) if word not in _EMPTY)


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:  # noqa: PLR2004 - what is left is still a word
            return word.removesuffix(ending).rstrip("e")
    return word.rstrip("e") or word
