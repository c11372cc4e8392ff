"""Program: renames a function, class, module-level name or method in every file of the tree, or says why it can't."""

from __future__ import annotations

import ast
import builtins
import json
import re
import sys
from pathlib import Path
from typing import Any

from ezaigent.agents.mechanic.programs.mentions import Mentions
from ezaigent.agents.mechanic.programs.modules import Modules, read_modules
from ezaigent.agents.mechanic.programs.references import References, RenameError, Spot, Target, replaced
from ezaigent.agents.mechanic.programs.targets import find_target
from ezaigent.agents.mechanic.programs.tree import find_place, in_any


def main(arguments: dict[str, Any]) -> None:
    """Rename and print what was changed, or ``error``; then nothing was changed."""
    try:
        answer = rename(**arguments)
    except RenameError as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")


def rename(
    *, old: str, new: str, kind: str, places: list[str], scope: list[str], excludes: list[str]
) -> dict[str, Any]:
    """Work out every edit first, check the outcome, and only then write."""
    modules = read_modules()
    qualifier, _, name = old.rpartition(".")
    for path, source in modules.broken.items():
        if re.search(rf"\b{re.escape(name)}\b".encode(), source):
            raise RenameError(f"{path} mentions {name!r} but is not valid Python; mend it first")
    inside: list[str] = []
    for place in places:
        hits = find_place(place)
        if not hits:
            raise RenameError(f"the task names {place!r}, which is not in the repository")
        inside += hits  # of several folders of that name, the one that defines the symbol
    target = find_target(modules, qualifier, name, new, kind=kind, places=inside)
    edits, strange = collect(modules, target)
    mentions = Mentions(modules, target, edits, plain=not strange)
    changed = {path: (modules.by_path[path].source, spots) for path, spots in edits.items() if spots}
    outside = [
        path for path in (*changed, *mentions.edits) if (scope and not in_any(path, scope)) or in_any(path, excludes)
    ]
    needed = [path for path in outside if edits.get(path)]
    if needed:
        raise RenameError(f"{name!r} is also used in {needed[0]}, which the task does not allow to change")
    texts = {path: replaced(source, spots | mentions.spots(path), target) for path, (source, spots) in changed.items()}
    for path, text in texts.items():
        if path.endswith((".py", ".pyi")):
            ast.parse(text, path)
    texts.update({path: text for path, text in mentions.texts(set(texts)).items() if path not in outside})
    for path, text in texts.items():
        Path(path).write_bytes(text)
    return {
        "uses": sum(len(spots) for spots in edits.values()),
        "files": sorted(changed),
        "mentioned": sorted(set(texts) - set(changed)),
        "left": mentions.left[:5],
        "kind": "method" if target.classes else "name",
    }


def collect(modules: Modules, target: Target) -> tuple[dict[str, set[Spot]], bool]:
    """Return the spots to edit by path, and whether the old name also stands for something else somewhere."""
    if hasattr(builtins, target.new) and not target.classes:
        raise RenameError(f"{target.new!r} would hide the builtin of that name")
    edits: dict[str, set[Spot]] = {}
    strange = False
    for path, module in modules.by_path.items():
        if target.old.encode() not in module.source:
            continue
        found = References(module, modules, target)
        edits[path] = found.spots
        strange = strange or bool(set(found.strange) - found.spots)
    return edits, strange
