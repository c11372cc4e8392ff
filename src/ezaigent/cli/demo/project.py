"""A small web-shop library with the faults that real projects have, as a git repository of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from ezaigent.core.errors import UnavailableError

FILES: Final[dict[str, str]] = {
    "README.md": "# shop\n\nPrices, stock and tax of a small shop.\n",
    "AGENTS.md": "Keep functions pure. Tests run with `python3 -m unittest`.\n",
    "pyproject.toml": '[project]\nname = "shop"\nversion = "0.1.0"\nrequires-python = ">=3.11"\n',
    "shop/__init__.py": '"""A small shop."""\n',
    "shop/prices.py": '''\
"""Prices of orders."""

import os
import sys
from typing import Dict, List, Optional


def calc_total(prices: List[float], quantities: List[int]) -> float:
    """Return what an order costs."""
    return sum(price * quantity for price, quantity in zip(prices, quantities))


def cheapest(prices: Dict[str, float]) -> Optional[str]:
    """Return the name of the cheapest article."""
    if not prices:
        return None
    return min(prices, key=lambda name: prices[name])
''',
    "shop/invoice.py": '''\
"""Invoices as text."""

from shop.prices import calc_total
import json, os
from shop import tax


def invoice(prices, quantities, country = "DE"):
    """Return an invoice."""
    total = calc_total(prices, quantities)
    return json.dumps({"net" : total, "gross": tax.gross(total, country)}, sort_keys = True)
''',
    "shop/discount.py": '''\
"""Discounts."""


def discounted(price: float, quantity: int) -> float:
    """Return the unit price: ten or more articles cost a tenth less."""
    if quantity > 10:
        return round(price * 0.9, 2)
    return price
''',
    "shop/stock.py": '''\
"""What is in stock."""


def reserve(stock: dict[str, int], name: str, count: int) -> dict[str, int]:
    """Return the stock after taking ``count`` articles out of it."""
    left = stock[name] - count
    if left < 0:
        raise ValueError(f"only {stock[name]} of {name}")
    return {**stock, name: lft}
''',
    "shop/tax.py": '''\
"""Value added tax."""

import decimal
import os

RATES = {"DE": 0.19, "FR": 0.20, "NL": 0.21}


def gross(net: float, country: str) -> float:
    """Return the price with tax."""
    return round(net * (1 - RATES[country]), 2)
''',
    "tests/__init__.py": "",
    "tests/test_prices.py": """\
import unittest

from shop.prices import calc_total, cheapest


class Prices(unittest.TestCase):
    def test_total(self):
        self.assertEqual(calc_total([2.0, 3.0], [1, 2]), 8.0)

    def test_cheapest(self):
        self.assertEqual(cheapest({"tea": 2.0, "salt": 1.0}), "salt")
""",
    "tests/test_discount.py": """\
import unittest

from shop.discount import discounted


class Discount(unittest.TestCase):
    def test_ten_articles_get_the_discount(self):
        self.assertEqual(discounted(10.0, 10), 9.0)

    def test_nine_do_not(self):
        self.assertEqual(discounted(10.0, 9), 10.0)
""",
    "tests/test_stock.py": """\
import unittest

from shop.stock import reserve


class Stock(unittest.TestCase):
    def test_reserve(self):
        self.assertEqual(reserve({"tea": 3}, "tea", 2), {"tea": 1})
""",
    "tests/test_tax.py": """\
import unittest

from shop.tax import gross


class Tax(unittest.TestCase):
    def test_gross(self):
        self.assertEqual(gross(100.0, "DE"), 119.0)
""",
}


def build(folder: Path) -> Path:
    """Write the project below ``folder`` and commit it; return the repository's path.

    Raises ``UnavailableError`` where git, or room on the disk, is missing.
    """
    repo = folder / "shop"
    try:
        _write(repo)
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.decode(errors="replace").split())
        raise UnavailableError(f"git cannot make the demo's project in {str(folder)!r}: {said[:300]}") from None
    except OSError as error:
        if error.filename == "git":
            raise UnavailableError("git is not on PATH; install git 2.38 or newer") from None
        raise UnavailableError(f"the demo cannot write to {str(folder)!r}: {error.strerror}; use --keep DIR") from None
    return repo


def _write(repo: Path) -> None:
    for name, text in FILES.items():
        path = repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    identity = ("-c", "user.name=Demo", "-c", "user.email=demo@example.invalid", "-c", "commit.gpgsign=false")
    for command in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "A small shop")):
        subprocess.run(["git", *identity, *command], cwd=repo, check=True, capture_output=True)
