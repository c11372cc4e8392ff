"""Fields described by the text beneath them, read from the source when somebody asks for a schema.

pydantic's ``use_attribute_docstrings`` reads the sources at import, which every start of the program would pay for.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return the texts beneath a model's fields, by the fields' names; where there is none, the base class's."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            found |= _texts(base.__module__).get(base.__qualname__, {})
    return found


def described(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Let a model's JSON schema tell what its fields mean: ``ConfigDict(json_schema_extra=described)``."""
    texts = meanings(model)
    for name, part in schema.get("properties", {}).items():
        if name in texts:
            part.setdefault("description", texts[name])


@cache
def _texts(module: str) -> Mapping[str, Mapping[str, str]]:
    """Return the texts beneath the fields of each class of a module."""
    try:
        source = inspect.getsource(sys.modules[module])
    except (KeyError, OSError, TypeError):  # shipped without sources, or typed at a prompt
        return {}
    return {name: dict(_beneath(found)) for name, found in _classes(ast.parse(source), "")}


def _classes(inside: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for node in inside.body:
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name, node
            yield from _classes(node, f"{prefix}{node.name}.")


def _beneath(found: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, after in pairwise(found.body):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)
            case _:
                pass
