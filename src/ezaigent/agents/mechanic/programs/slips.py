"""Edits for code that is not valid Python: what the parser's message says is missing or too much."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ezaigent.agents.mechanic.programs.failure import Failure
from ezaigent.agents.mechanic.programs.sources import Edit, Source

_CLOSERS = {"(": ")", "[": "]", "{": "}"}


def syntax_edits(source: Source, line: int, message: str, failure: Failure) -> Iterator[Edit]:  # noqa: C901 - one message each
    """Yield edits around the line that a syntax error names."""
    start = source.starts[line - 1]
    text = source.line(line)
    code = start + len(_without_comment(text).rstrip())
    at = start + len(text) - len(text.lstrip()) + (failure.column or 0)
    if "expected ':'" in message or "invalid syntax" in message:
        yield source.edit(code, code, ":", 0)
    if found := re.search(r"'(.)' was never closed", message):
        yield from _closings(source, line, _CLOSERS[found[1]])
    if found := re.search(r"unmatched '(.)'", message):
        yield from (
            source.edit(start + hit.start(), start + hit.end(), "", 0) for hit in re.finditer(re.escape(found[1]), text)
        )
    if "instead of '='" in message:
        yield from (
            source.edit(start + hit.start(), start + hit.end(), "==", 0)
            for hit in re.finditer(r"(?<![=!<>:])=(?!=)", text)
        )
    if "unterminated string literal" in message or "EOL while scanning" in message:
        for quote in (mark for mark in ('"', "'") if text.count(mark) % 2):
            places = [start + hit.start() for hit in re.finditer(r"[,)\]}:]", text)]
            yield from (source.edit(place, place, quote, 0) for place in [*reversed(places), code])
    if "forgot a comma" in message or "invalid syntax" in message:
        width = re.match(r"[\w.]+|(['\"]).*?\1", source.text[at:])
        place = at + (width.end() if width else 0)
        yield source.edit(place, place, ",", 0)
        yield from (
            source.edit(start + hit.start(), start + hit.start(), ",", 1)
            for hit in re.finditer(r"(?<=[\w'\")\]]) +(?=[\w'\"(\[])", text)
        )
        yield source.edit(code, code, ",", 0)
    if "Missing parentheses in call" in message and (
        found := re.search(r"\b(print|exec)\s+(.*)", _without_comment(text).rstrip())
    ):
        yield source.edit(start + found.start(), start + found.end(), f"{found[1]}({found[2]})", 0)
    if "indent" in message:
        yield from _indents(source, line)
    if "was never closed" not in message:
        for mark, closer in _CLOSERS.items():
            if text.count(mark) > text.count(closer):
                yield from _closings(source, line, closer)
        yield from _neighbours(source, line)


def _closings(source: Source, line: int, closer: str) -> Iterator[Edit]:
    """Close what was left open at the end of its line, before a colon there, or at the end of a line below."""
    for number in range(line, min(line + 12, len(source.starts)) + 1):
        text = _without_comment(source.line(number)).rstrip()
        if text.strip():
            end = source.starts[number - 1] + len(text)
            if text.endswith(":"):
                yield source.edit(end - 1, end - 1, closer, 0)
            yield source.edit(end, end, closer, 0)


def _indents(source: Source, line: int) -> Iterator[Edit]:
    """Give a line the indentation of its neighbours, one level more or less."""
    start, text = source.starts[line - 1], source.line(line)
    have = len(text) - len(text.lstrip())
    around = [source.line(number) for number in (line - 1, line + 1) if source.line(number).strip()]
    widths = [len(other) - len(other.lstrip()) for other in around]
    for width in dict.fromkeys([*widths, *(width + 4 for width in widths), *(width - 4 for width in widths)]):
        if width != have and width >= 0:
            yield source.edit(start, start + have, " " * width, 0)


def _neighbours(source: Source, line: int) -> Iterator[Edit]:
    """The parser often stumbles one line after the slip."""
    for number in range(line - 1, max(line - 4, 0), -1):
        text = _without_comment(source.line(number)).rstrip()
        if not text.strip():
            continue
        end = source.starts[number - 1] + len(text)
        for mark, closer in _CLOSERS.items():
            if text.count(mark) > text.count(closer):
                yield source.edit(end, end, closer, 0)
        if not text.endswith((",", ":", "(", "[", "{")):
            yield source.edit(end, end, ",", 1)
            yield source.edit(end, end, ":", 1)


def _without_comment(text: str) -> str:
    quote = ""
    for index, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "#":
            return text[:index]
    return text
