"""Small edits of a piece of code that mend common slips: comparisons, bounds, operators, constants, returns."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ezaigent.agents.mechanic.programs.sources import Edit, Source

_COMPARE: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">")),
    ast.LtE: ("<=", ("<", ">=")),
    ast.Gt: (">", (">=", "<")),
    ast.GtE: (">=", (">", "<=")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
}
_ARITHMETIC: dict[type[ast.operator], tuple[str, tuple[str, ...]]] = {
    ast.Add: ("+", ("-", "*")),
    ast.Sub: ("-", ("+",)),
    ast.Mult: ("*", ("+", "/", "**")),
    ast.Div: ("/", ("*", "//")),
    ast.FloorDiv: ("//", ("/", "%")),
    ast.Mod: ("%", ("//",)),
    ast.Pow: ("**", ("*",)),
    ast.BitAnd: ("&", ("|",)),
    ast.BitOr: ("|", ("&",)),
    ast.LShift: ("<<", (">>",)),
    ast.RShift: (">>", ("<<",)),
}
_PAIRS = (
    ("min", "max"), ("any", "all"), ("lower", "upper"), ("append", "extend"), ("startswith", "endswith"),
    ("ceil", "floor"), ("lstrip", "rstrip"), ("add", "remove"), ("keys", "values"), ("values", "items"),
    ("find", "rfind"), ("index", "count"), ("split", "rsplit"), ("insert", "append"), ("title", "capitalize"),
)  # fmt: skip
_TWINS: dict[str, list[str]] = {}
for _one, _other in _PAIRS:
    _TWINS.setdefault(_one, []).append(_other)
    _TWINS.setdefault(_other, []).append(_one)


def mutations(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Yield the edits of one piece of code; what stands inside an f-string has no reliable place and is left out."""
    hidden = {id(part) for outer in ast.walk(node) if isinstance(outer, ast.JoinedStr) for part in ast.walk(outer)}
    parts = [part for part in ast.walk(node) if id(part) not in hidden and not _is_docstring(part)]
    for part in sorted(parts, key=lambda part: (getattr(part, "lineno", 0), getattr(part, "col_offset", 0))):
        yield from _operators(source, part)
        yield from _bounds(source, part)
        yield from _calls(source, part)
    for function in (part for part in parts if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)):
        yield from _returns(source, function)
        yield from _names(source, function)


def between(source: Source, operands: tuple[ast.AST, ast.AST], old: str, new: str, tier: int) -> Iterator[Edit]:
    """Yield the edit that swaps an operator which stands between two operands, where it is found there once."""
    start, end = source.span(operands[0])[1], source.span(operands[1])[0]
    form = re.escape(old).replace(r"\ ", r"\s+")
    hits = list(re.finditer(rf"(?<![\w<>=!*/]){form}(?![\w<>=*/])", source.text[start:end]))
    if len(hits) == 1:
        yield source.edit(start + hits[0].start(), start + hits[0].end(), new, tier)


def _operators(source: Source, part: ast.AST) -> Iterator[Edit]:  # noqa: C901, PLR0912 - one case for each kind of node
    match part:
        case ast.Compare():
            operands = [part.left, *part.comparators]
            for index, operator in enumerate(part.ops):
                old, others = _COMPARE[type(operator)]
                for rank, new in enumerate(others):
                    yield from between(source, (operands[index], operands[index + 1]), old, new, 1 + rank)
        case ast.BinOp():
            old, others = _ARITHMETIC.get(type(part.op), ("", ()))
            for rank, new in enumerate(others):
                yield from between(source, (part.left, part.right), old, new, 2 + rank)
        case ast.AugAssign():
            old, others = _ARITHMETIC.get(type(part.op), ("", ()))
            for rank, new in enumerate(others):
                yield from between(source, (part.target, part.value), f"{old}=", f"{new}=", 2 + rank)
        case ast.BoolOp():
            old, new = ("and", "or") if isinstance(part.op, ast.And) else ("or", "and")
            for left, right in zip(part.values, part.values[1:], strict=False):
                yield from between(source, (left, right), old, new, 2)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield source.edit(source.span(part)[0], source.span(part.operand)[0], "", 2)
        case ast.If() | ast.While() | ast.IfExp():
            if not isinstance(part.test, ast.Compare | ast.UnaryOp):
                yield source.replace(part.test, f"not ({source.written(part.test)})", 3)
        case _:
            pass


def _bounds(source: Source, part: ast.AST) -> Iterator[Edit]:
    match part:
        case ast.Constant(value=bool(value)):
            yield source.replace(part, str(not value), 2)
        case ast.Constant(value=int(value)):
            tens = (value * 10, value // 10) if re.fullmatch("10+", str(value)) else ()
            for rank, other in enumerate((value + 1, value - 1, *tens)):
                yield source.replace(part, str(other), 2 + rank % 2)
        case ast.Call(func=ast.Name(id="range"), args=[*arguments]) if arguments:
            last = arguments[1] if len(arguments) > 1 else arguments[0]
            yield from _shifted(source, last, 1)
            if len(arguments) > 1:
                yield from _shifted(source, arguments[0], 2)
        case ast.Subscript(slice=ast.Slice(lower=lower, upper=upper)):
            for bound in (bound for bound in (upper, lower) if bound is not None):
                yield from _shifted(source, bound, 2)
        case ast.Subscript(slice=inner) if isinstance(inner, ast.Name | ast.BinOp | ast.Call):
            yield from _shifted(source, inner, 2)
        case _:
            pass


def _shifted(source: Source, node: ast.expr, tier: int) -> Iterator[Edit]:
    """One more, one less, or without the one that is there already."""
    if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant) and node.right.value == 1:
        yield source.replace(node, source.written(node.left), tier)
    elif isinstance(node, ast.UnaryOp | ast.Constant):
        return
    text = source.written(node)
    yield source.replace(node, f"{text} + 1", tier)
    yield source.replace(node, f"{text} - 1", tier)


def _calls(source: Source, part: ast.AST) -> Iterator[Edit]:
    if not isinstance(part, ast.Call):
        return
    name = part.func.attr if isinstance(part.func, ast.Attribute) else getattr(part.func, "id", "")
    for twin in _TWINS.get(name, ()):
        end = source.span(part.func)[1]
        yield source.edit(end - len(name), end, twin, 3)
    if len(part.args) == 2:  # noqa: PLR2004 - a pair can be swapped
        first, second = (source.written(argument) for argument in part.args)
        start, end = source.span(part.args[0])[0], source.span(part.args[1])[1]
        comma = source.text[source.span(part.args[0])[1] : source.span(part.args[1])[0]]
        yield source.edit(start, end, f"{second}{comma}{first}", 3)
    if name in {"sorted", "sort"}:
        turned = next((word for word in part.keywords if word.arg == "reverse"), None)
        if turned is None:
            inside = ", reverse=True" if part.args or part.keywords else "reverse=True"
            yield source.edit(source.span(part)[1] - 1, source.span(part)[1] - 1, inside, 3)


def _returns(source: Source, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Edit]:
    """A value that is worked out and then forgotten; a return that comes too early."""
    loops = [part for part in ast.walk(function) if isinstance(part, ast.For | ast.While)]
    if not any(isinstance(part, ast.Return) and part.value for part in ast.walk(function)):
        last = function.body[-1]
        start, end = source.span(last)
        indent = " " * last.col_offset
        if isinstance(last, ast.Expr) and not isinstance(last.value, ast.Constant):
            yield source.edit(start, start, "return ", 1)
        names = [
            part.id for part in ast.walk(function) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
        ]
        for name in list(dict.fromkeys(reversed(names)))[:3]:
            yield source.edit(end, end, f"\n{indent}return {name}", 1)
    for loop in loops:
        last = loop.body[-1]
        if isinstance(last, ast.Return) and last.col_offset > loop.col_offset:
            start, end = source.span(last)
            begin = source.text.rfind("\n", 0, start) + 1
            indent = source.text[source.starts[loop.lineno - 1] : source.span(loop)[0]]
            if not source.text[begin:start].strip() and not indent.strip():
                yield source.edit(begin, end, f"{indent}{source.text[start:end]}", 2)


def _names(source: Source, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Edit]:
    """A local name written in place of another."""
    spec = function.args
    known = [param.arg for param in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)]
    known += [part.id for part in ast.walk(function) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]
    known = [name for name in dict.fromkeys(known) if name not in {"self", "cls", "_"}]
    for part in ast.walk(function):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and part.id in known:
            for other in known:
                if other != part.id:
                    yield source.replace(part, other, 4)


def _is_docstring(part: ast.AST) -> bool:
    return isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) and isinstance(part.value.value, str)
