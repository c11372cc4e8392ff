"""Mending for real: each case breaks a small working project in one way; the mechanic must find the way back."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_mechanic_driver import Bench

from ezaigent.core.errors import RunError

CHECK = "PYTHONPATH=src python3 -m unittest -q tests.test_shop"
SHOP = {
    "src/shop/__init__.py": '"""A shop."""\n\nfrom shop.cart import Cart\n\n__all__ = ["Cart"]\n',
    "src/shop/money.py": (
        '"""Money in cents."""\n\n'
        "import re\n\n"
        "FREE_ABOVE = 5000\n"
        "SHIPPING = 490\n\n\n"
        "def cents(text):\n"
        '    """Return an amount such as ``12.34`` in cents."""\n'
        '    found = re.fullmatch(r"(\\d+)\\.(\\d\\d)", text)\n'
        "    if found is None:\n"
        '        raise ValueError(f"not an amount: {text}")\n'
        "    return int(found[1]) * 100 + int(found[2])\n\n\n"
        "def show(amount):\n"
        '    return f"{amount // 100}.{amount % 100:02d} EUR"\n\n\n'
        "def shipping(total):\n"
        "    if total >= FREE_ABOVE:\n"
        "        return 0\n"
        "    return SHIPPING\n"
    ),
    "src/shop/cart.py": (
        '"""Carts."""\n\n'
        "from shop.money import shipping\n\n\n"
        "class Cart:\n"
        "    def __init__(self, prices):\n"
        "        self.prices = prices\n\n"
        "    def total(self):\n"
        "        return sum(self.prices)\n\n"
        "    def to_pay(self, discount):\n"
        "        total = self.total() - discount\n"
        "        return total + shipping(total)\n\n"
        "    def top(self, count):\n"
        "        ordered = sorted(self.prices, reverse=True)\n"
        "        return ordered[:count]\n\n"
        "    def pairs(self):\n"
        "        out = []\n"
        "        for index in range(len(self.prices) - 1):\n"
        "            out.append((self.prices[index], self.prices[index + 1]))\n"
        "        return out\n\n"
        "    def cheap_and_many(self, limit):\n"
        "        return len(self.prices) > 2 and max(self.prices) < limit\n\n"
        "    def empty(self):\n"
        "        if len(self.prices) == 0:\n"
        "            return True\n"
        "        return False\n"
    ),
    "src/shop/report.py": (
        '"""Reports."""\n\n'
        "from shop.money import show\n\n"
        'LABELS = {"total": "Total", "items": "Items"}\n\n\n'
        "def line(cart):\n"
        '    label = LABELS["total"]\n'
        '    return f"{label}: {show(cart.total())} for {len(cart.prices)} items"\n\n\n'
        "def first_over(prices, limit):\n"
        "    for price in prices:\n"
        "        if price > limit:\n"
        "            return price\n"
        "    return None\n\n\n"
        "def all_over(prices, limit):\n"
        "    for price in prices:\n"
        "        if price <= limit:\n"
        "            return False\n"
        "    return True\n"
    ),
    "tests/__init__.py": "",
    "tests/test_shop.py": (
        "import unittest\n\n"
        "from shop import Cart\n"
        "from shop.money import cents, shipping, show\n"
        "from shop.report import all_over, first_over, line\n\n\n"
        "class Shop(unittest.TestCase):\n"
        "    def test_cents(self):\n"
        '        self.assertEqual(cents("12.34"), 1234)\n'
        "        with self.assertRaises(ValueError):\n"
        '            cents("12")\n\n'
        "    def test_show(self):\n"
        '        self.assertEqual(show(1205), "12.05 EUR")\n\n'
        "    def test_shipping(self):\n"
        "        self.assertEqual(shipping(5000), 0)\n"
        "        self.assertEqual(shipping(4999), 490)\n\n"
        "    def test_cart(self):\n"
        "        cart = Cart([100, 300, 200])\n"
        "        self.assertEqual(cart.total(), 600)\n"
        "        self.assertEqual(cart.to_pay(50), 1040)\n"
        "        self.assertEqual(cart.top(2), [300, 200])\n"
        "        self.assertEqual(cart.pairs(), [(100, 300), (300, 200)])\n"
        "        self.assertTrue(cart.cheap_and_many(400))\n"
        "        self.assertFalse(cart.cheap_and_many(300))\n"
        "        self.assertFalse(Cart([1]).cheap_and_many(400))\n"
        "        self.assertTrue(Cart([]).empty())\n"
        "        self.assertFalse(cart.empty())\n\n"
        "    def test_report(self):\n"
        '        self.assertEqual(line(Cart([1234])), "Total: 12.34 EUR for 1 items")\n'
        "        self.assertEqual(first_over([1, 5, 7], 4), 5)\n"
        "        self.assertIsNone(first_over([1], 4))\n"
        "        self.assertTrue(all_over([5, 6], 4))\n"
        "        self.assertFalse(all_over([5, 4], 4))\n"
    ),
    "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["src"]\n',
}

BREAKS: list[tuple[str, str, str, str]] = [
    ("operator", "src/shop/cart.py", "self.total() - discount", "self.total() + discount"),
    ("times for plus", "src/shop/money.py", "* 100 + int(", "* 100 * int("),
    ("comparison", "src/shop/money.py", "total >= FREE_ABOVE", "total > FREE_ABOVE"),
    ("bound of a comparison", "src/shop/report.py", "price <= limit", "price < limit"),
    ("range", "src/shop/cart.py", "range(len(self.prices) - 1)", "range(len(self.prices))"),
    ("range too short", "src/shop/cart.py", "range(len(self.prices) - 1)", "range(len(self.prices) - 2)"),
    ("index", "src/shop/cart.py", "self.prices[index + 1])", "self.prices[index])"),
    ("slice", "src/shop/cart.py", "ordered[:count]", "ordered[: count - 1]"),
    ("and or", "src/shop/cart.py", "> 2 and max", "> 2 or max"),
    ("min max", "src/shop/cart.py", "max(self.prices)", "min(self.prices)"),
    ("constant", "src/shop/money.py", "SHIPPING = 490", "SHIPPING = 590"),
    ("factor", "src/shop/money.py", "int(found[1]) * 100", "int(found[1]) * 1000"),
    ("group", "src/shop/money.py", "int(found[2])", "int(found[1])"),
    ("text", "src/shop/money.py", "EUR", "EURO"),
    ("missing blank", "src/shop/report.py", "{label}: {show", "{label}:{show"),
    ("label", "src/shop/report.py", '"total": "Total"', '"total": "Totals"'),
    ("sorting", "src/shop/cart.py", "sorted(self.prices, reverse=True)", "sorted(self.prices)"),
    ("missing return", "src/shop/cart.py", "        return sum(self.prices)", "        sum(self.prices)"),
    ("forgotten result", "src/shop/cart.py", "        return out\n", ""),
    (
        "early return",
        "src/shop/report.py",
        "            return False\n    return True",
        "            return False\n        return True",
    ),
    ("wrong boolean", "src/shop/report.py", "return False\n    return True", "return True\n    return True"),
    ("negation", "src/shop/money.py", "found is None", "found is not None"),
    ("misspelt variable", "src/shop/report.py", "price > limit", "price > limt"),
    ("misspelt function", "src/shop/cart.py", "total + shipping(total)", "total + shiping(total)"),
    ("wrong variable", "src/shop/report.py", "return price\n", "return limit\n"),
    ("forgotten stdlib import", "src/shop/money.py", "import re\n\n", ""),
    ("forgotten import", "src/shop/report.py", "from shop.money import show\n\n", ""),
    ("renamed import", "src/shop/report.py", "from shop.money import show\n", "from shop.money import show_money\n"),
    ("moved import", "src/shop/cart.py", "from shop.money import shipping", "from shop.report import shipping"),
    ("renamed module", "src/shop/report.py", "from shop.money import show", "from shop.monney import show"),
    ("dropped re-export", "src/shop/__init__.py", "from shop.cart import Cart\n\n", ""),
    ("renamed function", "src/shop/money.py", "def show(amount)", "def shows(amount)"),
    ("misspelt attribute", "src/shop/cart.py", "sum(self.prices)", "sum(self.price)"),
    ("misspelt method", "src/shop/report.py", "cart.total()", "cart.totl()"),
    ("misspelt method of a builtin", "src/shop/cart.py", "out.append(", "out.apend("),
    ("renamed method", "src/shop/cart.py", "def total(self)", "def totals(self)"),
    ("key", "src/shop/report.py", 'LABELS["total"]', 'LABELS["totals"]'),
    ("key in the table", "src/shop/report.py", '{"total":', '{"totall":'),
    ("colon", "src/shop/report.py", "if price > limit:", "if price > limit"),
    ("colon of a def", "src/shop/money.py", "def show(amount):", "def show(amount)"),
    ("bracket", "src/shop/cart.py", "sum(self.prices)", "sum(self.prices"),
    ("bracket before a colon", "src/shop/cart.py", "range(len(self.prices) - 1):", "range(len(self.prices) - 1:"),
    ("bracket too much", "src/shop/cart.py", "sum(self.prices)", "sum(self.prices))"),
    ("quote", "src/shop/report.py", '"total": "Total", ', '"total": "Total, '),
    ("comma", "src/shop/report.py", '"Total", "items"', '"Total" "items"'),
    ("assignment for equality", "src/shop/cart.py", "if len(self.prices) == 0:", "if len(self.prices) = 0:"),
    ("indentation", "src/shop/money.py", "    return SHIPPING", "     return SHIPPING"),
    ("self", "src/shop/cart.py", "def total(self):", "def total():"),
    ("argument missing", "src/shop/cart.py", "shipping(total)\n", "shipping()\n"),
    ("argument too many", "src/shop/cart.py", "sum(self.prices)\n", "sum(self.prices, 0, 0)\n"),
    ("call of an attribute", "src/shop/cart.py", "sum(self.prices)", "sum(self.prices())"),
    ("call forgotten", "src/shop/cart.py", "self.total() - discount", "self.total - discount"),
    ("type of an operand", "src/shop/money.py", "+ int(found[2])", "+ found[2]"),
]


def broken(case: str) -> tuple[dict[str, str], str]:
    """Return the broken project and the path of its broken file."""
    _, path, old, new = next(item for item in BREAKS if item[0] == case)
    assert SHOP[path].count(old) == 1
    return {**SHOP, path: SHOP[path].replace(old, new)}, path


@pytest.mark.parametrize("case", [case for case, *_ in BREAKS])
async def test_mends(tmp_path: Path, case: str) -> None:
    files, path = broken(case)
    bench = Bench.of(tmp_path, files)
    assert not bench.shell(CHECK).startswith("exit code: 0")
    words = await bench.ask(f"Make `{CHECK}` pass")
    assert bench.shell(CHECK).startswith("exit code: 0")
    assert len(bench.changed) == 1, words
    assert not any(changed.startswith("tests/") for changed in bench.changed)
    assert path in bench.changed or case in {"renamed function", "renamed method", "key in the table", "label"}
    assert "passes now" in words


async def test_mends_what_pytest_reports(tmp_path: Path) -> None:
    """The same in pytest's own words, with an assertion that names values and places differently."""
    files = {
        "a.py": "RATE = 7\n\n\ndef gross(net):\n    return net + net * RATE // 100\n",
        "tests/test_a.py": "from a import gross\n\n\ndef test_gross():\n    assert gross(100) == 119\n",
    }
    bench = Bench.of(tmp_path, files)
    words = await bench.ask("Fix the failing tests", checks=("python3 -m pytest -q tests",))
    assert bench.changed == {"a.py": files["a.py"].replace("RATE = 7", "RATE = 19")}
    assert "a.py:1: 7 becomes 19" in words
    assert bench.calls() == ["shell", "shell", "edit_file", "shell"]


async def test_two_slips_are_mended_one_after_the_other(tmp_path: Path) -> None:
    files = {
        "a.py": "def double(x):\n    return x + 2\n\n\ndef shout(text):\n    return text.lower()\n",
        "test_a.py": (
            "import unittest\n\nfrom a import double, shout\n\n\nclass A(unittest.TestCase):\n"
            "    def test_double(self):\n        self.assertEqual(double(5), 10)\n\n"
            "    def test_shout(self):\n        self.assertEqual(shout('a'), 'A')\n"
        ),
    }
    bench = Bench.of(tmp_path, files)
    await bench.ask("Make `python3 -m unittest -q` pass")
    assert bench.changed == {
        "a.py": "def double(x):\n    return x * 2\n\n\ndef shout(text):\n    return text.upper()\n"
    }


async def test_says_what_was_tried_and_leaves_the_tree_alone(tmp_path: Path) -> None:
    files = {
        "a.py": "def size():\n    return 1 + 1\n",
        "check.py": "import a\n\nassert a.size() == [3, 4]\n",
    }
    bench = Bench.of(tmp_path, files)
    with pytest.raises(RunError) as failed:
        await bench.ask("Make `python3 -B check.py` pass")
    assert "'python3 -B check.py' still fails: " in str(failed.value)
    assert "none of " in str(failed.value)
    assert "tried: " in str(failed.value)
    assert "\n" not in str(failed.value)
    assert not failed.value.retryable
    assert bench.changed == {}


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("python3 no_such.py", "points at no code"),
        ("make nothing", "make"),
        ("./missing.sh now", "cannot be run here"),
        ("python3 -c 'import nowhere_at_all'", "'nowhere_at_all' is not installed here"),
    ],
)
async def test_a_check_that_no_edit_can_mend(tmp_path: Path, command: str, reason: str) -> None:
    bench = Bench.of(tmp_path, {"a.py": "x = 1\n"})
    with pytest.raises(RunError) as failed:
        await bench.ask(f"Make `{command}` pass")
    assert reason in str(failed.value)
    assert bench.changed == {}


async def test_tests_are_edited_only_where_the_task_says_so(tmp_path: Path) -> None:
    files = {
        "a.py": "def total(prices):\n    return sum(prices)\n",
        "tests/__init__.py": "",
        "tests/test_a.py": (
            "import unittest\n\nimport a\n\n\nclass A(unittest.TestCase):\n    def test_it(self):\n"
            "        self.assertEqual(a.total([]), 0)\n        self.assertEqual(a.total([1, 2]), 4)\n"
        ),
    }
    bench = Bench.of(tmp_path, files)
    with pytest.raises(RunError, match="still fails"):
        await bench.ask("Make `python3 -m unittest -q tests.test_a` pass.")
    assert bench.changed == {}
    await Bench(tmp_path).ask("Make `python3 -m unittest -q tests.test_a` pass. The test itself is wrong.")
    assert list(bench.changed) == ["tests/test_a.py"]


async def test_scope_and_forbidden_places_are_kept(tmp_path: Path) -> None:
    files = {
        "a.py": "X = 1\n",
        "b.py": "import a\n\nY = a.X\n",
        "check.py": "import b\n\nassert b.Y == 3, f'expected 3, got {b.Y}'\n",
    }
    for words, scope in (("", ("b.py",)), (" Do not touch `a.py` or `check.py`.", ())):
        bench = Bench(tmp_path) if (tmp_path / ".git").exists() else Bench.of(tmp_path, files)
        with pytest.raises(RunError, match="still fails"):
            await bench.ask(f"Make `python3 -B check.py` pass.{words}", scope=scope)
        assert bench.changed == {}
    await Bench(tmp_path).ask("Make `python3 -B check.py` pass.", scope=("a.py",))
    assert bench.changed == {"a.py": "X = 3\n"}


async def test_an_edit_that_hangs_or_litters_does_no_harm(tmp_path: Path) -> None:
    files = {
        "a.py": "def count(n):\n    i = 0\n    while i < n:\n        i += 1\n    return i - 1\n",
        "check.py": "import a\n\nopen('litter.txt', 'w').close()\n"
        "assert a.count(3) == 3, f'expected 3, got {a.count(3)}'\n",
        ".gitignore": "litter.txt\n",
    }
    bench = Bench.of(tmp_path, files)
    await bench.ask("Make `python3 -B check.py` pass")
    assert bench.shell("python3 -B check.py").startswith("exit code: 0")
    assert list(bench.changed) == ["a.py"]


async def test_a_check_by_ruff_is_mended_by_ruff(tmp_path: Path) -> None:
    files = {
        "a.py": "import os\nimport sys\nx=1\nif x == None:\n    print(sys.path)\n",
        "pyproject.toml": '[tool.ruff.lint]\nselect = ["E", "F", "I"]\n',
    }
    bench = Bench.of(tmp_path, files)
    words = await bench.ask(
        "Make the check pass", checks=("ruff check --no-cache . && ruff format --no-cache --check .",)
    )
    assert bench.changed == {"a.py": "import sys\n\nx = 1\nif x is None:\n    print(sys.path)\n"}
    assert "passes now" in words


async def test_an_undefined_name_found_by_ruff_is_searched(tmp_path: Path) -> None:
    bench = Bench.of(tmp_path, {"a.py": "def area(width, height):\n    return width * heigth\n"})
    await bench.ask("Make `ruff check --no-cache .` pass")
    assert bench.changed == {"a.py": "def area(width, height):\n    return width * height\n"}


async def test_edits_are_taken_back_where_another_check_breaks(tmp_path: Path) -> None:
    files = {
        "a.py": "X = 1\n",
        "one.py": "import a\n\nassert a.X == 1, f'expected 1, got {a.X}'\n",
        "two.py": "import a\n\nassert a.X == 2, f'expected 2, got {a.X}'\n",
    }
    bench = Bench.of(tmp_path, files)
    with pytest.raises(RunError, match=r"lets 'python3 -B one\.py' fail; nothing was changed"):
        await bench.ask(
            "Do not touch `one.py` and `two.py`. Make the checks pass.",
            checks=("python3 -B one.py", "python3 -B two.py"),
        )
    assert bench.changed == {}
