"""Requests for work: a sentence that begins with a verb of work is a proposed task, its tail says where and by whom."""

from __future__ import annotations

import re
from typing import Final, Literal

from ezaigent.chat.commands import Submit
from ezaigent.chat.known import Spelling
from ezaigent.chat.slots import TASK

Priority = Literal["critical", "high", "normal", "low"]

_WORK: Final = (
    "fix|repair|resolve|mend|debug|add|write|implement|create|make|build|develop|refactor|rewrite|restructure|"
    "rename|move|update|upgrade|bump|document|describe|optimi[sz]e|translate|port|migrate|convert|replace|"
    "change|improve|investigate|test|cover|extract|split|merge|introduce|support|format|sort|tidy|clean up|"
    "polish|simplify|speed up|profile|validate|verify|check|review|audit|generate|set up|configure|integrate|"
    "expose|handle|log|cache|deprecate|pin|annotate|look into|look at|have a look at|take care of|type|lint|"
    "mock|benchmark|adapt|extend|reduce|enable|disable|allow|ensure|find|analy[sz]e|draft|prepare|remove"
)
_WORK_WITH_PLACE: Final = "delete|drop|clear|stop|cancel|kill|scale|pause|resume|empty|drain|start|run|purge|let"
"""Verbs that also steer the fleet: they ask for work only where a repository is named."""

_PATH: Final = (
    r"(?:(?:https?|ssh|git|file)://[^\s,;]+|[\w.-]+@[\w.-]+:[^\s,;]+|(?:~|\.{1,2})?/[^\s,;]*[^\s,;.!?]|~[\w.-]*)"
)
_REPO: Final = re.compile(
    r"(?:^|[\s,]+)(?:in|at|on|of|for|inside|within|under|into)(?: the)?"
    r"(?: (?:repo|repository|project|folder|directory))?"
    rf" (?P<repo>{_PATH})(?=$|[\s,;.!?])",
    re.IGNORECASE,
)
_BY_TAIL: Final = re.compile(
    r"[\s,]+(?:(?:and )?(?:let|have|get|make) (?P<let>[\w-]+)(?: agents?)? (?:to )?"
    r"(?:do|handle|take(?: care of)?|make) (?:it|that|this)"
    r"|(?:with|using|via|by|for|through) (?:the )?(?P<with>[\w-]+)(?: agents?)?)$",
    re.IGNORECASE,
)
_BY_HEAD: Final = re.compile(
    r"(?:(?:let|have|get|ask|use|tell|make|i want|i need|i would like|i'd like|want|assign(?: it)? to|could|can|would)"
    r" (?:the |a )?(?P<a>[\w-]+)(?: agents?)?(?: please|:)? (?:to )?"
    r"|(?:the |a )?(?P<b>[\w-]+)(?: agents?)?(?:[,:]| should| shall| can| must| could| may)(?: please)? )(?=[a-z])",
    re.IGNORECASE,
)
_WISH: Final = re.compile(
    r"(?:(?:we|you|they|some ?one|some ?body) (?:should|must|need to|have to|ought to|could|please)|it is time to)"
    r"(?: please| also| really)? ",
    re.IGNORECASE,
)
_PRIORITY: Final = re.compile(
    r"(?:^|[\s,]+)(?:(?:with |at )?(?P<name>critical|high|highest|top|low|lowest|normal)[ -]prio(?:rity)?"
    r"|(?P<soon>urgent(?:ly)?|asap|as soon as possible))(?:\s*[:,-])?(?=$|\s)",
    re.IGNORECASE,
)
_NAMES: Final[dict[str, Priority]] = {
    "critical": "critical",
    "highest": "critical",
    "top": "critical",
    "high": "high",
    "normal": "normal",
    "low": "low",
    "lowest": "low",
}
_NEW: Final = re.compile(
    r"(?:new|queue|submit|create|open|start)(?: a| the| another)?(?: new)? task\s*(?::|to\b|-)\s*", re.IGNORECASE
)
_ASKED_LAST: Final = re.compile(
    r"(?P<what>.+?)[,;.]\s*(?:and |so )?(?:please |can you |could you )?"
    r"(?:fix|build|repair|do|implement|add|solve|change|make|write|handle)"
    r" (?:it|that|this|them)(?: please)?",
    re.IGNORECASE | re.DOTALL,
)
_ABOUT_TASK: Final = re.compile(rf"[\w ]{{1,20}} {TASK}", re.IGNORECASE)
"""A verb and a task's id: about that task, no work of its own."""
_LONGEST: Final = 1000
"""Characters of a sentence that ends in ``please fix it``."""
_STARTS: Final = re.compile(rf"(?:{_WORK})\b", re.IGNORECASE)
_STARTS_WITH_PLACE: Final = re.compile(rf"(?:{_WORK_WITH_PLACE})\b", re.IGNORECASE)


def work(text: str, spelling: Spelling) -> Submit | None:
    """Read a request for work; None where it is none. ``text`` is without politeness."""
    said, told_so = _taken(_NEW, text)
    said, _ = _taken(_WISH, said)
    said, priority = _priority(said)
    said, repo = _repo(said)
    said, profile = _profile(said, spelling)
    if repo is None:
        said, repo = _repo(said)
    said = " ".join(said.split()).strip(" ,;:-")
    if not said or _ABOUT_TASK.fullmatch(said):
        return None
    last = _ASKED_LAST.fullmatch(said) if len(said) <= _LONGEST else None
    starts = _STARTS.match(said) or (repo is not None and _STARTS_WITH_PLACE.match(said))
    if not (told_so or starts or last):
        return None
    return Submit(prompt=said, repo=repo, profile=profile, priority=priority)


def _taken(pattern: re.Pattern[str], text: str) -> tuple[str, bool]:
    found = pattern.match(text)
    return (text[found.end() :], True) if found else (text, False)


def _priority(text: str) -> tuple[str, Priority]:
    found = _PRIORITY.search(text)
    if found is None:
        return text, "normal"
    rest = f"{text[: found.start()]} {text[found.end() :]}".strip()
    return rest, _NAMES[found["name"].casefold()] if found["name"] else "high"


def _repo(text: str) -> tuple[str, str | None]:
    found = list(_REPO.finditer(text))
    if not found:
        return text, None
    last = found[-1]
    return f"{text[: last.start()]}{text[last.end() :]}".strip(" ,"), last["repo"]


def _profile(text: str, spelling: Spelling) -> tuple[str, str | None]:
    for pattern in (_BY_HEAD, _BY_TAIL):
        found = pattern.match(text) if pattern is _BY_HEAD else pattern.search(text)
        name = next((one for one in found.groups() if one), None) if found else None
        profile = spelling.profile(name) if name else None
        if found and profile is not None:
            return (text[found.end() :] if pattern is _BY_HEAD else text[: found.start()]), profile
    return text, None
