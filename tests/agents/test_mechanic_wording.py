"""What the mechanic understands, and above all what it must not misunderstand."""

from __future__ import annotations

import time

import pytest

from ezaigent.agents.mechanic.model import RECIPES
from ezaigent.agents.mechanic.plan import Brief
from ezaigent.agents.mechanic.request import read_request

CHECKS = Brief(checks=("python3 -m pytest -q",))

UNDERSTOOD: list[tuple[str, list[str]]] = [
    # lint
    ("Fix lint errors", ["lint"]),
    ("fix all lint errors", ["lint"]),
    ("Please fix the linting issues in src/.", ["lint"]),
    ("Fix the ruff warnings in `src/shop` and `tests`", ["lint"]),
    ("Could you clean up the lint violations?", ["lint"]),
    ("resolve all remaining lint problems automatically", ["lint"]),
    ("Fix lint errors with ruff", ["lint"]),
    ("Run ruff check --fix", ["lint"]),
    ("Run `ruff check --fix src`", ["lint"]),
    ("make ruff happy", ["lint"]),
    ("Lint the code", ["lint"]),
    ("Remove unused imports", ["lint"]),
    ("remove all unused imports from the `shop` package", ["lint"]),
    ("Get rid of unused imports in src/**/*.py", ["lint"]),
    ("Please delete the unused import statements everywhere", ["lint"]),
    ("Remove unused variables", ["lint"]),
    ("Sort imports", ["lint"]),
    ("sort the imports in all files under src/shop", ["lint"]),
    ("Organise imports across the whole repository", ["lint"]),
    ("Fix the import order", ["lint"]),
    ("Fix F401 and I001 in src", ["lint"]),
    ("fix all `UP006` violations", ["lint"]),
    ("Replace % formatting with f-strings", ["lint"]),
    ("Use f-strings instead of .format", ["lint"]),
    ("Remove trailing whitespace", ["lint"]),
    ("In src/shop, fix lint errors except in `src/shop/legacy.py`", ["lint"]),
    ("Remove unused imports in shop", ["lint"]),
    ("Sort imports across shop and billing", ["lint"]),
    ("Fix lint errors under shop, too", ["lint"]),
    ("In shop, remove unused imports", ["lint"]),
    ("remove the unused imports of the files in shop and format the code", ["lint", "format"]),
    ("Remove unused imports in shop and format", ["lint", "format"]),
    ("Fix lint errors in shop with ruff, please", ["lint"]),
    # modernise
    ("Modernise the syntax", ["modernise"]),
    ("Modernise the syntax to Python 3.11 in shop", ["modernise"]),
    ("Modernise the syntax to Python 3.11 in shop/", ["modernise"]),
    ("modernize syntax to Python 3.11", ["modernise"]),
    ("Upgrade to Python 3.12 syntax", ["modernise"]),
    ("Upgrade the code to Python 3.11", ["modernise"]),
    ("upgrade to Python 3.12", ["modernise"]),
    ("Use modern Python 3.11 syntax in src/", ["modernise"]),
    # format
    ("Format the code", ["format"]),
    ("format", ["format"]),
    ("Please reformat everything with ruff", ["format"]),
    ("Run ruff format", ["format"]),
    ("run `ruff format src tests`", ["format"]),
    ("Format src/ and tests/", ["format"]),
    ("format `src/shop/cart.py`", ["format"]),
    ("Fix the formatting", ["format"]),
    ("Auto-format the Python files in the repository", ["format"]),
    ("Format the whole code base.", ["format"]),
    ("Format the code in shop", ["format"]),
    ("Reformat all files in shop and billing", ["format"]),
    # rename
    ("rename function `old_name` to `new_name`", ["rename"]),
    ("Rename the function total to grand_total", ["rename"]),
    ("Rename `Cart` to `Basket` across the package", ["rename"]),
    ("rename the class Cart into Basket in src/shop/cart.py", ["rename"]),
    ("Please rename the constant MAX_ITEMS to LIMIT", ["rename"]),
    ("Rename the method `Cart.total` to `Cart.grand_total`", ["rename"]),
    ("rename line_total -> total_of_line", ["rename"]),
    ("Rename line_total to total_of_line in shop", ["rename"]),
    ("Change the name of the function `fetch` to `load`", ["rename"]),
    ("The function `calc` should be renamed to `calculate`", ["rename"]),
    ("Rename `shop.cart.total` to `grand_total` and update all callers", ["rename"]),
    ("Rename the helper parse_line to read_line everywhere. Update its tests and docs accordingly.", ["rename"]),
    # checks
    ("Make the failing check pass", ["check"]),
    ("Make `pytest -q` pass", ["check"]),
    ("Fix the failing tests", ["check"]),
    ("fix the failing test in tests/test_cart.py", ["check"]),
    ("Make the tests pass again", ["check"]),
    ("Get the test suite green", ["check"]),
    ("fix the bug that makes `python3 -m unittest` fail", ["check"]),
    ("Repair the broken tests", ["check"]),
    ("The tests fail since yesterday. Please make them pass.", ["check"]),
    ("Find out why `pytest tests/test_cart.py` fails and fix it", ["check"]),
    ("Make `tests/test_cart.py::test_total` pass", ["check"]),
    ("Fix the NameError in `python3 app.py`", ["check"]),
    # several
    ("Format and fix lint", ["lint", "format"]),
    ("format and fix lint, then make `pytest -q` pass", ["lint", "format", "check"]),
    ("Sort imports, remove unused imports and format the code", ["lint", "lint", "format"]),
    ("- [ ] fix lint errors\n- [x] sort imports\n- [ ] format the code", ["lint", "format"]),
    (
        "Please do the following:\n1. Remove unused imports\n2. Rename `foo_a` to `foo_b`\n3. Make the tests pass",
        ["lint", "rename", "check"],
    ),
    ("Fix lint errors; make sure the tests still pass", ["lint", "check"]),
    ("Rename the function `a_b`\nto `c_d` in the whole repository.", ["rename"]),
    ("Fix lint errors, but do not format", ["lint"]),
    ("Fix lint errors and format, but don't format", ["lint"]),
    ("Fix lint errors. Do not touch the tests.", ["lint"]),
    ("Remove unused imports without changing behaviour", ["lint"]),
    ("The module has grown over the years. Sort its imports.", ["lint"]),
    ("Thanks for helping! Please sort imports. Thank you.", ["lint"]),
]

REFUSED = [
    "do not format",
    "Don't fix lint errors",
    "Never rename `a_b` to `c_d`",
    "Do not change anything. Fix lint errors.",
    "add a login page",
    "Add a login page and format the code",
    "Format the code and add a login page",
    "rename the variable in our docs style guide",
    "Rename the variables to be more descriptive",
    "Rename the project to Foo",
    "rename the file `a.py` to `b.py`",
    "Rename the branch master to main",
    "rename src/shop to src/store",
    "Rename the column `user_id` to `uid` in the database and add a migration",
    "Format the date column as ISO 8601",
    "Format the price with two decimals",
    "Format README.md as a table",
    "format the hard drive",
    "Format the code with black",
    "Document our formatting rules",
    "Write a guide on how to fix lint errors",
    "Explain how to sort imports",
    "Explain the lint errors",
    "Fix the lint configuration",
    "Fix the lint job in CI",
    "Fix the build in CI",
    "Make the tests pass in production",
    "Format the price in shop",
    "Remove unused imports in the shop window",
    "Remove unused imports in shop and add a login page",
    "Sort the imports in shop by popularity",
    "Fix lint errors for alice",
    "Fix B12",
    "Fix ABC-123",
    "Fix the bug in the login page",
    "Fix the typo in the README",
    "Fix the security issue",
    "Add lint rules for imports",
    "Set up ruff",
    "Upgrade the dependencies",
    "Upgrade to Python 3.12 in the Dockerfile",
    "Upgrade Django to 5.0",
    "Modernise the user interface",
    "Update the code",
    "Convert the code to TypeScript",
    "Migrate to PostgreSQL",
    "Port the project to Windows",
    "Remove unused CSS classes",
    "Remove unused dependencies",
    "Remove the import feature",
    "Import the customers and sort them",
    "Sort the list of users by name",
    "Sort the imported invoices",
    "Delete the failing tests",
    "Skip the failing tests",
    "Write tests that fail",
    "Write a failing test for the cart",
    "Make the tests faster",
    "Make the check box bigger",
    "Make the user pass the quiz",
    "Check the code",
    "Check whether the tests pass on Windows and report",
    "Improve the code",
    "Refactor the cart module",
    "Use f-strings in the README",
    "Should we rename `a_b` to `c_d`?",
    'The customer said: "rename the function `a_b` to `c_d`". Write him an answer.',
    "We want to talk about lint errors.",
    "",
    "Thanks!",
    "The tests fail.",
    "Implement `format` for the Money class",
    "Deploy the site, then format the code",
    "Fix lint errors in the JavaScript code",
    "Fix the lint errors in web/app.ts",
]


@pytest.mark.parametrize(("text", "recipes"), UNDERSTOOD, ids=[text for text, _ in UNDERSTOOD])
def test_understands(text: str, recipes: list[str]) -> None:
    request = read_request(text, RECIPES, CHECKS)
    assert (request.unknown, [plan.recipe for plan in request.plans]) == (None, recipes)


@pytest.mark.parametrize("text", REFUSED)
def test_does_nothing_where_it_does_not_understand(text: str) -> None:
    request = read_request(text, RECIPES, CHECKS)
    assert request.unknown is not None or not request.plans


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("Fix F401 and I001 in src", {"select": ["F401", "I001"], "paths": ["src"]}),
        ("Fix the ruff warnings in `src/shop` and `tests`", {"select": [], "paths": ["src/shop", "tests"]}),
        ("Upgrade to Python 3.12 syntax", {"select": ["UP"], "version": "3.12"}),
        ("sort the imports in all files under src/shop", {"select": ["I"], "paths": ["src/shop"]}),
        ("remove all unused imports from the shop package", {"select": ["F401"], "paths": ["shop"]}),
        ("Format src/ and tests/", {"paths": ["src/", "tests/"]}),
        ("Remove unused imports in shop", {"select": ["F401"], "paths": ["shop"]}),
        ("Sort imports across shop and billing/api, safely", {"paths": ["shop", "billing/api"]}),
        ("In shop, sort the imports in all files under nowhere", {"paths": ["shop", "nowhere"]}),
        ("Fix lint errors in the whole repository", {"paths": []}),
        ("Fix lint errors in shop if possible", {"paths": ["shop"]}),
        ("Format the code in shop with ruff", {"paths": ["shop"]}),
        ("Modernise the syntax to Python 3.11 in shop", {"paths": ["shop"], "version": "3.11"}),
        ("Rename line_total to total_of_line in shop", {"paths": ["shop"], "new": "total_of_line"}),
        (
            "Rename the method `total` of the class `Cart` to `grand_total`",
            {"old": "Cart.total", "new": "grand_total", "kind": "method"},
        ),
        (
            "rename the class Cart into Basket in src/shop/cart.py",
            {"old": "Cart", "new": "Basket", "paths": ["src/shop/cart.py"]},
        ),
        ("Make `pytest -q` pass", {"commands": ["pytest -q"]}),
        ("Make the tests pass again", {"commands": ["python3 -m pytest -q"]}),
        (
            "Make `tests/test_cart.py::test_total` pass",
            {"commands": ["python3 -m pytest -q tests/test_cart.py::test_total"]},
        ),
    ],
)
def test_reads_places_rules_and_names(text: str, detail: dict[str, object]) -> None:
    (plan,) = read_request(text, RECIPES, CHECKS).plans
    assert {name: plan.detail[name] for name in detail} == detail


def test_places_ruled_out_are_kept_as_limits() -> None:
    request = read_request("Fix lint errors. Do not touch `src/legacy` or tests/.", RECIPES, CHECKS)
    assert request.limits.excludes == ("src/legacy", "tests/")


def test_a_long_row_of_names_is_read_at_once() -> None:
    """The patterns must not try every way to part it."""
    began = time.process_time()
    for joint in (" in ", ", ", " and "):
        row = joint.join(["shop"] * 45)
        read_request(f"Remove unused imports in {row} !now? what {row}"[:400], RECIPES, CHECKS)
    assert time.process_time() - began < 2


def test_permission_to_edit_tests_is_read() -> None:
    assert read_request("Make the tests pass. You may edit the tests.", RECIPES, CHECKS).limits.tests_may_change
    assert not read_request("Make the tests pass.", RECIPES, CHECKS).limits.tests_may_change
