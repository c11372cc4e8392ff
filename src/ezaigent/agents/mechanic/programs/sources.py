"""A Python file as text with positions, and one edit of it."""

from __future__ import annotations

import ast
import re
import tokenize
from dataclasses import dataclass
from io import StringIO
from pathlib import Path


@dataclass(frozen=True)
class Edit:
    """One piece of a file replaced by another."""

    path: str
    start: int
    end: int
    text: str
    label: str
    """What it does, for people: ``src/a.py:3: < becomes <=``."""
    tier: int
    """How closely the failure points at it; 0 comes first."""


class Source:
    """The text of one file; ``tree`` is None where it is not valid Python."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.starts = [0, *(found.end() for found in re.finditer(r"\n", text))]
        self.tree: ast.Module | None
        try:
            self.tree = ast.parse(text)
        except (SyntaxError, ValueError):
            self.tree = None

    @classmethod
    def read(cls, root: str, path: str) -> Source | None:
        """Read a file below ``root``; None where it is no text."""
        try:
            return cls(path, Path(root, path).read_bytes().decode("utf-8"))
        except (OSError, UnicodeDecodeError):
            return None

    def offset(self, line: int, column: int) -> int:
        """Return the place of a line (from 1) and a column in UTF-8 bytes."""
        start = self.starts[line - 1]
        return start + len(self.text[start : start + column].encode()[:column].decode("utf-8", "ignore"))

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Return where a node begins and ends."""
        return (
            self.offset(getattr(node, "lineno", 1), getattr(node, "col_offset", 0)),
            self.offset(getattr(node, "end_lineno", 1), getattr(node, "end_col_offset", 0)),
        )

    def written(self, node: ast.AST) -> str:
        """Return a node as it is written."""
        start, end = self.span(node)
        return self.text[start:end]

    def line(self, number: int) -> str:
        """Return a line without its end; empty beyond the file."""
        lines = self.text.split("\n")
        return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""

    def line_of(self, offset: int) -> int:
        """Return the line, from 1, on which a place lies."""
        return self.text.count("\n", 0, offset) + 1

    def edit(self, start: int, end: int, text: str, tier: int) -> Edit:
        """Return an edit, named by what it takes and gives."""
        old, new = " ".join(self.text[start:end].split()), " ".join(text.split())
        what = (
            f"{_short(old)} becomes {_short(new)}"
            if old and new
            else f"{_short(new)} added"
            if new
            else f"{_short(old)} removed"
        )
        return Edit(self.path, start, end, text, f"{self.path}:{self.line_of(start)}: {what}", tier)

    def replace(self, node: ast.AST, text: str, tier: int) -> Edit:
        """Return the edit that puts ``text`` in a node's place."""
        return self.edit(*self.span(node), text, tier)

    def applied(self, edit: Edit) -> str:
        """Return the text after an edit."""
        return self.text[: edit.start] + edit.text + self.text[edit.end :]

    def strings(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return where the contents of string literals lie between two places, f-strings included."""
        found: list[tuple[int, int]] = []
        try:
            for token in tokenize.generate_tokens(StringIO(self.text).readline):
                begin = self.starts[token.start[0] - 1] + token.start[1]
                if begin < start or begin >= end:
                    continue
                kind = tokenize.tok_name[token.type]
                if kind == "FSTRING_MIDDLE":
                    found.append((begin, self.starts[token.end[0] - 1] + token.end[1]))
                elif kind == "STRING":
                    opening = re.match(r"[A-Za-z]*(?:'''|\"\"\"|'|\")", token.string)
                    size = len(opening[0].lstrip("rRbBuUfF")) if opening else 1
                    found.append((begin + (len(opening[0]) if opening else 1), begin + len(token.string) - size))
        except (tokenize.TokenError, SyntaxError):
            pass
        return found


def unique_piece(text: str, start: int, end: int, new: str) -> tuple[str, str]:
    """Return the edit as whole lines that stand once before and once after it, so that it can be undone alike."""
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    last = len(text) if last < 0 else last
    after = text[:start] + new + text[end:]
    while True:
        old, changed = text[first:last], text[first:start] + new + text[end:last]
        if old and changed and text.count(old) == 1 and after.count(changed) == 1:
            return old, changed
        if not first and last == len(text):
            return old, changed
        first = text.rfind("\n", 0, max(first - 1, 0)) + 1 if first else 0
        last = len(text) if (found := text.find("\n", min(last + 1, len(text)))) < 0 else found


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"  # noqa: PLR2004 - the width of a label
