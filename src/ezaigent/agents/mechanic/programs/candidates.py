"""The bounded, ordered list of single edits that a failure points at."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ezaigent.agents.mechanic.programs.calls import call_edits
from ezaigent.agents.mechanic.programs.failure import Failure, Frame
from ezaigent.agents.mechanic.programs.focus import Project, frame_sources, spots
from ezaigent.agents.mechanic.programs.hints import value_edits
from ezaigent.agents.mechanic.programs.mutations import mutations
from ezaigent.agents.mechanic.programs.names import (
    missing_attribute,
    missing_export,
    missing_key,
    missing_module,
    unknown_name,
)
from ezaigent.agents.mechanic.programs.slips import syntax_edits
from ezaigent.agents.mechanic.programs.sources import Edit, Source


def candidates(project: Project, failure: Failure, *, tests: bool, most: int) -> list[Edit]:
    """Return at most ``most`` edits, the likeliest first; each leaves a file that is valid Python."""
    kept: dict[tuple[str, str], tuple[int, int, Edit]] = {}
    for rank, edit in _all(project, failure, tests=tests):
        source = project.sources[edit.path]
        key = edit.path, source.applied(edit)
        if key[1] == source.text or (key in kept and kept[key][:2] <= (edit.tier, rank)):
            continue
        if key in kept or Source(*key).tree is not None:
            kept[key] = edit.tier, rank, edit
    # Places are ranked too: a far-fetched edit at the failing line comes after a likely one in what it calls.
    ordered = sorted(kept.values(), key=lambda item: (item[0] + item[1] // 2, item[1], item[0]))
    return [edit for _, _, edit in ordered[:most]]


def _all(project: Project, failure: Failure, *, tests: bool) -> Iterator[tuple[int, Edit]]:
    frames = frame_sources(project, failure, tests=tests)
    for kind, message in failure.errors:
        for edit in _directed(project, failure, frames, (kind, message), tests=tests):
            yield 0, edit
    for source, frame in frames:
        for name in re.findall(
            r"(?:F821|[Uu]ndefined name|Name) ['`\"]?(?:[Uu]ndefined name )?['`\"](\w+)['`\"]",
            " ".join(failure.lints.get(frame, ())),
        ):
            for edit in unknown_name(project, source, frame, name, ""):
                yield 0, edit
    for rank, spot in enumerate(spots(project, failure, tests=tests)):
        for edit in value_edits(spot.source, spot.node, failure.values):
            yield (rank if edit.tier else 0), edit
        for edit in mutations(spot.source, spot.node):
            on_line = spot.line is not None and spot.source.line_of(edit.start) == spot.line
            yield (
                rank,
                edit
                if not on_line
                else Edit(edit.path, edit.start, edit.end, edit.text, edit.label, max(edit.tier - 1, 0)),
            )


def _directed(  # noqa: C901 - one branch for each kind of exception
    project: Project, failure: Failure, frames: list[tuple[Source, Frame]], error: tuple[str, str], *, tests: bool
) -> Iterator[Edit]:
    kind, message = error
    if kind in {"NameError", "UnboundLocalError"} and (found := re.search(r"name '(\w+)' is not defined", message)):
        for source, frame in frames[:2]:
            yield from unknown_name(project, source, frame, found[1], message)
    elif kind == "ImportError":
        yield from missing_export(project, frames, message)
    elif kind == "ModuleNotFoundError":
        yield from missing_module(project, frames, message)
    elif kind == "AttributeError":
        yield from missing_export(project, frames, message)
        yield from missing_attribute(project, frames, message, tests=tests)
    elif kind == "KeyError":
        yield from missing_key(project, frames, message, tests=tests)
    elif kind == "TypeError":
        yield from call_edits(project, frames, message, tests=tests)
    elif kind in {"SyntaxError", "IndentationError", "TabError"}:
        for source, frame in frames:
            if source.tree is None:
                yield from syntax_edits(source, frame.line, message, failure)
