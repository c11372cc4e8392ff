"""Which definition a rename means, and which modules pass it on."""

from __future__ import annotations

import ast

from ezaigent.agents.mechanic.programs.modules import Module, Modules
from ezaigent.agents.mechanic.programs.references import RenameError, Target
from ezaigent.agents.mechanic.programs.scopes import own_nodes
from ezaigent.agents.mechanic.programs.tree import in_any

_HARMLESS = frozenset(
    [
        "object",
        "ABC",
        "Protocol",
        "Generic",
        "Exception",
        "ValueError",
        "RuntimeError",
        "Enum",
        "NamedTuple",
        "TypedDict",
    ]
)
"""Foreign base classes that call no method of their subclasses by a name of the repository's choosing."""
_SHARED = frozenset(
    name
    for kind in (str, bytes, list, dict, set, tuple, int, float, complex, bool, BaseException)
    for name in dir(kind)
)


def find_target(modules: Modules, qualifier: str, old: str, new: str, *, kind: str, places: list[str]) -> Target:
    """Return what to rename; ``RenameError`` where nothing, or more than one thing, has the name."""
    definers = [
        module
        for module in modules.by_path.values()
        if old in module.scope.defined and (not places or in_any(module.path, places))
    ]
    definers = [module for module in definers if _fits(module, old, kind)]
    if qualifier:
        definers = [
            module
            for module in definers
            if any(name == qualifier or name.endswith(f".{qualifier}") for name in module.names)
        ]
    definers = [
        module
        for module in definers
        if not _passes_on(modules, module, old, {other.path for other in definers} - {module.path})
    ]
    if kind == "method" or not definers:
        return _method(modules, qualifier, old, new, kind=kind, places=places)
    if (
        not kind
        and not qualifier
        and any(_is_method(part, old) for module in modules.by_path.values() for part in _class_parts(module))
    ):
        raise RenameError(
            f"{old!r} names a method as well as something in {definers[0].path}; "
            f"say which, as in {definers[0].names[0]}.{old}"
        )
    if len(definers) > 1:
        raise RenameError(
            f"{old!r} is defined in {definers[0].path} and {definers[1].path}; "
            f"name one, as in {definers[0].names[0]}.{old}"
        )
    target = Target(old, new, carriers={definers[0].path})
    grown = True
    while grown:
        more = {module.path for module in modules.by_path.values() if _passes_on(modules, module, old, target.carriers)}
        grown = not more <= target.carriers
        target.carriers |= more
    for path in sorted(target.carriers):
        module = modules.by_path[path]
        if new in module.scope.names or f"{module.names[0]}.{new}" in modules.by_name:
            raise RenameError(f"{new!r} is already taken in {path}")
    return target


def _fits(module: Module, old: str, kind: str) -> bool:
    """Whether the module's definition is of the kind that the request names."""
    kinds = {type(node) for node in own_nodes(module.tree) if getattr(node, "name", None) == old}
    if kind == "function":
        return bool(kinds & {ast.FunctionDef, ast.AsyncFunctionDef})
    if kind == "class":
        return ast.ClassDef in kinds
    if kind == "variable":
        return not kinds
    return kind != "method"


def _passes_on(modules: Modules, module: Module, old: str, carriers: set[str]) -> bool:
    """Whether the module's global ``old`` was imported from one of the carriers."""
    found = module.scope.imports.get(old)
    origins = [(found[0], found[1])] if found and found[2] == old else []
    if old not in module.scope.names and not old.startswith("_"):
        origins += module.scope.stars
    for name, level in origins:
        origin = modules.by_name.get(modules.find(module, name, level))
        if origin is not None and origin.path in carriers:
            return True
    return False


def _method(modules: Modules, qualifier: str, old: str, new: str, *, kind: str, places: list[str]) -> Target:
    classes = [
        node for module in modules.by_path.values() for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)
    ]
    owners = {node.name for node in classes if any(_is_method(part, old) for part in node.body)}
    located = {
        node.name
        for path, module in modules.by_path.items()
        if not places or in_any(path, places)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and node.name in owners
    }
    wanted = {qualifier.rpartition(".")[2]} & located if qualifier else located
    if not wanted or kind not in {"", "method", "function"}:
        what = kind or "function, class, method or module-level name"
        raise RenameError(f"no {what} {old!r} is defined in the places that the task names")
    bases = {
        node.name: [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases] for node in classes
    }
    family = _family({min(wanted)}, bases)
    if others := owners - family:
        raise RenameError(
            f"{old!r} is a method of {min(wanted)} and of {min(others)}; calls cannot be told apart by their text"
        )
    foreign = {base for name in family for base in bases[name]} - set(bases) - _HARMLESS
    if foreign:
        raise RenameError(
            f"{min(wanted)} inherits from {min(foreign)}, which is not in the repository and may call {old!r}"
        )
    if old in _SHARED or (old.startswith("__") and old.endswith("__")):
        raise RenameError(f"{old!r} is also a method of builtin types; calls cannot be told apart by their text")
    for module in modules.by_path.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load) and node.attr in {old, new}:
                raise RenameError(f"{node.attr!r} is also an attribute in {module.path}:{node.lineno}")
            if isinstance(node, ast.ClassDef) and node.name in family and any(_binds(part, new) for part in node.body):
                raise RenameError(f"{new!r} is also an attribute in {module.path}:{node.lineno}")
    return Target(old, new, classes=family)


def _family(names: set[str], bases: dict[str, list[str]]) -> set[str]:
    """Return the classes joined by inheritance, upwards and downwards."""
    while True:
        up = {base for name in names for base in bases.get(name, ()) if base in bases}
        down = {name for name, above in bases.items() if names & set(above)}
        if up | down <= names:
            return names
        names = names | up | down


def _is_method(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name


def _binds(node: ast.stmt, name: str) -> bool:
    return _is_method(node, name) or any(
        isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Store) for part in ast.walk(node)
    )


def _class_parts(module: Module) -> list[ast.stmt]:
    return [part for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef) for part in node.body]
