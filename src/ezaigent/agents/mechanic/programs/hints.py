"""Edits of constants that a comparison's printed values point at."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ezaigent.agents.mechanic.programs.sources import Edit, Source

_PLAIN_NUMBER = 2
"""Counts and bounds up to here are never off by an amount that shows in the outcome."""
_CONTEXT = 8
"""Characters around a difference that may help to find its place."""


def value_edits(source: Source, node: ast.AST, values: list[tuple[object, object]]) -> Iterator[Edit]:
    """Yield edits of constants in ``node`` that would turn what came out into what was wanted, in either reading."""
    readings = [(0, got, wanted) for got, wanted in values] + [(1, got, wanted) for wanted, got in values]
    for tier, got, wanted in readings:
        if isinstance(got, str) and isinstance(wanted, str):
            yield from _text_edits(source, node, got, wanted, tier)
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and type(part.value) is type(got) and part.value == got:
                yield source.replace(part, repr(wanted), tier)
        if _number(got) and _number(wanted):
            yield from _number_edits(source, node, got, wanted, tier + 1)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number_edits(source: Source, node: ast.AST, got: object, wanted: object, tier: int) -> Iterator[Edit]:
    assert isinstance(got, int | float)
    assert isinstance(wanted, int | float)
    for part in ast.walk(node):
        if not isinstance(part, ast.Constant) or not _number(part.value):
            continue
        value = part.value
        assert isinstance(value, int | float)
        if abs(value) <= _PLAIN_NUMBER:
            continue
        guesses: list[int | float] = [value + wanted - got, value - wanted + got, wanted]
        if got and wanted:
            guesses += [value * wanted / got, value * got / wanted]
        for guess in guesses:
            rounded = round(guess, 10)
            whole = int(rounded) if rounded == int(rounded) and isinstance(value, int) else rounded
            if whole != value and not (isinstance(value, int) and isinstance(whole, float)):
                yield source.replace(part, repr(whole), tier)


def _text_edits(source: Source, node: ast.AST, got: str, wanted: str, tier: int) -> Iterator[Edit]:
    """Find the piece in which two texts differ inside a literal, with as much around it as possible."""
    head = 0
    while head < min(len(got), len(wanted)) and got[head] == wanted[head]:
        head += 1
    tail = 0
    while tail < min(len(got), len(wanted)) - head and got[-1 - tail] == wanted[-1 - tail]:
        tail += 1
    old, new = got[head : len(got) - tail], wanted[head : len(wanted) - tail]
    before, after = got[:head], got[len(got) - tail :]
    if max(len(old), len(new)) > 4 * _CONTEXT:
        return
    spans = source.strings(*source.span(node))
    for size in range(2 * _CONTEXT, 0 if not old else -1, -1):
        for left in range(min(size, _CONTEXT, len(before)), -1, -1):
            right = size - left
            if right > min(_CONTEXT, len(after)):
                continue
            piece = before[len(before) - left :] + old + after[:right]
            for start, end in spans:
                at = source.text.find(piece, start, end) if piece else -1
                if at >= 0:
                    yield source.edit(at + left, at + left + len(old), new, tier)
                    return
