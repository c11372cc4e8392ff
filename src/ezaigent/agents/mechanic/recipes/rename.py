"""Renames a symbol wherever it is used, by the language's own scoping rules."""

from __future__ import annotations

import keyword
import re

from ezaigent.agents.mechanic import programs
from ezaigent.agents.mechanic.clauses import Clause
from ezaigent.agents.mechanic.places import read_json
from ezaigent.agents.mechanic.plan import Brief, Call, Limits, Plan, Steps
from ezaigent.agents.mechanic.wording import QUOTED, pattern, understood, where
from ezaigent.core.errors import RunError

_NAME = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?:\(\))?"
_SYMBOL = rf"(?:{QUOTED}|{_NAME})"
_KINDS = {
    "function": "function",
    "helper": "function",
    "coroutine": "function",
    "method": "method",
    "property": "method",
    "class": "class",
    "dataclass": "class",
    "exception": "class",
    "enum": "class",
    "type": "",
    "constant": "variable",
    "variable": "variable",
    "global": "variable",
    "symbol": "",
    "identifier": "",
    "name": "",
}
_KIND = (
    rf"(?:(?:python|public|private|helper|module-level|top-level|global|async)\s+)*(?P<kind{{n}}>{'|'.join(_KINDS)})"
)
_OF = rf"(?:\s+(?:of|on|from|in)\s+(?:the\s+)?(?:class\s+(?P<owner>{_SYMBOL})|(?P<owner2>{_SYMBOL})\s+class))?"
_TO = r"\s*(?:\s(?:to|into|as)\s|→|->|=>)\s*(?:be\s+)?"
_FORM = pattern(
    rf"rename\s+(?:the\s+)?(?:{_KIND.format(n=1)}\s+)?(?P<old>{_SYMBOL}){_OF}"
    rf"{_TO}(?P<new>{_SYMBOL}){_OF.replace('owner', 'owner_')}"
    rf"|(?:change|replace)\s+the\s+name\s+(?:of\s+)?(?:the\s+)?(?:{_KIND.format(n=2)}\s+)?(?P<old2>{_SYMBOL})"
    rf"\s+(?:to|with|by|into)\s+(?P<new2>{_SYMBOL})"
    rf"|(?:the\s+)?(?:{_KIND.format(n=3)}\s+)(?P<old3>{_SYMBOL})\s+(?:should|must|shall|needs to|has to)\s+be\s+"
    rf"(?:called|named|renamed(?:\s+to)?)\s+(?P<new3>{_SYMBOL})"
)
_ORDINARY = frozenset(
    [
        "the",
        "project",
        "repo",
        "repository",
        "package",
        "module",
        "file",
        "folder",
        "directory",
        "branch",
        "master",
        "main",
        "app",
        "table",
        "column",
        "it",
    ]
)
"""Words that are hardly ever meant as a Python name when they stand without quotes."""


class RenameRecipe:
    """Renames functions, classes, methods and module-level names."""

    able = "rename a function, class, method or module-level name"

    def match(self, clause: Clause, brief: Brief) -> Plan | None:  # noqa: ARG002 - the interface of all recipes
        """Return a plan where the clause names an old and a new name."""
        found = understood(_FORM, clause)
        if found is None:
            return None
        written = _first(found, "old", "old2", "old3"), _first(found, "new", "new2", "new3")
        kind = _first(found, "kind1", "kind2", "kind3").lower()
        old, new = (clause.restore(word).removesuffix("()") for word in written)
        if not all(re.fullmatch(_NAME, name) and not name.endswith(".py") for name in (old, new)):
            return None
        quoted = any(word.startswith("⟦") for word in written)
        if (
            not quoted
            and not kind
            and (old.lower() in _ORDINARY or not any(map(_looks_like_code, (*written, old, new))))
        ):
            return None
        owner = clause.restore(_first(found, "owner", "owner2", "owner_", "owner_2"))
        if owner and "." not in old:
            old = f"{owner}.{old}"
        return _plan(old, new, _KINDS[kind or "name"], where(clause, found).paths)


def _first(found: re.Match[str], *names: str) -> str:
    return next((found[name] for name in names if found[name]), "")


def _looks_like_code(word: str) -> bool:
    return "_" in word or "." in word or word.endswith("()") or bool(re.search(r"[a-z][A-Z]|\d", word))


def _plan(old: str, new: str, kind: str, places: tuple[str, ...]) -> Plan:
    new = new.rpartition(".")[2] if new.rpartition(".")[0] == old.rpartition(".")[0] else new

    def steps(brief: Brief, limits: Limits) -> Steps:
        name = old.rpartition(".")[2]
        if not new.isidentifier() or keyword.iskeyword(new):
            raise RunError(f"{new!r} cannot be a name in Python; choose another new name for {old!r}", retryable=False)
        if new == name:
            raise RunError(f"{name!r} has that name already", retryable=False)
        arguments = {
            "old": old,
            "new": new,
            "kind": kind,
            "places": list(places),
            "scope": list(brief.scope),
            "excludes": list(limits.excludes),
        }
        program = programs.command(
            "rename", "tree", "scopes", "modules", "fields", "references", "targets", "mentions", arguments=arguments
        )
        answer = read_json((yield Call("shell", {"command": program}, f"Rename {old} to {new} wherever it is used")))
        if "error" in answer:
            raise RunError(f"{old} was not renamed: {answer['error']}", retryable=False)
        text = f"Renamed {old} to {new}: {answer['uses']} uses in {', '.join(answer['files'])}"
        text += f"; mentions in {', '.join(answer['mentioned'])}" if answer["mentioned"] else ""
        text += "; calls were told by the method's name" if answer["kind"] == "method" else ""
        return text + (f"; the word is still at {', '.join(answer['left'])}." if answer["left"] else ".")

    return Plan("rename", steps, {"old": old, "new": new, "kind": kind, "paths": list(places)})
