"""Two globs meet exactly when some path is matched by both: held against every path of a small world.

In that world no name is plainly a file's, so each may be a folder's, as the scope of a change reads it.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ezaigent.tasks.globs import common, meet
from ezaigent.workspaces import outside

_NAMES = [*"abc", *("".join(pair) for pair in itertools.product("abc", repeat=2))]
_PATHS = ["/".join(parts) for depth in range(1, 5) for parts in itertools.product(_NAMES, repeat=depth)]
_matched: dict[str, frozenset[str]] = {}

_atoms = st.sampled_from(["a", "b", "*", "?", "[ab]", "[!a]", "[a-b]", "[^b]"])
_parts = st.one_of(st.lists(_atoms, min_size=1, max_size=2).map("".join), st.just("**"))
_bodies = st.lists(_parts, min_size=1, max_size=2).map("/".join)
_globs = st.tuples(st.sampled_from(["", "", "/", "./"]), _bodies, st.sampled_from(["", "", "/"])).map("".join)


def matched(glob: str) -> frozenset[str]:
    """Return the paths of the small world that the scope of a change lets this glob cover."""
    if glob not in _matched:
        _matched[glob] = frozenset(_PATHS) - set(outside(_PATHS, [glob]))
    return _matched[glob]


@given(one=_globs, other=_globs)
@settings(max_examples=150, deadline=None)
def test_globs_meet_where_a_path_is_matched_by_both(one: str, other: str) -> None:
    assert meet(one, other) == bool(matched(one) & matched(other))
    assert meet(other, one) == meet(one, other)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("src/**", "src/shop/cart.py", True),
        ("src/shop", "src/shop/cart.py", True),
        ("src/shop/", "src/shopping/cart.py", False),
        ("cart.py", "src/shop/**", True),
        ("cart.py", "src/shop/*.ts", False),
        ("/cart.py", "src/**", False),
        ("cart.py", "README.md", False),
        ("cart.py", "src/shop/README.md", False),
        ("cart.py", "Makefile", False),
        ("cart.py", "conf.d", True),
        ("*.py", "src/.github", True),
        ("*.py", "src/shop/test_*.py", True),
        ("cart.py/**", "cart.py/a.py", True),
        ("src/*.py", "src/shop/*.py", False),
        ("src/**/test_*.py", "src/shop/*_cart.py", True),
        ("docs/[a-m]*.md", "docs/[n-z]*.md", False),
        ("docs/[!a-m]*.md", "docs/guide.md", False),
        ("a[z-a]", "a?", False),
        ("a//b", "a/**", False),
        ("/", "**", False),
        ("//", "//", False),
        ("a[b", "a[b", True),
        ("a[b", "a?b", True),
        ("/*a*a*a*a*b", "/*c*c*c*c*d", False),
        ("é?.py", "[à-ï]*.py", True),
    ],
)
def test_globs_that_people_write(one: str, other: str, *, expected: bool) -> None:
    assert meet(one, other) is expected
    assert meet(other, one) is expected


def test_a_long_glob_is_judged_without_recursion() -> None:
    deep = "/".join(["*a*"] * 400)
    assert meet(deep, "**/" + "/".join(["aa"] * 400))
    assert not meet(deep, "/".join(["b"] * 400))


def test_the_first_pair_that_meets_is_named() -> None:
    assert common(["docs/**", "src/shop/**"], ["README.md", "src/**"]) == ("docs/**", "README.md")
    assert common(["/docs/**", "src/shop/**"], ["/README.md", "src/**"]) == ("src/shop/**", "src/**")
    assert common([], ["src/**"]) is None
