from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from reference import DOCS, PAGES

ROOT = DOCS.parent


@pytest.mark.parametrize("page", PAGES)
def test_the_reference_pages_say_what_the_code_says(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == PAGES[page](), "run: python tests/docs/reference.py"


def test_every_event_kind_that_is_listed_is_written_somewhere() -> None:
    from ezaigent.core.events import KINDS

    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "src").rglob("*.py")
        if path.name != "events.py" or path.parent.name != "core"
    )
    assert {kind for kind in KINDS if f'"{kind}"' not in sources} == set()


def test_a_room_is_entered_through_its_front_door_only() -> None:
    """``core`` is the exception: its modules are named where they are used."""
    wrong = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in (ROOT / "src" / "ezaigent").rglob("*.py")
        for found in re.finditer(r"from ezaigent\.([a-z]+)\.[\w.]+ import", path.read_text(encoding="utf-8"))
        if found[1] not in {"core", path.relative_to(ROOT / "src" / "ezaigent").parts[0]}
    ]
    assert wrong == []


def test_every_module_has_a_docstring_that_says_what_it_is_for() -> None:
    import ast

    bare = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "src").rglob("*.py")
        if not (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").strip()
    ]
    assert bare == []


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md", "CONTRIBUTING.md", "AGENTS.md"])
def test_files_and_commands_that_the_pages_name_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for goal in re.findall(r"`make ([a-z]+)", text):
        assert re.search(rf"^{goal}:", makefile, re.MULTILINE), f"{page} names make {goal}"
    known = _commands()
    for command in re.findall(r"\bezaigent ([a-z]+)\b", re.sub(r"(from|import) ezaigent.*|pip install.*", "", text)):
        assert command in known, f"{page} names `ezaigent {command}`"


def _commands() -> set[str]:
    commands = importlib.import_module("ezaigent.cli.commands")
    assert commands
    from ezaigent.cli.app import app

    known = {str(group.name) for group in app.registered_groups}
    return known | {command.callback.__name__ for command in app.registered_commands if command.callback}
