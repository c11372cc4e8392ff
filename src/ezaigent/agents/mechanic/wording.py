"""The small grammar that the recipes share: how requests begin, and how they name places.

Patterns are matched against a whole clause, so a sentence with one word that no pattern knows is not understood.
That is on purpose: doing something else than what was asked is worse than saying no.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ezaigent.agents.mechanic.clauses import Clause

_LONGEST = 400
"""Characters of a clause that is still tried; nobody asks for one thing in more."""
QUOTED = r"⟦\d+⟧"
QUANTITY = (
    r"(?:(?:all|any|every|each|the|its|their|our|my|this|these|those|of|remaining|existing|outstanding|current|"
    r"various|some)\s+)*"
)
_LEAD = (
    r"(?:(?:please|now|also|then|next|first|finally|afterwards|and|just|kindly|ok|okay|hey|hi|hello|quickly|simply|"
    r"todo|task|chore|style|refactor|cleanup|go ahead and|let's|let us|can you|could you|would you|will you|"
    r"we (?:should|must|need to|want to|have to)|you (?:should|must|need to|have to|can|may)|"
    r"i(?:'d)?(?: would)? (?:need|want|like)(?: you)? to|make sure to|be sure to|remember to|"
    r"help (?:me|us)(?: to)?|(?:use|run) ruff to|(?:with|using) ruff)[,:]?\s+)*"
)
_PATH = r"(?:[\w.*?\[\]{}-]*/[\w.*?\[\]{}/-]*|[\w*?-]+\.pyi?)"
_FOLDER = r"(?:src|tests?|lib|apps?|scripts?|examples?|benchmarks?|tools?)"
SPOT = rf"(?:{QUOTED}|{_PATH}|{_FOLDER}\b)"
_KIND = r"(?:files?|folders?|director(?:y|ies)|packages?|modules?|trees?|scripts?|code|sources?)"
_WHOLE = (
    r"(?:(?:whole|entire|complete|full|python|source)\s+)*"
    r"(?:repository|repo|project|package|code ?base|code|tree|sources?|files|modules|everything|everywhere)"
)
_AMONG = (
    rf"(?:(?:all|every|each|the)\s+)*(?:python\s+)?{_KIND}\s+"
    r"(?:in|under|of|from|below|inside|within)\s+"
)
_ITEM = (
    rf"(?:{_AMONG})?(?:(?:the|all|our|this|every)\s+)*"
    rf"(?:{SPOT}(?:\s+{_KIND})?|\w+\s+(?:package|module|folder|directory)|{_WHOLE})"
)
PLACES = rf"{_ITEM}(?:\s*(?:,|and|&|or|,\s*and)\s+{_ITEM})*"
_IN = rf"(?:in|inside|within|under|of|for|across|throughout|from|on|over|below)\s+{PLACES}"
_EXCEPT = (
    r"(?:,\s*)?(?:except|excluding|but not|other than|without|skipping|ignoring|leaving out)\s+"
    rf"(?:(?:in|for|from)\s+)?(?P<except>{PLACES})"
)
_WITH = (
    r"(?:with|using|via|through|by (?:running|using)|according to)\s+"
    r"(?:ruff(?:'s)?(?:\s+(?:check|format|formatter|linter|isort|fixes))?(?:\s+--fix)?|"
    r"(?:the|its|our) (?:(?:own|existing) )?(?:linter|formatter|(?:ruff )?config(?:uration)?|settings)|"
    rf"{QUOTED})"
)
_MANNER = (
    r"(?:,\s*)?(?:automatically|safely|again|too|as well|alphabetically|in place|please|now|everywhere|throughout|"
    r"consistently|properly|(?:if|where|wherever|when) possible|"
    r"(?:that|which) can be fixed(?: automatically| safely)?|thanks|thank you|"
    r"(?:repo|project|repository|package|code ?base)[- ]wide|across the board)"
)
TAIL = rf"(?P<tail>(?:,?\s+(?:{_IN}|{_WITH}|{_MANNER})|{_MANNER})*)(?:\s*{_EXCEPT})?"
_SPOT = re.compile(
    rf"(?P<quoted>{QUOTED})|(?P<path>{_PATH})|"
    r"\b(?P<named>(?!(?:whole|entire|python|source|this|the|our|all|every)\b)\w+)\s+"
    rf"(?:package|module|folder|directory)\b|\b(?P<folder>{_FOLDER})\b"
)


def pattern(body: str) -> re.Pattern[str]:
    """Compile ``body`` for whole clauses: politeness and an opening place before it, places and manner after it."""
    return re.compile(rf"{_LEAD}(?:in\s+(?P<before>{PLACES}),?\s+)?{_LEAD}(?:{body}){TAIL}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Where:
    """The places that a clause names, as written."""

    paths: tuple[str, ...] = ()
    """Paths, globs and package names; empty: the whole repository."""
    excludes: tuple[str, ...] = ()


def where(clause: Clause, found: re.Match[str], *extra: str) -> Where:
    """Return the places named in what ``found`` matched (and in its groups ``extra``)."""
    texts = [
        found["before"],
        *(found[name] for name in extra),
        re.sub(_WITH, "", found["tail"] or "", flags=re.IGNORECASE),
    ]
    paths = [path for text in texts if text for path in spots(clause, text)]
    return Where(tuple(dict.fromkeys(paths)), tuple(spots(clause, found["except"] or "")))


def spots(clause: Clause, text: str) -> list[str]:
    """Return the paths, globs and package names in a piece of a clause."""
    return [clause.restore(next(filter(None, spot.groups()))) for spot in _SPOT.finditer(text)]


def understood(form: re.Pattern[str], clause: Clause) -> re.Match[str] | None:
    """Match a whole clause; None also where it asks for another tool, or names places that hold no Python code."""
    found = form.fullmatch(clause.text) if len(clause.text) <= _LONGEST else None
    if found is None:
        return None
    tools = [
        clause.restore(with_[1])
        for with_ in re.finditer(rf"\b(?:with|using|via|through|running)\s+({QUOTED})", found["tail"] or "")
    ]
    if any(not re.match(r"ruff\b|python", tool) for tool in tools):
        return None
    named = where(clause, found)
    return found if all(_may_hold_code(path) for path in (*named.paths, *named.excludes)) else None


def _may_hold_code(path: str) -> bool:
    return bool(re.fullmatch(r"[\w./*?\[\]{}@ +-]+", path)) and not re.search(r"\.(?!pyi?$)[A-Za-z]\w{0,5}$", path)
