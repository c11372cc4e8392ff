"""Finds every place of one file that means a certain symbol."""

# ruff: noqa: D102 - the visit methods are named, called and documented by ast

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from ezaigent.agents.mechanic.programs.fields import expressions
from ezaigent.agents.mechanic.programs.modules import Module, Modules
from ezaigent.agents.mechanic.programs.scopes import Comprehension, Scope, read_scope

Spot = tuple[int, int]
"""A line from 1 and a column in bytes from 0."""


_BY_NAME = frozenset({"getattr", "hasattr", "setattr", "delattr", "object"})


class RenameError(Exception):
    """The rename would not be sound; the text says why."""


@dataclass
class Target:
    """What is renamed."""

    old: str
    new: str
    carriers: set[str] = field(default_factory=set[str])
    """Paths of the modules in which the global name ``old`` is the symbol; empty for a method."""
    classes: set[str] = field(default_factory=set[str])
    """Names of the classes whose method it is; empty for a symbol of a module."""


def replaced(source: bytes, spots: set[Spot], target: Target) -> bytes:
    """Return the source with the new name at each spot."""
    lines = source.split(b"\n")
    for line, column in sorted(spots, reverse=True):
        text = lines[line - 1]
        lines[line - 1] = text[:column] + target.new.encode() + text[column + len(target.old.encode()) :]
    return b"\n".join(lines)


class References(ast.NodeVisitor):
    """Collects in ``spots`` where the symbol's name stands in a module."""

    def __init__(self, module: Module, modules: Modules, target: Target) -> None:
        self.module = module
        self.modules = modules
        self.target = target
        self.spots: set[Spot] = set()
        self.strange: list[Spot] = []
        """Where the name stands for something else, or may do."""
        self._lines = module.source.split(b"\n")
        self._scopes: list[Scope] = [module.scope]
        self._annotation = False
        self._shift: Callable[[int, int], Spot] = lambda line, column: (line, column)
        self.visit(module.tree)

    def scoped(self, node: ast.AST, parts: list[ast.AST]) -> None:
        """Visit parts of a node inside the scope that it opens."""
        self._scopes.append(read_scope(node))
        for part in parts:
            self.visit(part)
        self._scopes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._definition(node, rb"(?:async\s+)?def\s+")
        for outside in (*node.decorator_list, node.args):
            self.visit(outside)
        self._annotated(node.returns)
        self.scoped(node, list(node.body))

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the names are set by ast

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._definition(node, rb"class\s+")
        for outside in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(outside)
        self.scoped(node, list(node.body))

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit(node.args)
        self.scoped(node, [node.body])

    def _comprehension(self, node: Comprehension) -> None:
        self.visit(node.generators[0].iter)
        parts = [part for part in ast.iter_child_nodes(node) if not isinstance(part, ast.comprehension)]
        for index, generator in enumerate(node.generators):
            parts += [generator.target, *generator.ifs, *([generator.iter] if index else [])]
        self.scoped(node, parts)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815

    def visit_arg(self, node: ast.arg) -> None:
        if node.arg == self.target.old:
            self.strange.append(self._at(node))
        self._annotated(node.annotation)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        self._annotated(node.annotation)
        if node.value:
            self.visit(node.value)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg == self.target.old:
            self.strange.append(self._at(node))
        self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id == self.target.old:
            here = self._scopes[-1]
            shadowed = isinstance(here.node, ast.ClassDef) and node.id in here.names
            if shadowed and isinstance(node.ctx, ast.Load) and self.module.path in self.target.carriers:
                where = f"{self.module.path}:{node.lineno}"
                raise RenameError(
                    f"the class body at {where} reads {node.id!r} and binds it too; tell them apart first"
                )
            if self._means_symbol():
                self._add(node)
            else:
                self.strange.append(self._at(node))

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        if self.target.old in node.names and self.module.path in self.target.carriers:
            self._in_text(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == self.target.old and self._carries(
                self.modules.find(self.module, node.module or "", node.level)
            ):
                self._add(alias)
            elif self.target.old in {alias.name, alias.asname}:
                self._imported_as(alias)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._imported_as(alias)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.visit(node.value)
        if node.attr != self.target.old:
            return
        base = self.dotted(node.value)
        if self._carries(base) if self.target.carriers else base is None:
            line, column = self._shift(node.end_lineno or node.lineno, node.end_col_offset or 0)
            self._add_at((line, column - len(self.target.old)))
        elif base is None:
            self.strange.append(self._at(node))

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        match node.args:
            case [base, ast.Constant(value=str(name)) as text, *_] if name == self.target.old:
                callee = ast.unparse(node.func).rpartition(".")[2]
                if self._carries(self.dotted(base)) or (
                    self.target.classes and callee in _BY_NAME and self.dotted(base) is None
                ):
                    self._in_text(text)
            case _:
                pass

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._unplaced(node, node.name)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self._unplaced(node, node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        self._unplaced(node, node.name)

    def visit_Assign(self, node: ast.Assign | ast.AugAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        exported = any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)
        for text in ast.walk(node.value) if exported and self.module.path in self.target.carriers else ():
            if isinstance(text, ast.Constant) and text.value == self.target.old:
                self._in_text(text)
        self.generic_visit(node)

    visit_AugAssign = visit_Assign  # noqa: N815

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, str) or self.target.old not in node.value:
            return
        if self._annotation:
            self._quoted_annotation(node, node.value)
        for name in self.carrier_names() if "." in node.value or ":" in node.value else ():
            if re.match(rf"{re.escape(name)}[.:]{re.escape(self.target.old)}(?!\w)", node.value):
                self._in_text(node, rf"(?<={re.escape(name)}[.:]){re.escape(self.target.old)}(?!\w)")

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        if sys.version_info >= (3, 12):
            self.generic_visit(node)
            return
        before = self._shift
        for tree, line, column in expressions(self.segment(node), *self._at(node)):
            self._shift = lambda at, offset, line=line, column=column: (
                line + at - 1,
                offset - 1 + column if at == 1 else offset,
            )
            self.visit(tree)
        self._shift = before

    def visit_Subscript(self, node: ast.Subscript) -> None:
        annotation = self._annotation
        if ast.unparse(node.value).rpartition(".")[2] in {"Literal", "Annotated"}:
            self._annotation = False
        self.generic_visit(node)
        self._annotation = annotation

    def carrier_names(self) -> list[str]:
        """Return every dotted name of the modules that carry the symbol."""
        return [name for path in self.target.carriers for name in self.modules.by_path[path].names]

    def dotted(self, node: ast.AST) -> str | None:
        """Return the module that an expression stands for: its dotted name, foreign ones included; else None."""
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return f"{base}.{node.attr}" if base else None
        if not isinstance(node, ast.Name):
            return None
        scope = self.binder(node.id)
        found = scope.imports.get(node.id) if scope and node.id not in scope.defined else None
        if found is None:
            return None
        module, level, name = found
        whole = self.modules.find(self.module, module, level)
        if name is None:
            return whole
        inner = f"{whole}.{name}".strip(".")
        return inner if inner in self.modules.by_name or whole not in self.modules.by_name else None

    def binder(self, name: str) -> Scope | None:
        """Return the scope that ``name`` belongs to where the visit stands now; None for builtins and star imports."""
        for depth, scope in enumerate(reversed(self._scopes)):
            if name in scope.outer:
                return self._scopes[0]
            if name in scope.names and (depth == 0 or not isinstance(scope.node, ast.ClassDef)):
                return scope
        return None

    def segment(self, node: ast.expr) -> str:
        """Return a node's source text."""
        lines = self._lines[node.lineno - 1 : node.end_lineno]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        return b"\n".join(lines).decode("utf-8", "surrogateescape")

    def _quoted_annotation(self, node: ast.Constant, text: str) -> None:
        """Read an annotation that stands in quotes as the expression that it is."""
        written = self.segment(node)
        opening = written[: len(written) - len(written.lstrip("rRuU'\""))]
        if written != f"{opening}{text}{opening.lstrip('rRuU')}" or "\n" in text:
            return
        try:
            tree = ast.parse(f"({text})", mode="eval").body
        except SyntaxError:
            return
        line, column = self._at(node)
        before = self._shift

        def inside(_: int, offset: int) -> Spot:
            return line, column + len(opening) - 1 + offset

        self._shift = inside
        self.visit(tree)
        self._shift = before

    def _unplaced(self, node: ast.ExceptHandler | ast.pattern, name: str | None) -> None:
        """The parser does not say where in these the name stands; a symbol is hardly ever bound by one."""
        if name == self.target.old and self._means_symbol():
            raise RenameError(f"{name!r} is bound by a pattern or handler in {self.module.path}:{node.lineno}")
        self.generic_visit(node)

    def _annotated(self, node: ast.expr | None) -> None:
        if node is not None:
            self._annotation = True
            self.visit(node)
            self._annotation = False

    def _means_symbol(self) -> bool:
        """Whether the bare name means the symbol here; refuses where the new name would mean something else."""
        scope = self.binder(self.target.old)
        local = scope is not None and scope is not self._scopes[0]
        if local:
            found = scope.imports.get(self.target.old) if scope and self.target.old not in scope.defined else None
            if (
                found is None
                or found[2] != self.target.old
                or not self._carries(self.modules.find(self.module, found[0], found[1]))
            ):
                return False
        elif self.module.path not in self.target.carriers:
            return False
        taken = self.binder(self.target.new)
        if taken is not None:
            raise RenameError(
                f"{self.target.new!r} is already taken where {self.target.old!r} is used in {self.module.path}"
            )
        return True

    def _carries(self, name: str | None) -> bool:
        found = self.modules.by_name.get(name) if name else None
        return found is not None and found.path in self.target.carriers

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, opening: bytes) -> None:
        if node.name != self.target.old:
            return
        scope = self._scopes[-1]
        method = isinstance(scope.node, ast.ClassDef) and scope.node.name in self.target.classes
        if not (method if self.target.classes else not isinstance(scope.node, ast.ClassDef) and self._means_symbol()):
            self.strange.append(self._at(node))
            return
        found = re.compile(opening).match(self._lines[node.lineno - 1], node.col_offset)
        if found is None:
            raise RenameError(
                f"the definition at {self.module.path}:{node.lineno} is written in a way that is not understood"
            )
        self._add_at((node.lineno, found.end()))

    def _imported_as(self, alias: ast.alias) -> None:
        local = alias.asname or alias.name
        if local == self.target.old and alias.asname and self._means_symbol():
            self._add_at((alias.end_lineno or alias.lineno, (alias.end_col_offset or 0) - len(local)))

    def _in_text(self, node: ast.expr | ast.stmt, form: str | None = None) -> None:
        """Add the name inside a string or a global statement, if it stands there once."""
        text = (
            self.segment(node)
            if isinstance(node, ast.expr)
            else self._lines[node.lineno - 1][node.col_offset :].decode("utf-8", "surrogateescape")
        )
        for found in re.finditer(form or rf"\b{re.escape(self.target.old)}\b", text):
            before = text[: found.start()].split("\n")
            column = len(before[-1].encode("utf-8", "surrogateescape")) + (node.col_offset if len(before) == 1 else 0)
            self._add_at((node.lineno + len(before) - 1, column))

    def _at(self, node: ast.AST) -> Spot:
        return self._shift(getattr(node, "lineno", 1), getattr(node, "col_offset", 0))

    def _add(self, node: ast.AST) -> None:
        self._add_at(self._at(node))

    def _add_at(self, spot: Spot) -> None:
        line, column = spot
        old = self.target.old.encode()
        if self._lines[line - 1][column : column + len(old)] != old:
            raise RenameError(
                f"{self.target.old!r} could not be located at {self.module.path}:{line}; write that line more plainly"
            )
        self.spots.add(spot)
