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

    def new(key: str, prompt: str, *checks: str, needs: tuple[str, ...] = (), **fields: object) -> NewTask:
        return NewTask.model_validate(
            {"key": key, "prompt": prompt, "repo": str(repo), "checks": checks, "needs": needs, **fields}
        )

    return [
        new(
            "imports",
            "Remove unused imports and sort imports in shop",
            "ruff check --no-cache --select F401,I shop",
            f"{_UNIT} tests.test_prices",
        ),
        new("format", "Format the code in shop", "ruff format --no-cache --check shop", needs=("imports",)),
        new(
            "rename",
            "Rename the function calc_total to order_total",
            f"{_UNIT} tests.test_prices",
            "! grep -rn calc_total shop tests",
        ),
        new(
            "modern",
            "Modernise the syntax of shop to Python 3.11",
            "ruff check --no-cache --select UP --target-version py311 shop",
            f"{_UNIT} tests.test_prices",
            needs=("rename",),
        ),
        new(
            "discount",
            f"Make `{_UNIT} tests.test_discount` pass",
            f"{_UNIT} tests.test_discount",
            priority=Priority.HIGH,
        ),
        new("stock", f"Make `{_UNIT} tests.test_stock` pass", f"{_UNIT} tests.test_stock", priority=Priority.HIGH),
        new("tax", "Remove unused imports in shop/tax.py", f"{_UNIT} tests.test_tax"),
        new(EXPECTED_FAILURE, "Add a login page with two-factor authentication", _UNIT),
    ]
