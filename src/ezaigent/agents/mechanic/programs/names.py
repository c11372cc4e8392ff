"""Edits for names that are not there: misspelt, renamed, moved, or never imported."""

from __future__ import annotations

import ast
import builtins
import difflib
import importlib
import re
import sys
from collections.abc import Iterator

from ezaigent.agents.mechanic.programs.failure import Frame
from ezaigent.agents.mechanic.programs.focus import Project
from ezaigent.agents.mechanic.programs.sources import Edit, Source
from ezaigent.agents.mechanic.programs.tree import module_names

_KEY = 40
"""Characters of a string that may still be a key."""
_POPULAR = (
    "typing", "collections", "collections.abc", "pathlib", "dataclasses", "datetime", "functools", "itertools",
    "decimal", "enum", "contextlib", "math", "os", "re", "json", "abc", "fractions", "statistics", "string", "textwrap",
)  # fmt: skip


def unknown_name(project: Project, source: Source, frame: Frame, name: str, message: str) -> Iterator[Edit]:
    """Yield edits for a ``NameError`` at a frame, or for an undefined name that a linter found."""
    known = [*_names_of(source), *dir(builtins)]
    for other in close_names(name, known, message):
        yield from _words(source, frame.line, name, other, 0)
    for module in _modules_with(project, name, besides=source.path):
        yield import_edit(source, f"from {module} import {name}", 0)
    if name in sys.stdlib_module_names:
        yield import_edit(source, f"import {name}", 0)
    for module in _POPULAR:
        if hasattr(importlib.import_module(module), name):
            yield import_edit(source, f"from {module} import {name}", 1)


def missing_export(project: Project, frames: list[tuple[Source, Frame]], message: str) -> Iterator[Edit]:
    """Yield edits for "cannot import name" and "module has no attribute": at the importer and in the module."""
    found = re.search(
        r"cannot import name '(?P<name>\w+)' from (?:partially initialized module )?'(?P<module>[\w.]+)'", message
    ) or re.search(r"module '(?P<module>[\w.]+)' has no attribute '(?P<name>\w+)'", message)
    if found is None:
        return
    name, module = found["name"], found["module"]
    origin = _source_of(project, module)
    others = close_names(name, _names_of(origin) if origin else [], message)
    homes = _modules_with(project, name, besides=origin.path if origin else "")
    for importer in {
        source.path: source for source, _ in frames if project.editable(source.path, tests=False)
    }.values():
        yield from _at_the_importer(importer, name, others, homes)
    if origin is not None:
        yield from _in_the_module(project, origin, module, name, others=others, homes=homes)


def _at_the_importer(importer: Source, name: str, others: list[str], homes: list[str]) -> Iterator[Edit]:
    for other in others:
        for line in _lines_with(importer, rf"\b{name}\b"):
            text = importer.line(line)
            aliased = "import" in text and " as " not in text and len(_lines_with(importer, rf"\b{name}\b")) > 1
            yield from _words(importer, line, name, f"{other} as {name}" if aliased else other, 0)
    for home in homes:
        for line in _lines_with(importer, rf"from\s+\S+\s+import\s+{name}\b"):
            written = re.search(r"from\s+(\S+)", importer.line(line))
            yield from _words(importer, line, written[1] if written else "", home, 0)


def _in_the_module(
    project: Project, origin: Source, module: str, name: str, *, others: list[str], homes: list[str]
) -> Iterator[Edit]:
    exported = re.search(rf"^__all__\b[^\]]*['\"]{name}['\"]", origin.text, re.MULTILINE | re.DOTALL)
    for home in homes:
        what = name if exported else f"{name} as {name}"
        yield import_edit(origin, f"from {_spelled(origin, module, home)} import {what}", 0)
    for other in others:
        places = [
            (source, line) for source in project.sources.values() for line in _lines_with(source, rf"\b{other}\b")
        ]
        if len(places) == 1 and places[0][0] is origin:
            yield from _words(origin, places[0][1], other, name, 0)
        yield origin.edit(len(origin.text), len(origin.text), f"\n{name} = {other}\n", 3)


def missing_module(project: Project, frames: list[tuple[Source, Frame]], message: str) -> Iterator[Edit]:
    """Yield edits for "No module named": another module of the project has a similar name."""
    found = re.search(r"No module named '([\w.]+)'", message)
    if found is None:
        return
    wanted = found[1]
    names = [module_names(path, project.root)[0] for path in project.sources]
    last = {name.rpartition(".")[2]: name for name in names}
    others = [
        last[close] for close in difflib.get_close_matches(wanted.rpartition(".")[2], list(last), n=3, cutoff=0.5)
    ]
    others += [name for name in names if name.endswith(f".{wanted}")]
    for source, frame in frames:
        for other in dict.fromkeys(others):
            yield from _words(source, frame.line, wanted, other, 0)


def missing_attribute(
    project: Project, frames: list[tuple[Source, Frame]], message: str, *, tests: bool
) -> Iterator[Edit]:
    """Yield edits for "object has no attribute": the use is misspelt, or the definition is."""
    found = re.search(
        r"'(?P<type>[\w.]+)' object has no attribute '(?P<name>\w+)'"
        r"|type object '(?P<class>\w+)' has no attribute '(?P<name2>\w+)'",
        message,
    )
    if found is None:
        return
    name, kind = found["name"] or found["name2"], (found["type"] or found["class"]).rpartition(".")[2]
    members = _members(project, kind) + [
        other for other in dir(getattr(builtins, kind, object)) if not other.startswith("_")
    ]
    others = close_names(name, members, message)
    for source, frame in frames:
        for other in others:
            yield from _words(source, frame.line, name, other, 0)
    for other in others:
        for source, node in project.own(other, tests=tests):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _words(source, node.lineno, other, name, 1)


def missing_key(project: Project, frames: list[tuple[Source, Frame]], message: str, *, tests: bool) -> Iterator[Edit]:
    """Yield edits for a ``KeyError``: a key written like one that exists; last, a lookup that allows for none."""
    try:
        key = ast.literal_eval(message)
    except (ValueError, SyntaxError):
        return
    if not isinstance(key, str):
        return
    keys = {
        part.value
        for source in project.sources.values()
        if source.tree is not None
        for part in ast.walk(source.tree)
        if isinstance(part, ast.Constant)
        and isinstance(part.value, str)
        and part.value.isprintable()
        and len(part.value) < _KEY
    }
    for other in difflib.get_close_matches(key, sorted(keys - {key}), n=4, cutoff=0.5):
        for source, frame in frames:
            yield from _words(source, frame.line, key, other, 0)
        for path, source in project.sources.items():
            for line in (
                _lines_with(source, rf"['\"]{re.escape(other)}['\"]\s*:") if project.editable(path, tests=tests) else ()
            ):
                yield from _words(source, line, other, key, 1)
    for source, frame in frames:
        for found in re.finditer(rf"\[(['\"]){re.escape(key)}\1\]", source.line(frame.line)):
            start = source.starts[frame.line - 1]
            yield source.edit(start + found.start(), start + found.end(), f".get({key!r})", 4)


def close_names(name: str, known: list[str], message: str = "") -> list[str]:
    """Return the known names that are written like ``name``, the interpreter's own suggestion first."""
    told = re.findall(r"Did you mean: '(?:self\.)?(\w+)'", message)
    candidates = sorted(set(known) - {name})
    parts = [other for other in candidates if name in other.split("_") or other in name.split("_")]
    return list(dict.fromkeys([*told, *difflib.get_close_matches(name, candidates, n=3, cutoff=0.6), *parts[:2]]))


def import_edit(source: Source, statement: str, tier: int) -> Edit:
    """Return the edit that adds an import below the last one, or at the top of the code."""
    line = 0
    for node in source.tree.body if source.tree else ():
        docstring = line == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Import | ast.ImportFrom) or docstring:
            line = node.end_lineno or node.lineno
        else:
            break
    newline = "\r\n" if "\r\n" in source.text else "\n"
    if line and line == len(source.starts):
        return source.edit(len(source.text), len(source.text), f"{newline}{statement}{newline}", tier)
    at = source.starts[line]
    docstring_above = line and not re.match(r"\s*(?:from|import)\b|.*\)", source.line(line))
    return source.edit(at, at, f"{newline if docstring_above else ''}{statement}{newline}", tier)


def _words(source: Source, line: int, old: str, new: str, tier: int) -> Iterator[Edit]:
    if not old or old == new:
        return
    start = source.starts[line - 1] if line <= len(source.starts) else len(source.text)
    for found in re.finditer(rf"(?<![\w]){re.escape(old)}(?!\w)", source.line(line)):
        yield source.edit(start + found.start(), start + found.end(), new, tier)


def _lines_with(source: Source, form: str) -> list[int]:
    return [number for number, line in enumerate(source.text.split("\n"), 1) if re.search(form, line)]


def _names_of(source: Source) -> list[str]:
    """Return every name that a file binds anywhere."""
    names: list[str] = []
    for node in ast.walk(source.tree) if source.tree else ():
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
                | ast.arg(arg=name)
            ):
                names.append(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.append(name)
            case ast.alias(name=name, asname=other):
                names.append(other or name.partition(".")[0])
            case _:
                pass
    return list(dict.fromkeys(names))


def _members(project: Project, kind: str) -> list[str]:
    names: list[str] = []
    for _, node in project.definitions.get(kind, ()):
        for part in ast.walk(node):
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                names.append(part.name)
            elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == "self":
                names.append(part.attr)
            elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                names.append(part.target.id)
    return names


def _source_of(project: Project, module: str) -> Source | None:
    return next(
        (source for path, source in project.sources.items() if module in module_names(path, project.root)), None
    )


def _modules_with(project: Project, name: str, *, besides: str) -> list[str]:
    """Return the project's modules that define ``name`` at their top level."""
    return [
        module_names(source.path, project.root)[0]
        for source, node in project.own(name, tests=False)
        if source.path != besides and source.tree is not None and node in source.tree.body
    ]


def _spelled(origin: Source, module: str, home: str) -> str:
    """Write a module's name the way its new neighbour writes imports: relative where that is the custom there."""
    relative = any(
        isinstance(node, ast.ImportFrom) and node.level for node in (origin.tree.body if origin.tree else ())
    )
    package = module if origin.path.endswith("__init__.py") else module.rpartition(".")[0]
    return f".{home.removeprefix(f'{package}.')}" if relative and home.startswith(f"{package}.") else home
