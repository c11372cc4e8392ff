"""Globs of a task's scope."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezaigent.tasks.globs import meet
from ezaigent.workspaces import outside


@pytest.mark.parametrize(
    ("glob", "inside", "without"),
    [
        ("*.py", ["a.py", "x/y/a.py"], ["a.pyc", "a.md"]),
        ("/*.py", ["a.py"], ["x/a.py"]),
        ("./a.py", ["a.py"], ["x/a.py"]),
        ("src/*.py", ["src/a.py"], ["src/x/a.py", "x/src/a.py"]),
        ("src/**", ["src/a", "src/x/y"], ["srcs/a"]),
        ("src/**/t.py", ["src/t.py", "src/a/b/t.py"], ["src/at.py", "t.py"]),
        ("**/t.py", ["t.py", "a/t.py"], ["at.py"]),
        ("docs/", ["docs/a", "docs/a/b", "x/docs/a"], ["docsx/a"]),
        ("docs", ["docs", "docs/a"], ["a/doc"]),
        ("a?c", ["abc"], ["a/c", "abbc"]),
        ("[ab].txt", ["a.txt", "b.txt"], ["c.txt"]),
        ("[!ab].txt", ["c.txt"], ["a.txt"]),
        ("src[!x]a.py", ["src_a.py"], ["src/a.py", "srcxa.py"]),
        ("src[.-9]a.py", ["src.a.py", "src5a.py"], ["src/a.py"]),
        ("[z-a].txt", [], ["a.txt", "z.txt", "-.txt"]),
        ("[a-cz-x].txt", ["b.txt"], ["y.txt"]),
        ("[!z-a].txt", ["a.txt"], ["/.txt"]),
        ("[!].txt", ["a.txt"], [".txt"]),
        ("[a-].txt", ["a.txt", "-.txt"], ["b.txt"]),
        ("[\\^[].txt", ["\\.txt", "^.txt", "[.txt"], ["a.txt"]),
        ("a+(b).txt", ["a+(b).txt"], ["ab.txt", "aab.txt"]),
        ("[x", ["[x"], ["x"]),
    ],
)
def test_globs(glob: str, inside: list[str], without: list[str]) -> None:
    assert outside([*inside, *without], [glob]) == without


def test_an_empty_scope_covers_everything() -> None:
    assert outside(["a", "b/c"], []) == []


def test_one_of_several_globs_is_enough() -> None:
    assert outside(["a.py", "b.md", "c.txt"], ["*.py", "*.md"]) == ["c.txt"]


@given(glob=st.text("ab/[]!^-*?.", min_size=1, max_size=8), path=st.text("ab/.-", min_size=1, max_size=6))
def test_what_a_scope_covers_meets_the_path_where_tasks_are_compared(glob: str, path: str) -> None:
    """Two readings of one language: the one that judges changes, and the one that keeps tasks apart."""
    clean = "/".join(name for name in path.split("/") if name)
    if clean and outside([clean], [glob]) == []:
        assert meet(glob, f"/{clean}")
