"""The demo's tasks, as a person would write them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ezaigent.tasks import NewTask

EXPECTED_FAILURE: Final = "login"
"""Key of the task that no recipe can do: a fleet must say so instead of pretending."""

_UNIT: Final = "python3 -m unittest -q"


def tasks(repo: Path) -> list[NewTask]:
    """Return eight tasks: two need others, one fails its check at first, one cannot succeed."""
    from ezaigent.tasks import NewTask, Priority

    def new(key: str, title: str, prompt: str, *checks: str, needs: tuple[str, ...] = (), **fields: object) -> NewTask:
        return NewTask.model_validate(
            {
                "key": key,
                "title": title,
                "prompt": prompt,
                "repo": str(repo),
                "checks": checks,
                "needs": needs,
                **fields,
            }
        )

    return [
        new(
            "imports",
            "Clean the imports",
            "Remove unused imports and sort imports in shop/",
            "ruff check --no-cache --select F401,I shop",
            f"{_UNIT} tests.test_prices",
        ),
        new(
            "format",
            "Format the code",
            "Format the code in shop/",
            "ruff format --no-cache --check shop",
            needs=("imports",),
        ),
        new(
            "rename",
            "Rename calc_total",
            "Rename the function calc_total to order_total",
            f"{_UNIT} tests.test_prices",
            "! grep -rn calc_total shop tests",
        ),
        new(
            "modern",
            "Modernise the syntax",
            "Modernise the syntax to Python 3.11 in shop/, then remove unused imports in shop/",
            "ruff check --no-cache --select UP --target-version py311 shop",
            f"{_UNIT} tests.test_prices",
            needs=("rename",),
        ),
        new(
            "discount",
            "Mend the discount",
            f"Make `{_UNIT} tests.test_discount` pass",
            f"{_UNIT} tests.test_discount",
            priority=Priority.HIGH,
        ),
        new(
            "stock",
            "Mend the stock",
            f"Make `{_UNIT} tests.test_stock` pass",
            f"{_UNIT} tests.test_stock",
            priority=Priority.HIGH,
        ),
        new("tax", "Tidy tax.py", "Remove unused imports in shop/tax.py", f"{_UNIT} tests.test_tax"),
        new(EXPECTED_FAILURE, "Add a login page", "Add a login page with two-factor authentication", _UNIT),
    ]
