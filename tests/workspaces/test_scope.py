"""Globs of a task's scope."""

from __future__ import annotations

import pytest

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
