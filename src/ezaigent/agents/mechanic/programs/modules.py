"""The Python files of a tree as modules: what they are called, and where imports between them lead."""

from __future__ import annotations

import ast
import io
import tokenize
from dataclasses import dataclass
from pathlib import Path

from ezaigent.agents.mechanic.programs.scopes import Scope, read_scope
from ezaigent.agents.mechanic.programs.tree import files_below, module_names


@dataclass
class Module:
    """One parsed file."""

    path: str
    source: bytes
    encoding: str
    tree: ast.Module
    scope: Scope
    names: list[str]
    """The dotted names by which it may be imported, the usual one first."""

    @property
    def package(self) -> str:
        """The dotted name of the package that relative imports start from."""
        name = self.names[0]
        return name if self.path.endswith("__init__.py") else name.rpartition(".")[0]


@dataclass
class Modules:
    """All modules of a tree, and the files that could not be parsed."""

    by_path: dict[str, Module]
    by_name: dict[str, Module]
    broken: dict[str, bytes]

    def find(self, importer: Module, module: str, level: int) -> str:
        """Return the absolute dotted name of an import."""
        if not level:
            return module
        package = importer.package.split(".")
        base = ".".join(package[: len(package) - level + 1])
        return f"{base}.{module}".strip(".")


def read_modules(root: str = ".") -> Modules:
    """Parse every Python file below ``root``."""
    found = Modules({}, {}, {})
    for path in files_below(root):
        source = Path(root, path).read_bytes()
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
            tree = ast.parse(source, path)
        except (SyntaxError, ValueError):
            found.broken[path] = source
            continue
        module = Module(path, source, encoding, tree, read_scope(tree), module_names(path, root))
        found.by_path[path] = module
        for name in module.names:
            found.by_name.setdefault(name, module)
    return found
