"""The expressions inside an f-string with their true places, which Python's parser gives only from 3.12 on."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator


def expressions(text: str, line: int, column: int) -> Iterator[tuple[ast.AST, int, int]]:
    """Yield each expression of the f-strings in ``text`` with its line and its column in bytes.

    ``text`` is the source of one string expression, which may be several literals side by side, and starts at
    ``line`` and ``column``. A yielded tree was parsed inside parentheses, so its first line starts at column 1.
    """
    wrapped = io.StringIO(f"({text})")
    for token in tokenize.generate_tokens(wrapped.readline):
        if token.type != tokenize.STRING:
            continue
        opening = token.string[: len(token.string) - len(token.string.lstrip("rRbBuUfF"))]
        if "f" not in opening.lower():
            continue
        size = 3 if token.string[len(opening) :][:3] in {'"""', "'''"} else 1
        start, inner = len(opening) + size, token.string[: len(token.string) - size]
        row, offset = token.start
        source = wrapped.getvalue().split("\n")[row - 1]
        before = len(source[:offset].encode("utf-8", "surrogateescape"))
        base = (line + row - 1, before - 1 + column if row == 1 else before)
        for begin, end in _fields(inner, start):
            expression = inner[begin:end]
            try:
                tree = ast.parse(f"({expression})", mode="eval").body
            except SyntaxError:
                continue
            above = inner[:begin].split("\n")
            width = len(above[-1].encode("utf-8", "surrogateescape"))
            yield tree, base[0] + len(above) - 1, width + (base[1] if len(above) == 1 else 0)


def _fields(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each replacement field's expression, those in format specifications too."""
    at = start
    while at < len(text):
        if text[at] != "{":
            at += 1
        elif text[at : at + 2] == "{{":
            at += 2
        else:
            end = _end_of_expression(text, at + 1)
            yield (
                at + 1,
                end - 1 if text[end - 1 : end] == "=" and text[end - 2 : end - 1] not in {"=", "!", "<", ">"} else end,
            )
            at = end
            while at < len(text) and text[at] not in "{}":
                at += 1


def _end_of_expression(text: str, at: int) -> int:
    depth, quote = 0, ""
    while at < len(text):
        char = text[at]
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]" or (char == "}" and depth):
            depth -= 1
        elif not depth and (char in "}:" or (char == "!" and text[at + 1 : at + 2] != "=")):
            return at
        at += 1
    return at
