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
_BARE = (
    r"(?<![\w./⟦-])(?!(?:in|inside|within|under|of|for|across|throughout|from|on|over|below|to|at|by|with|using|via|"
    r"through|and|or|but|except|excluding|the|a|an|all|any|every|each|some|this|that|these|those|it|its|them|their|"
    r"our|my|your|me|us|you|which|where|whole|entire|complete|full|python|source|code|codebase|repo|repository|"
    r"project|tree|everything|everywhere|files?|folders?|director(?:y|ies)|modules?|packages?|sources?|scripts|place|"
    r"general|order|particular|detail|total|short|future|automatically|safely|again|too|as|alphabetically|please|now|"
    r"consistently|properly|if|when|wherever|thanks|thank|then|also|format|reformat|lint|autoformat|class|function|"
    r"method)\b)[A-Za-z_][\w-]*(?![\w./-])"
)
"""A name that may be that of a folder or package: whether there is one is looked up before anything is changed."""
_ANY_ITEM = rf"(?:{_ITEM}|{_BARE}(?:\s+{_KIND})?)"
_ANY_PLACES = rf"{_ANY_ITEM}(?:\s*(?:,|and|&|or|,\s*and)\s+{_ANY_ITEM})*"
_IN = rf"(?:(?:in|inside|within|under|of|across|throughout|below)\s+{_ANY_PLACES}|(?:for|from|on|over)\s+{PLACES})"
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
    rf"(?:package|module|folder|directory)\b|\b(?P<folder>{_FOLDER})\b|(?P<bare>{_BARE})",
    re.IGNORECASE,
)
_ASIDE = re.compile(rf"(?<![\w./⟦-])(?:{_WITH}|{_MANNER})(?![\w./-])", re.IGNORECASE)


def pattern(body: str) -> re.Pattern[str]:
    """Compile ``body`` for whole clauses: politeness and an opening place before it, places and manner after it."""
    return re.compile(rf"{_LEAD}(?:in\s+(?P<before>{_ANY_PLACES}),?\s+)?{_LEAD}(?:{body}){TAIL}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Where:
    """The places that a clause names, as written."""

    paths: tuple[str, ...] = ()
    """Paths, globs and package names; empty: the whole repository."""
    excludes: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    """Those of the paths that are places only if the repository has a folder or package of that name."""


def where(clause: Clause, found: re.Match[str], *extra: str) -> Where:
    """Return the places named in what ``found`` matched (and in its groups ``extra``)."""
    texts = [found["before"] or "", *(found[name] or "" for name in extra), _ASIDE.sub(" ", found["tail"] or "")]
    hits = [hit for text in texts for hit in _SPOT.finditer(text)]
    paths = [clause.restore(next(filter(None, hit.groups()))) for hit in hits]
    bare = [hit["bare"] for hit in hits if hit["bare"]]
    return Where(tuple(dict.fromkeys(paths)), tuple(spots(clause, found["except"] or "")), tuple(bare))


def spots(clause: Clause, text: str) -> list[str]:
    """Return the paths, globs and names of packages in a piece of a clause; other names are not taken for places."""
    hits = [hit for hit in _SPOT.finditer(text) if not hit["bare"]]
    return [clause.restore(next(filter(None, hit.groups()))) for hit in hits]


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
