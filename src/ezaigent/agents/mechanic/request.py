"""From the text of a task to plans: every clause must be understood, or nothing is done."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ezaigent.agents.mechanic.clauses import Clause, clauses
from ezaigent.agents.mechanic.plan import Brief, Limits, Plan, Recipe
from ezaigent.agents.mechanic.wording import spots

_NEGATED = re.compile(
    r"(?:(?:please|but|and|also|just)\s+)*"
    r"(?:do not|don't|does not|must not|mustn't|never|no need to|you (?:must|should|may) not|avoid|without|leave|keep|"
    r"preserve|no)\b\s*(?P<rest>.*)",
    re.IGNORECASE,
)
_FORBIDS = {
    "format": r"\b(?:re-?)?format|\bformatt",
    "lint": r"\blint|\bimports?\b|\bruff\b",
    "modernise": r"\bmoderni[sz]|\bupgrade|\bsyntax\b",
    "rename": r"\brename|\bnames?\b",
}
_EVERYTHING = re.compile(
    r"(?:change|edit|modify|touch|alter|write|do)\s+(?:any\s?thing|any (?:files?|code)|(?:the )?(?:files|code))$",
    re.IGNORECASE,
)
_ASKS = (
    r"(?:should|must|need(?:s|ed)?|have to|has to|ought|want|wants|would like|add|adds|implement|please|"
    r"let's|make sure)"
)
_CONTEXT = re.compile(
    r"(?:thanks?|thank you|cheers|please|hello|hi|hey|dear)\b[\w ,]*$"
    r"|(?:the|this|that|these|those|there|it|its|it's|we|we're|they|our|currently|today|since|because|some|many|"
    rf"several|after|as|i|i'm|my|right now|at the moment)\b(?!.*\b{_ASKS}\b)",
    re.IGNORECASE,
)
_USERS = (
    r"(?:callers?|call ?sites?|call(?:s|ing code)|usages?|uses?|references?|imports?|users of it|places|"
    r"occurrences?|mentions?|tests|docs|documentation)"
)
_FOLLOW_UP = re.compile(
    r"(?:and |also |please )*(?:update|adjust|adapt|fix|change|rename|follow up (?:in|on)|including)\s+"
    rf"(?:all|every|the|its|any|of|each|also|in|it|\s)*{_USERS}(?:\s+(?:of|to) (?:it|them|⟦\d+⟧|\w+))?"
    rf"(?:\s*(?:,|and)\s*(?:all |every |the |its )*{_USERS})*"
    r"(?:\s+(?:too|accordingly|as well|everywhere|where it is used|consistently))?",
    re.IGNORECASE,
)
_TESTS_MAY = re.compile(
    r"\b(?:edit|chang|adapt|updat|fix|adjust)(?:e|ing)?\s+(?:the\s+)?tests?(?:\s+(?:files?|too|as well))?\s+"
    r"(?:is|are)\s+(?:ok|okay|fine|allowed)\b"
    r"|\byou (?:may|can) (?:also )?(?:edit|change|fix|adapt|adjust|update) (?:the )?tests?\b"
    r"|\bthe tests? (?:is|are|itself is|themselves are) wrong\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a text asks for."""

    plans: tuple[Plan, ...]
    """In the order of the work; formatting comes after the fixes that it stands next to."""
    limits: Limits
    unknown: str | None = None
    """The first piece that nobody understood; then nothing may be done."""


def read_request(text: str, recipes: Sequence[Recipe], brief: Brief) -> Request:
    """Read a text; ``unknown`` is set where any piece of it asks for something that no recipe can do."""
    plans: list[Plan] = []
    excludes: list[str] = []
    forbidden: set[str] = set()
    tests_may_change = False
    for clause in clauses(text):
        if _TESTS_MAY.search(clause.text):
            tests_may_change = True
        elif (found := _read(clause, recipes, brief)) is not None:
            plans.extend(found[0])
            for limit in found[1]:
                excludes.extend(limit.excludes)
                forbidden |= limit.forbidden
        elif _FOLLOW_UP.fullmatch(clause.text) and any(plan.recipe == "rename" for plan in plans):
            continue
        elif not _CONTEXT.match(clause.text):
            return Request((), Limits(), clause.shown)
    kept = [plan for plan in plans if plan.recipe not in forbidden]
    limits = Limits(tuple(excludes), frozenset(forbidden), tests_may_change)
    return Request(tuple(_format_last(kept)), limits)


def _read(clause: Clause, recipes: Sequence[Recipe], brief: Brief) -> tuple[list[Plan], list[Limits]] | None:
    """Understand a clause as one piece of work, or as several joined by "and"; None where any part stays dark."""
    if (limits := _limits(clause)) is not None:
        return [], [limits]
    for recipe in recipes:
        if plan := recipe.match(clause, brief):
            return [plan], []
    for left, right in _splits(clause):
        first = _read_one(left, recipes, brief)
        if first is None:
            continue
        if _FOLLOW_UP.fullmatch(right.text) and any(plan.recipe == "rename" for plan in first[0]):
            return first
        if rest := _read(right, recipes, brief):
            return [*first[0], *rest[0]], [*first[1], *rest[1]]
    return None


def _splits(clause: Clause) -> list[tuple[Clause, Clause]]:
    """Every way to part the clause; a "but do not …" or "without …" at its end stands for itself."""
    ways = list(clause.splits())
    if tail := re.search(
        r"(?:,\s*|\s+)(?:but\s+)?(?=(?:but|do not|don't|without|never)\b)", clause.text, re.IGNORECASE
    ):
        ways.insert(
            0,
            (
                Clause(clause.text[: tail.start()].strip(" ,"), clause.quotes),
                Clause(clause.text[tail.end() :].strip(), clause.quotes),
            ),
        )
    return ways


def _read_one(clause: Clause, recipes: Sequence[Recipe], brief: Brief) -> tuple[list[Plan], list[Limits]] | None:
    if (limits := _limits(clause)) is not None:
        return [], [limits]
    plan = next((plan for recipe in recipes if (plan := recipe.match(clause, brief))), None)
    return ([plan], []) if plan else None


def _limits(clause: Clause) -> Limits | None:
    """Read "do not …": it never asks for work, it only rules work or places out."""
    found = _NEGATED.fullmatch(clause.text)
    if found is None:
        return None
    rest = found["rest"]
    if _EVERYTHING.fullmatch(rest.strip()):
        return Limits(forbidden=frozenset(("check", *_FORBIDS)))
    places = spots(clause, rest)
    if places:
        return Limits(excludes=tuple(places))
    return Limits(
        forbidden=frozenset(name for name, words in _FORBIDS.items() if re.search(words, rest, re.IGNORECASE))
    )


def _format_last(plans: list[Plan]) -> list[Plan]:
    """Put formatting after the fixes next to it: fixes leave lines that only the formatter tidies."""
    ordered: list[Plan] = []
    for plan in plans:
        at = len(ordered)
        while plan.recipe in {"lint", "modernise"} and at and ordered[at - 1].recipe == "format":
            at -= 1
        ordered.insert(at, plan)
    return ordered
