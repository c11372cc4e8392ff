"""Which names a scope binds by itself, by the rules of the language reference (4.2, naming and binding)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
Scoped = Function | ast.ClassDef | Comprehension


@dataclass
class Scope:
    """One scope: what it binds, and what it imports."""

    node: ast.AST
    names: set[str] = field(default_factory=set[str])
    defined: set[str] = field(default_factory=set[str])
    """Those of ``names`` that are bound by something else than an import."""
    imports: dict[str, tuple[str, int, str | None]] = field(default_factory=dict[str, tuple[str, int, "str | None"]])
    """Local name to (module, level, name in it or None), for the imports in this scope."""
    stars: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    outer: set[str] = field(default_factory=set[str])
    """Names declared global or nonlocal here."""


def read_scope(node: ast.AST) -> Scope:
    """Collect what ``node`` (a module, class, function or comprehension) binds in its own scope."""
    scope = Scope(node)
    for inner in own_nodes(node):
        _bind(scope, inner)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        spec = node.args
        params = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *filter(None, (spec.vararg, spec.kwarg))]
        scope.defined.update(param.arg for param in params)
    scope.names = (scope.defined | set(scope.imports)) - scope.outer
    return scope


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that belong to the scope of ``node`` itself; nested scopes appear, but are not entered."""
    stack = list(_inside(node))
    while stack:
        inner = stack.pop()
        yield inner
        if isinstance(inner, Scoped):
            # A walrus inside a comprehension binds in the scope around it.
            if isinstance(inner, Comprehension):
                yield from (deep for deep in ast.walk(inner) if isinstance(deep, ast.NamedExpr))
            continue
        stack.extend(ast.iter_child_nodes(inner))


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Lambda):
        yield node.body
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield from node.body
    elif isinstance(node, Comprehension):
        yield from (generator.target for generator in node.generators)
    else:
        yield from ast.iter_child_nodes(node)


def _bind(scope: Scope, node: ast.AST) -> None:  # noqa: C901, PLR0912 - one case for each binding construct
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            scope.defined.add(name)
        case ast.NamedExpr(target=ast.Name(id=name)):
            scope.defined.add(name)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            scope.defined.add(name)
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            scope.defined.add(name)
        case ast.MatchMapping(rest=str(name)):
            scope.defined.add(name)
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            scope.outer.update(names)
        case ast.Import(names=aliases):
            for alias in aliases:
                local = alias.asname or alias.name.partition(".")[0]
                scope.imports[local] = (alias.name if alias.asname else local, 0, None)
        case ast.ImportFrom(module=module, names=aliases, level=level):
            for alias in aliases:
                if alias.name == "*":
                    scope.stars.append((module or "", level))
                else:
                    scope.imports[alias.asname or alias.name] = (module or "", level, alias.name)
        case _:
            pass
