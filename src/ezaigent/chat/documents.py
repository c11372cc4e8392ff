"""The structure of a text or Markdown document: sections, what they say first, and their lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_HEADING: Final = re.compile(r"^ {0,3}(#{1,6})\s+(.*)$")
_UNDERLINE: Final = re.compile(r"^ {0,3}(=+|-{3,})\s*$")
_ITEM: Final = re.compile(r"^(\s*)(?:([-*+\u2022])|(\d{1,3})[.)])\s+(?:\[([ xX~-])\]\s+)?(.*)$")
_TODO: Final = re.compile(r"^(\s*)(?:todo|task|fixme)\s*[:\-]\s*(.+)$", re.IGNORECASE)
_FENCE: Final = re.compile(r"^\s*(```+|~~~+)")
_TAB: Final = 4


@dataclass(slots=True)
class Item:
    """An entry of a list."""

    text: str
    indent: int
    number: int | None = None
    """Its number, in a numbered list."""
    checked: bool | None = None
    """Of a checkbox; None where there is none."""
    details: list[str] = field(default_factory=list[str])
    """Lines below it that are no entries themselves."""
    children: list[Item] = field(default_factory=list["Item"])

    def walk(self) -> Iterator[Item]:
        """Yield the item and everything below it."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(slots=True)
class Section:
    """A heading and what stands below it, up to the next heading."""

    title: str
    level: int
    """1 to 6; 0 for what stands before the first heading."""
    prose: list[str] = field(default_factory=list[str])
    items: list[Item] = field(default_factory=list[Item])
    parents: tuple[str, ...] = ()
    """Titles of the headings that it is below, the document's own left out."""

    @property
    def text(self) -> str:
        """Its prose as one text."""
        return "\n".join(self.prose).strip()


@dataclass(slots=True)
class Document:
    """A document with its title and sections, in their order."""

    title: str
    sections: list[Section]


def read_document(text: str) -> Document:
    """Read a text; what is no Markdown is one section of prose. Code in fences is prose."""
    lines = text.replace("\t", " " * _TAB).splitlines()
    sections = [Section("", 0)]
    above: list[Section] = []
    open_items: list[Item] = []
    fence = ""
    for place, line in enumerate(lines):
        mark = _FENCE.match(line)
        if mark or fence:
            if mark:
                fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
            _add_text(line, sections[-1], open_items)
            continue
        following = lines[place + 1] if place + 1 < len(lines) else ""
        heading = _heading(line, following)
        if heading is not None:
            sections.append(_section(heading, above))
            open_items = []
        elif _UNDERLINE.match(line):
            open_items = []
        elif (item := _item(line)) is not None:
            _add_item(item, sections[-1], open_items)
        else:
            if not line.strip():
                following_indent = len(following) - len(following.lstrip())
                open_items = open_items if following.strip() and following_indent else []
            _add_text(line, sections[-1], open_items)
    top = [one for one in sections if one.level == 1]
    title = top[0].title if len(top) == 1 else ""
    for one in sections:
        one.parents = tuple(parent for parent in one.parents if parent != title)
    return Document(title, sections)


def _heading(line: str, following: str) -> tuple[int, str] | None:
    found = _HEADING.match(line)
    if found:
        return len(found[1]), found[2].rstrip().rstrip("#").rstrip()
    if line.strip() and not line.startswith(" ") and _ITEM.match(line) is None:
        under = _UNDERLINE.match(following)
        if under:
            return (1 if under[1][0] == "=" else 2), line.strip()
    return None


def _section(heading: tuple[int, str], above: list[Section]) -> Section:
    """Return the section below those that are ``above``, and let it stand there for what follows."""
    level, title = heading
    while above and above[-1].level >= level:
        above.pop()
    section = Section(title, level, parents=tuple(one.title for one in above))
    above.append(section)
    return section


def _item(line: str) -> Item | None:
    found = _ITEM.match(line)
    if found:
        box = found[4]
        return Item(
            text=found[5].strip(),
            indent=len(found[1]),
            number=int(found[3]) if found[3] else None,
            checked=None if box is None else box in "xX",
        )
    todo = _TODO.match(line)
    return Item(text=todo[2].strip(), indent=len(todo[1]), checked=False) if todo else None


def _add_item(item: Item, section: Section, open_items: list[Item]) -> None:
    while open_items and open_items[-1].indent >= item.indent:
        open_items.pop()
    (open_items[-1].children if open_items else section.items).append(item)
    open_items.append(item)


def _add_text(line: str, section: Section, open_items: list[Item]) -> None:
    if open_items:
        if line.strip():
            open_items[-1].details.append(line.strip())
    else:
        section.prose.append(line.rstrip())
