"""A document becomes a proposed task graph by its own structure: no model, no network, the same every time.

Open checkboxes are the tasks; without any, the entries of lists; without any, the sections; else the text is one task.
A numbered list is done in its order. What a person finds wrong is edited before anything is queued.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from ezaigent.chat.documents import Document, Item, Section, read_document
from ezaigent.chat.plans import MOST, Plan, PlannedTask, checked, name_for
from ezaigent.chat.references import Said, named_in, order_in_line, order_of, resolve, words_of
from ezaigent.core.errors import UsageError

Priority = Literal["critical", "high", "normal", "low"]

_BACKGROUND: Final = re.compile(
    r".*\b(?:background|context|overview|summary|introduction|goals?|motivation|non-?goals?|out of scope|notes?"
    r"|references?|links?|glossary|risks?|open questions?|faq|appendix|history|stakeholders|problem|personas?|metrics"
    r"|timeline)\b.*",
    re.IGNORECASE,
)
_PROOF: Final = re.compile(
    r".*\b(?:checks?|acceptance(?: criteria)?|definition of done|done when|verification|how to verify)\b.*",
    re.IGNORECASE,
)
_COMMAND: Final = re.compile(r"`([^`\n]+)`")
_RUNNABLE: Final = re.compile(
    r"^(?:\$ )?(?:python3?|pytest|uv|ruff|pyright|mypy|make|npm|npx|pnpm|yarn|node|go|cargo|mvn|gradle|\./|sh|bash|tox"
    r"|nox|deno|bun|dotnet|ctest|cmake|bundle|rake|composer|phpunit|swift|zig|just|test)\b"
)
_FIELD: Final = re.compile(
    r"^[*_]*(?P<name>files?|scope|paths?|checks?|tests?|verify|profile|agent|assignee|priority|prio|repo|repository)[*_]*"
    r"\s*:[*_]*\s+(?P<value>.+)$",
    re.IGNORECASE,
)
_PRIORITIES: Final[dict[str, Priority]] = {
    **dict.fromkeys(("critical", "p0", "urgent", "blocker", "highest"), "critical"),
    **dict.fromkeys(("high", "p1", "important", "must"), "high"),
    **dict.fromkeys(("normal", "medium", "p2", "should"), "normal"),
    **dict.fromkeys(("low", "p3", "minor", "lowest", "nice to have", "could"), "low"),
}
_MARKED: Final = re.compile(
    rf"\s*[(\[]\s*(?:prio(?:rity)?:?\s*)?(?P<name>{'|'.join(_PRIORITIES)})(?:\s+priority)?\s*[)\]]", re.IGNORECASE
)
_AT: Final = re.compile(r"(?:^|\s)@(?P<name>[a-z][a-z0-9-]*)\b")
_PLAIN: Final = re.compile(r"\*\*|__|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)|`|^\[[^\]]*\]\s*|\[([^\]]+)\]\([^)]*\)")
_TITLE: Final = 100
_RUN: Final = re.compile(r"((?:[^\S\n]|[.,;\u2013\u2014-]){40})(?:[^\S\n]|[.,;\u2013\u2014-])+")
"""Blanks and marks in a row, over which patterns would go again and again."""
_LINE: Final = 5000
"""Characters of a line."""
_ENTRIES: Final = 10 * MOST
"""Entries of a document, those that are done counted."""
_NAMED: Final = 4 * MOST
"""References of a document to tasks and sections; each is compared with all entries."""
_PROMPT: Final = 200_000
_PROMPTS: Final = 5_000_000
"""Characters of a plan's prompts and checks: what holds for every task is told to each."""


class Draft(NamedTuple):
    """A proposed plan and what could not be read from the document."""

    plan: Plan
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Entry:
    """A task on its way."""

    text: str
    section: Section
    number: int | None = None
    done: bool = False
    details: list[str] = field(default_factory=list[str])
    after: list[str] = field(default_factory=list[str])
    before: Sequence[int] = ()
    """Places of entries that the order of a numbered list puts before it."""
    scope: list[str] = field(default_factory=list[str])
    checks: list[str] = field(default_factory=list[str])
    profile: str | None = None
    priority: Priority | None = None


def draft_plan(text: str, profiles: Sequence[str] = (), *, repo: str | None = None) -> Draft:
    """Return the task graph that a document asks for, by its structure.

    ``profiles`` are those that tasks may name. Raises ``UsageError`` for a document without work in it, and for needs
    that go in a circle, naming it.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > _LINE:
            raise UsageError(f"line {number} has {len(line)} characters; break it, {_LINE} are the most")
    document = read_document(_RUN.sub(r"\1", text))
    entries = _entries(document)
    opened = sum(not entry.done for entry in entries)
    if not opened:
        raise UsageError("the document asks for nothing: no open checkbox, no list, no section with text")
    if opened > MOST or len(entries) > _ENTRIES:
        raise UsageError(f"{opened} open tasks of {len(entries)} in one document; split it, {MOST} are the most")
    notes: list[str] = []
    for entry in entries:
        _read_fields(entry, profiles, notes)
    known = _Known.of(entries)
    needs = [[] if entry.done else _needs(place, entries, known, notes) for place, entry in enumerate(entries)]
    proof = _Proof.of(document)
    names: set[str] = set()
    named = [name_for(_title(entry.text), names) for entry in entries]
    tasks: list[PlannedTask] = []
    size = 0
    for place, entry in enumerate(entries):
        if entry.done:
            continue
        after = [named[one] for one in needs[place] if not entries[one].done]
        task = _task(entry, named[place], after, document, proof)
        size += len(task.prompt) + sum(map(len, task.checks))
        if size > _PROMPTS:
            raise UsageError(
                f"the tasks' prompts and checks come to more than {_PROMPTS} characters, since each is told what holds "
                "for all; shorten that, or split the document"
            )
        tasks.append(task)
    where = repo or next((one for section in document.sections for one in _repos(section)), None)
    return Draft(checked(tuple(tasks), title=document.title, repo=where), tuple(dict.fromkeys(notes)))


# ---------------------------------------------------------------------------------------------- what is a task


def _entries(document: Document) -> list[_Entry]:
    useful = [section for section in document.sections if not _is_background(section) and not _is_proof(section)]
    boxes = any(item.checked is not None for section in useful for top in section.items for item in top.walk())
    entries: list[_Entry] = []
    for section in useful:
        _from_items(section.items, section, entries, boxes=boxes)
    if entries:
        return entries
    headed = [section for section in useful if section.level > 1 and section.text]
    if headed:
        return [_Entry(section.title, section, details=section.text.split("\n")) for section in headed]
    return [
        _Entry(title, section, details=rest)
        for section in useful
        if section.text
        for title, rest in [_first_sentence(section)]
    ]


def _from_items(items: Sequence[Item], section: Section, entries: list[_Entry], *, boxes: bool) -> None:
    """Add the tasks of a list. Where entries have boxes below them, those are the tasks and they only a title."""
    before: Sequence[int] = ()
    for item in items:
        inner = [child for child in item.children if child.checked is not None]
        first = len(entries)
        if inner:
            inside = Section(item.text, section.level + 1, item.details, parents=(*section.parents, section.title))
            _from_items(inner, inside, entries, boxes=boxes)
        elif (item.checked is not None if boxes else bool(item.text)) and _FIELD.match(item.text) is None:
            details = [*item.details, *(f"- {one.text}" for child in item.children for one in child.walk())]
            entries.append(_Entry(item.text, section, item.number, item.checked is True, details))
        else:
            continue
        if item.number is not None:
            for entry in entries[first:]:
                entry.before = before
            before = range(first, len(entries))


def _first_sentence(section: Section) -> tuple[str, list[str]]:
    text = " ".join(section.text.split())
    head = re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]
    title = section.title or head
    return title, [] if title == text else section.text.split("\n")


def _is_background(section: Section) -> bool:
    return section.level > 1 and any(_says_background(one) for one in (section.title, *section.parents) if one)


@lru_cache(maxsize=64)  # a heading is asked about by every section below it
def _says_background(title: str) -> bool:
    return _BACKGROUND.fullmatch(title) is not None


def _is_proof(section: Section) -> bool:
    return bool(section.title) and _PROOF.fullmatch(section.title) is not None and section.level > 1


# ---------------------------------------------------------------------------------------------- what it says


def _read_fields(entry: _Entry, profiles: Sequence[str], notes: list[str]) -> None:
    marked = _MARKED.search(entry.text)
    if marked:
        entry.priority = _PRIORITIES[marked["name"].casefold()]
        entry.text = entry.text.replace(marked[0], "", 1)
    for found in list(_AT.finditer(entry.text)):
        if found["name"] in profiles:
            entry.profile = found["name"]
            entry.text = entry.text.replace(found[0], "", 1)
    said = order_of(entry.text)
    entry.text, entry.after = said.text, list(said.after)
    kept: list[str] = []
    for line in entry.details:
        plain = line.removeprefix("- ").strip()
        reference = order_in_line(plain)
        found = _FIELD.match(plain)
        if reference is not None:
            entry.after.append(reference)
        elif found is None or not _take(entry, found["name"].casefold(), found["value"].strip(), profiles, notes):
            kept.append(line)
    entry.details = kept


def _take(entry: _Entry, name: str, value: str, profiles: Sequence[str], notes: list[str]) -> bool:
    if name in {"file", "files", "scope", "path", "paths"}:
        entry.scope += [part.strip(" `") for part in re.split(r"[,;]", value) if part.strip(" `")]
    elif name in {"check", "checks", "test", "tests", "verify"}:
        found = _COMMAND.findall(value) or ([value] if _RUNNABLE.match(value) else [])
        entry.checks += [one.removeprefix("$ ") for one in found]
        return bool(found)
    elif name in {"profile", "agent", "assignee"}:
        wanted = value.strip(" @`").casefold()
        if wanted not in profiles:
            notes.append(f"no profile {wanted!r}: anybody may do {_title(entry.text)!r}")
            return False
        entry.profile = wanted
    elif name in {"priority", "prio"}:
        entry.priority = _PRIORITIES.get(value.casefold().strip(" `"))
        return entry.priority is not None
    else:
        return False
    return True


@dataclass(slots=True)
class _Known:
    """What references are compared with, read once for a document."""

    titles: Sequence[frozenset[str]]
    """Words of the entries' texts."""
    numbers: Sequence[int | None]
    headings: Mapping[int, Said]
    """What the title of a section says, by the section's ``id``."""
    within: Mapping[str, Sequence[int]]
    """Places of the entries in sections of a name."""

    @classmethod
    def of(cls, entries: Sequence[_Entry]) -> _Known:
        """Read them. Raises ``UsageError`` for more references than can be followed."""
        sections = {id(entry.section): entry.section for entry in entries}
        headings = {key: order_of(section.title) for key, section in sections.items()}
        within: dict[str, list[int]] = {}
        for place, entry in enumerate(entries):
            if entry.section.title:
                name = headings[id(entry.section)].text.casefold().partition(":")[0].strip()
                within.setdefault(name, []).append(place)
        named = sum(
            sum(len(named_in(one)) for one in entry.after) + len(headings[id(entry.section)].after)
            for entry in entries
            if not entry.done
        )
        if named > _NAMED:
            raise UsageError(f"{named} references to other tasks in one document; split it, {_NAMED} are the most")
        return cls([words_of(entry.text) for entry in entries], [one.number for one in entries], headings, within)


def _needs(place: int, entries: Sequence[_Entry], known: _Known, notes: list[str]) -> list[int]:
    entry = entries[place]
    needs = list(entry.before)
    for reference in entry.after:
        found = _sections_meant(reference, entry, entries, known) or resolve(
            reference, known.titles, known.numbers, place
        )
        if found is None:
            notes.append(f"{_title(entry.text)!r} comes after {reference!r}, which is no task here")
            entry.details.append(f"This comes after: {reference}.")
        else:
            needs += found
    for reference in known.headings[id(entry.section)].after:
        needs += _sections_meant(reference, entry, entries, known) or []
    return sorted({one for one in needs if one != place})


def _sections_meant(reference: str, entry: _Entry, entries: Sequence[_Entry], known: _Known) -> list[int] | None:
    """Return the tasks of the section that a reference names word by word; None where it names none."""
    wanted = reference.casefold().strip(" `'\"*_.")
    found = [
        place
        for name in {wanted, wanted.partition(":")[0]}
        for place in known.within.get(name, ())
        if entries[place].section is not entry.section
    ]
    return found or None


def _commands(section: Section) -> list[str]:
    lines = [*section.prose, *(item.text for top in section.items for item in top.walk())]
    inline = [one for line in lines for one in _COMMAND.findall(line) if _RUNNABLE.match(one)]
    bare = [line.strip().removeprefix("$ ") for line in lines if "`" not in line and _RUNNABLE.match(line.strip())]
    return [one.removeprefix("$ ") for one in [*inline, *bare]]


def _repos(section: Section) -> list[str]:
    lines = [*section.prose, *(item.text for item in section.items)]
    fields = [_FIELD.match(line.strip()) for line in lines]
    return [one["value"].strip(" `<>") for one in fields if one and one["name"].casefold() in {"repo", "repository"}]


# ---------------------------------------------------------------------------------------------- the task


class _Proof(NamedTuple):
    """What holds for every task when it is done."""

    checks: Sequence[str]
    words: str

    @classmethod
    def of(cls, document: Document) -> _Proof:
        """Read it out of the sections that say so."""
        sections = [section for section in document.sections if _is_proof(section)]
        items = [item.text for section in sections for item in section.items]
        said = "\n".join(f"- {text}" for text in items if not _COMMAND.search(text))
        checks = dict.fromkeys(check for section in sections for check in _commands(section))
        return cls(tuple(checks), f"Done when:\n{said}" if said else "")


def _task(entry: _Entry, name: str, needs: Sequence[str], document: Document, proof: _Proof) -> PlannedTask:
    prompt = _prompt(entry, document, proof.words)
    if len(prompt) > _PROMPT:
        raise UsageError(
            f"the prompt of {_title(entry.text)!r} has {len(prompt)} characters; split it, {_PROMPT} are the most"
        )
    return PlannedTask(
        name=name,
        title=_title(entry.text),
        prompt=prompt,
        needs=tuple(needs),
        scope=tuple(dict.fromkeys(entry.scope)),
        checks=tuple(dict.fromkeys([*entry.checks, *proof.checks])),
        profile=entry.profile,
        priority=entry.priority or "normal",
    )


def _prompt(entry: _Entry, document: Document, proof: str) -> str:
    place = [one for one in (document.title, *entry.section.parents, order_of(entry.section.title).text) if one]
    place = list(dict.fromkeys(one for one in place if one != entry.text))
    details = "\n".join(line for line in entry.details if line.strip())
    around = entry.section.text if entry.section.items and not _FIELD.match(entry.section.text) else ""
    parts = [
        entry.text,
        details,
        f"Part of: {' > '.join(place)}." if place else "",
        around,
        proof,
    ]
    return "\n\n".join(part for part in parts if part)


def _title(text: str) -> str:
    plain = " ".join(_PLAIN.sub(lambda found: found[1] or "", text[: 5 * _TITLE]).split()).rstrip(".:;")
    return plain if len(plain) <= _TITLE else f"{plain[: _TITLE - 1]}…"
