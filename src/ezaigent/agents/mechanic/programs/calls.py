"""Edits for calls that do not fit: too many or too few arguments, wrong keywords, wrong types of operands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ezaigent.agents.mechanic.programs.failure import Frame
from ezaigent.agents.mechanic.programs.focus import Project, statement
from ezaigent.agents.mechanic.programs.names import close_names
from ezaigent.agents.mechanic.programs.sources import Edit, Source

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def call_edits(project: Project, frames: list[tuple[Source, Frame]], message: str, *, tests: bool) -> Iterator[Edit]:
    """Yield edits for a ``TypeError``, at the place of the call and at the definition that was called."""
    if found := re.search(r"([\w.<>]+)(?:\(\))? (?:takes|missing|got|expected)\b", message):
        name = found[1].rpartition(".")[2]
        functions = [(source, node) for source, node in project.own(name, tests=tests) if isinstance(node, _Function)]
        for source, function in functions:
            yield from _signature(source, function, message)
        for source, frame in frames:
            yield from _arguments(source, frame, name, functions, message)
    for source, frame in frames:
        yield from _operands(source, frame, message)


def _signature(source: Source, function: _Function, message: str) -> Iterator[Edit]:
    spec = function.args
    params = [*spec.posonlyargs, *spec.args]
    if re.search(r"takes \d+ positional arguments? but \d+ (?:was|were) given", message):
        inside = source.text.find("(", source.span(function)[0]) + 1
        if not params or params[0].arg not in {"self", "cls"}:
            yield source.edit(inside, inside, "self, " if params else "self", 0)
    for name in re.findall(r"'(\w+)'", message.partition("missing")[2]):
        param = next((param for param in [*params, *spec.kwonlyargs] if param.arg == name), None)
        if param is not None:
            end = source.span(param)[1]
            yield source.edit(end, end, " = None" if param.annotation else "=None", 2)
    if found := re.search(r"unexpected keyword argument '(\w+)'", message):
        for other in close_names(found[1], [param.arg for param in [*params, *spec.kwonlyargs]]):
            for param in params:
                if param.arg == other:
                    start = source.span(param)[0]
                    yield source.edit(start, start + len(other), found[1], 3)


def _arguments(
    source: Source, frame: Frame, name: str, functions: list[tuple[Source, _Function]], message: str
) -> Iterator[Edit]:
    node = statement(source, frame.line)
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)] if node else []
    for call in (call for call in calls if getattr(call.func, "attr", getattr(call.func, "id", "")) == name):
        if found := re.search(r"unexpected keyword argument '(\w+)'", message):
            known = [
                param.arg for _, function in functions for param in (*function.args.args, *function.args.kwonlyargs)
            ]
            for word in (word for word in call.keywords if word.arg == found[1]):
                start = source.span(word)[0]
                for other in close_names(found[1], known, message):
                    yield source.edit(start, start + len(found[1]), other, 0)
        if re.search(r"arguments?\b.*(?:given|got \d)", message) and call.args:
            last = call.args[-1]
            start = source.span(call.args[-2])[1] if len(call.args) > 1 else source.span(last)[0]
            yield source.edit(start, source.span(last)[1], "", 1)
        for missing in re.findall(r"'(\w+)'", message.partition("missing")[2]):
            end = source.span(call)[1] - 1
            comma = ", " if call.args or call.keywords else ""
            for value in _values(source, frame, missing):
                yield source.edit(end, end, f"{comma}{value}", 1)


def _values(source: Source, frame: Frame, name: str) -> list[str]:
    """Return what may be handed over for a parameter: a variable of that name or one like it."""
    tree = source.tree or ast.Module([], [])
    known = [part.id for part in ast.walk(tree) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]
    known += [part.arg for part in ast.walk(tree) if isinstance(part, ast.arg)]
    del frame
    return list(dict.fromkeys([*([name] if name in known else []), *close_names(name, known), "None"]))


def _operands(source: Source, frame: Frame, message: str) -> Iterator[Edit]:
    node = statement(source, frame.line)
    if node is None or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    for side in _sides(node):
        for wrap in _wraps(message):
            yield source.replace(side, f"{wrap}({source.written(side)})", 1)
    if "not callable" in message:
        for part in ast.walk(node):
            if isinstance(part, ast.Call) and not part.args and not part.keywords:
                yield source.edit(source.span(part.func)[1], source.span(part)[1], "", 0)
    if "method" in message or "function" in message:
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Load):
                yield source.edit(source.span(part)[1], source.span(part)[1], "()", 2)


def _sides(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the operands of arithmetic and comparisons."""
    for part in ast.walk(node):
        if isinstance(part, ast.BinOp):
            yield from (part.left, part.right)
        elif isinstance(part, ast.Compare):
            yield from (part.left, *part.comparators)


def _wraps(message: str) -> list[str]:
    """Return the conversions that would make the operands fit."""
    if re.search(r"unsupported operand|can only concatenate|not supported between", message):
        text = "'str'" in message or "str (" in message
        return [*(["list"] if "list" in message else []), *(["str", "int", "float"] if text else ["float", "int"])]
    if "expected str instance" in message or "must be str" in message:
        return ["str"]
    return ["str", "list"] if "not iterable" in message or "has no len()" in message else []
