"""Cuts a request into clauses: the pieces that each ask for one thing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_QUOTE = re.compile(
    r"```[^\n]*\n(?P<fence>.*?)```|`(?P<tick>[^`\n]+)`|\"(?P<double>[^\"\n]+)\"|'(?P<single>[^'\n]+)'(?!\w)", re.DOTALL
)
_SLOT = re.compile(r"⟦(\d+)⟧")
_BULLET = re.compile(r"^\s*(?:[-*+•]|\d+[.)])\s+(?:\[(?P<box>[ xX])\]\s*)?")
_SHOWN = 80
"""Characters of a clause that an error text quotes."""
_HEADING = re.compile(r"^\s*#{1,6}\s+")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+(?=[A-Z⟦a-z(])|;\s*|\s*\.\s*$")
_JOINT = re.compile(r"\s*,?\s*\b(?:and then|then|and also|and afterwards|and)\b\s+|\s*,\s+(?:then\s+|and\s+)?|\s*&\s*")


@dataclass(frozen=True, slots=True)
class Clause:
    """A piece of the request; quoted pieces stand in it as slots, so that no pattern reads into a quotation."""

    text: str
    quotes: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The clause as the person wrote it, in one short line."""
        whole = " ".join(self.restore(self.text, mark="`").split())
        return whole if len(whole) <= _SHOWN else whole[: _SHOWN - 1] + "…"

    def restore(self, text: str, *, mark: str = "") -> str:
        """Return ``text`` with the slots filled in again, each between ``mark``."""
        return _SLOT.sub(lambda slot: f"{mark}{self.quotes[int(slot[1])]}{mark}", text)

    def splits(self) -> Iterator[tuple[Clause, Clause]]:
        """Yield every way to part the clause in two at a comma or an "and", leftmost first."""
        for joint in _JOINT.finditer(self.text):
            left, right = self.text[: joint.start()].strip(), self.text[joint.end() :].strip()
            if left and right:
                yield Clause(left, self.quotes), Clause(right, self.quotes)


def clauses(request: str) -> list[Clause]:
    """Return the sentences of a request: lines, list items and checkboxes are kept apart, ticked boxes left out."""
    quotes: list[str] = []

    def keep(found: re.Match[str]) -> str:
        quotes.append(next(text for text in found.groups() if text is not None).strip())
        return f"⟦{len(quotes) - 1}⟧"

    flat = _QUOTE.sub(keep, request.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    found: list[Clause] = []
    for block in _blocks(flat):
        for sentence in _SENTENCE.split(block):
            text = " ".join(sentence.split()).strip(" .!?;,")
            if text and not block.rstrip().endswith(":"):
                found.append(Clause(text, tuple(quotes)))
    return found


def _blocks(text: str) -> Iterator[str]:
    """Yield paragraphs and list items, hard-wrapped lines joined."""
    held: list[str] = []
    for line in [*text.splitlines(), ""]:
        bullet = _BULLET.match(line)
        heading = _HEADING.match(line)
        if held and (bullet or heading or not line.strip() or held[-1].rstrip().endswith(":")):
            yield " ".join(held)
            held = []
        if bullet and (bullet["box"] or " ") in "xX":
            continue
        line = line[bullet.end() :] if bullet else line[heading.end() :] if heading else line  # noqa: PLW2901
        if heading:
            yield line
        elif line.strip():
            held.append(line.strip())
