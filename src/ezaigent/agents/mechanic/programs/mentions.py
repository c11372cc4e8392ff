"""Where people wrote about a symbol: comments, docstrings, documents and configuration."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

from ezaigent.agents.mechanic.programs.modules import Module, Modules
from ezaigent.agents.mechanic.programs.references import Spot, Target, replaced
from ezaigent.agents.mechanic.programs.tree import files_below

_DOCUMENTS = (".md", ".rst", ".txt")
_SETTINGS = (".toml", ".cfg", ".ini", ".yaml", ".yml")
_HISTORY = re.compile(r"(?:change|history|news|release|requirements|licen[cs]e)", re.IGNORECASE)


class Mentions:
    """Mentions are renamed where the name cannot mean anything else; what is left is listed in ``left``.

    A changelog tells what was, so it is never rewritten.
    """

    def __init__(self, modules: Modules, target: Target, edits: dict[str, set[Spot]], *, plain: bool) -> None:
        self.target = target
        self.edits: dict[str, set[Spot]] = {}
        self.left: list[str] = []
        self._texts: dict[str, bytes] = {}
        old = target.old
        # "total" or "Cart" may be an ordinary word of a sentence; "line_total" or "ShoppingCart" is not.
        sure = plain and ("_" in old.strip("_") or bool(re.search(r"[a-z][A-Z]|\d", old)))
        word = re.compile(rf"(?<![\w-]){re.escape(old)}(?![\w-])")
        for path, module in modules.by_path.items():
            spots = {spot for spot in _prose(module, word) if spot not in edits.get(path, set())}
            self._take(path, spots, sure=sure)
        names = [name for path in target.carriers for name in modules.by_path[path].names]
        exact = re.compile(
            "|".join(rf"(?<=\b{re.escape(name)}[.:]){re.escape(old)}(?!\w)" for name in names) or r"(?!)"
        )
        for path in files_below(".", endings=(*_DOCUMENTS, *_SETTINGS)):
            if not _HISTORY.search(Path(path).name):
                form = word if sure and path.endswith(_DOCUMENTS) else exact
                self._document(path, form, word)
        self._modules = modules

    def spots(self, path: str) -> set[Spot]:
        """Return the mentions to rename in a Python file."""
        return self.edits.get(path, set())

    def texts(self, done: set[str]) -> dict[str, bytes]:
        """Return the new text of every file that only mentions the symbol."""
        out = dict(self._texts)
        for path, spots in self.edits.items():
            if path not in done and path in self._modules.by_path:
                out[path] = replaced(self._modules.by_path[path].source, spots, self.target)
        return out

    def _take(self, path: str, spots: set[Spot], *, sure: bool) -> None:
        if sure and spots:
            self.edits[path] = spots
        elif spots:
            self.left.extend(f"{path}:{line}" for line, _ in sorted(spots))

    def _document(self, path: str, form: re.Pattern[str], word: re.Pattern[str]) -> None:
        try:
            with Path(path).open(encoding="utf-8", newline="") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError):
            return
        changed = form.sub(self.target.new, text)
        if changed != text:
            self._texts[path] = changed.encode()
            self.edits.setdefault(path, set())
        self.left.extend(f"{path}:{number}" for number, line in enumerate(changed.split("\n"), 1) if word.search(line))


def _prose(module: Module, word: re.Pattern[str]) -> set[Spot]:
    """Return the spots of the name in comments and docstrings."""
    lines = module.source.split(b"\n")
    found: set[Spot] = set()

    def search(line: int, begin: int, end: int | None) -> None:
        text = lines[line - 1][begin:end].decode("utf-8", "replace")
        found.update((line, begin + len(text[: hit.start()].encode())) for hit in word.finditer(text))

    for node in ast.walk(module.tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            text = node.body[0]
            for line in range(text.lineno, (text.end_lineno or text.lineno) + 1):
                search(
                    line,
                    text.col_offset if line == text.lineno else 0,
                    text.end_col_offset if line == text.end_lineno else None,
                )
    try:
        tokens = list(tokenize.tokenize(io.BytesIO(module.source).readline))
    except (tokenize.TokenError, SyntaxError):
        return found
    for token in tokens:
        if token.type == tokenize.COMMENT:
            row, column = token.start
            begin = len(token.line[:column].encode())
            search(row, begin, begin + len(token.string.encode()))
    return found
