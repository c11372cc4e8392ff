"""Where the failure points: the pieces of own code that are worth an edit, the most likely first."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from ezaigent.agents.mechanic.programs.failure import Failure, Frame
from ezaigent.agents.mechanic.programs.sources import Source
from ezaigent.agents.mechanic.programs.tree import files_below

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_REACH = 3
"""Calls that are followed from the failing line."""


def is_test(path: str) -> bool:
    """Whether a file is a test or serves tests."""
    name = PurePosixPath(path)
    return (
        name.name.startswith("test_")
        or name.stem.endswith("_test")
        or name.name == "conftest.py"
        or bool({"tests", "test", "testing"} & set(name.parts[:-1]))
    )


@dataclass(frozen=True)
class Spot:
    """A piece of code to look at; ``line`` where the traceback names one."""

    source: Source
    node: ast.AST
    line: int | None = None


@dataclass
class Project:
    """The own code of the tree."""

    root: str
    guarded: set[str] = field(default_factory=set[str])
    """Scripts that the check runs and that assert something: they are tests, whatever their name."""
    sources: dict[str, Source] = field(default_factory=dict[str, Source])
    definitions: dict[str, list[tuple[Source, ast.AST]]] = field(
        default_factory=dict[str, "list[tuple[Source, ast.AST]]"]
    )
    """Functions, classes, methods and module-level assignments by name."""

    @classmethod
    def read(cls, root: str, command: str = "") -> Project:
        """Read every file; what cannot be decoded is left out. ``command`` is the check."""
        project = cls(root)
        words = {word.removeprefix("./").partition("::")[0] for word in re.split(r"[\s'\";&|()]+", command)}
        for path in files_below(root, endings=(".py",)):
            source = Source.read(root, path)
            if source is not None:
                project.sources[path] = source
                project.index(source)
                if path in words and re.search(r"^\s*assert\b", source.text, re.MULTILINE):
                    project.guarded.add(path)
        return project

    def editable(self, path: str, *, tests: bool) -> bool:
        """Whether a file may be edited to make the check pass."""
        return tests or not (is_test(path) or path in self.guarded)

    def index(self, source: Source) -> None:
        """Note what a file defines."""
        for node in ast.walk(source.tree) if source.tree else ():
            if isinstance(node, Definition):
                self.definitions.setdefault(node.name, []).append((source, node))
        for node in source.tree.body if source.tree else ():
            targets = (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target]
                if isinstance(node, ast.AnnAssign)
                else []
            )
            for target in targets:
                if isinstance(target, ast.Name):
                    self.definitions.setdefault(target.id, []).append((source, node))

    def own(self, name: str, *, tests: bool) -> list[tuple[Source, ast.AST]]:
        """Return what ``name`` may stand for, tests only where they may be edited."""
        return [
            (source, node) for source, node in self.definitions.get(name, ()) if self.editable(source.path, tests=tests)
        ]


def spots(project: Project, failure: Failure, *, tests: bool) -> list[Spot]:
    """Return the pieces to look at: lines of the traceback, what they call, and what those call."""
    found: dict[tuple[str, int], Spot] = {}
    layer: list[tuple[Source, ast.AST]] = []
    for frame in failure.frames:
        source = project.sources.get(frame.path)
        if source is None or source.tree is None:
            continue
        around = enclosing(source, frame.line)
        layer += [(source, node) for node in (statement(source, frame.line), around) if node is not None]
        if project.editable(frame.path, tests=tests):
            node = around or statement(source, frame.line) or source.tree
            _add(found, Spot(source, node, frame.line))
    layer += [(frame_source, node) for frame_source, node in _tests(project, failure)]
    for _ in range(_REACH):
        following: list[tuple[Source, ast.AST]] = []
        for _source, node in layer:
            for name in used(node):
                for source, target in project.own(name, tests=tests):
                    following.append((source, target))
                    _add(found, Spot(source, target))
        layer = following
    return _methods_for_classes(list(found.values()), failure, project)


def statement(source: Source, line: int) -> ast.stmt | None:
    """Return the innermost statement on a line."""
    inside = [
        node
        for node in ast.walk(source.tree or ast.Module([], []))
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return min(inside, key=lambda node: (node.end_lineno or node.lineno) - node.lineno, default=None)


def enclosing(source: Source, line: int) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """Return the innermost function around a line."""
    inside = [
        node
        for node in ast.walk(source.tree or ast.Module([], []))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return max(inside, key=lambda node: node.lineno, default=None)


def used(node: ast.AST) -> list[str]:
    """Return the names that a piece of code reads, calls first, each once, in the order of the text."""
    calls: list[str] = []
    others: list[str] = []
    for part in ast.walk(node):
        if isinstance(part, ast.Call):
            calls.append(getattr(part.func, "attr", getattr(part.func, "id", "")))
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
            others.append(part.id)
        elif isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Load):
            others.append(part.attr)
    return [name for name in dict.fromkeys([*calls, *others]) if name]


def _tests(project: Project, failure: Failure) -> list[tuple[Source, ast.AST]]:
    """Return the failing tests themselves: with ``--tb=no`` they are all that the output names."""
    names = [name.partition("[")[0].rpartition("::")[2].partition(" ")[0] for name in sorted(failure.tests)]
    return [
        (source, node)
        for name in names
        for source, node in project.definitions.get(name, ())
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_test(source.path)
    ]


def _add(found: dict[tuple[str, int], Spot], spot: Spot) -> None:
    key = (spot.source.path, getattr(spot.node, "lineno", 0))
    found.setdefault(key, spot)


def _methods_for_classes(found: list[Spot], failure: Failure, project: Project) -> list[Spot]:
    """Put a class itself behind its methods, which the same walk has found by their names."""
    del failure, project
    return [spot for spot in found if not isinstance(spot.node, ast.ClassDef)] + [
        spot for spot in found if isinstance(spot.node, ast.ClassDef)
    ]


def frame_sources(project: Project, failure: Failure, *, tests: bool) -> list[tuple[Source, Frame]]:
    """Return the own files of the traceback with their frames, innermost first."""
    return [
        (project.sources[frame.path], frame)
        for frame in failure.frames
        if frame.path in project.sources and project.editable(frame.path, tests=tests)
    ]
