"""Renaming for real: each case is a small repository that must still mean the same afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_mechanic_driver import Bench

from ezaigent.core.errors import RunError

SHOP = {
    "src/shop/__init__.py": 'from .cart import Cart, line_total\n\n__all__ = ["Cart", "line_total"]\n',
    "src/shop/cart.py": (
        '"""Carts; see line_total."""\n\n'
        "import dataclasses\n\n"
        "RATE = 2\n\n\n"
        "def line_total(price: int, count: int = 1) -> int:\n"
        '    """Return line_total for one line."""\n'
        "    return price * count * RATE\n\n\n"
        "@dataclasses.dataclass\n"
        "class Cart:\n"
        "    lines: list[tuple[int, int]]\n\n"
        "    def total(self) -> int:\n"
        "        return sum(line_total(price, count) for price, count in self.lines)\n\n"
        "    def show(self) -> str:\n"
        "        é = 'é'\n"
        '        return f"{é} {line_total(1, 2)!r:>{line_total(3)}} {{line_total}} " '
        "f\"{'|'.join(str(line_total(p)) for p, _ in self.lines)}\"\n"
    ),
    "src/shop/report.py": (
        "import shop.cart\n"
        "import shop.cart as basket\n"
        "from shop import cart, line_total as lt\n\n\n"
        "def total_of(lines: 'list[int]') -> int:\n"
        "    line_total = 5  # a local of the same name\n"
        "    return line_total + shop.cart.line_total(1) + basket.line_total(2) + cart.line_total(3) + lt(4)\n\n\n"
        "def call(line_total: int) -> int:\n"
        "    return line_total\n\n\n"
        "def use() -> int:\n"
        "    from shop.cart import line_total\n\n"
        "    return call(line_total=line_total(7))\n"
    ),
    "tests/test_shop.py": (
        "import shop\n"
        "from shop.cart import *\n"
        "from shop.report import total_of, use\n\n\n"
        "def test_all(monkeypatch):\n"
        "    assert line_total(2, 3) == shop.line_total(2, 3) == 12\n"
        "    assert Cart([(1, 2)]).total() == 4\n"
        "    assert Cart([(1, 2)]).show() == 'é      4 {line_total} 2'\n"
        "    assert total_of([]) == 25\n"
        "    assert use() == 14\n"
        "    monkeypatch.setattr('shop.cart.line_total', lambda price, count: 1)\n"
        "    assert Cart([(1, 2)]).total() == 1\n"
        "    monkeypatch.setattr(shop.cart, 'line_total', lambda price, count: 9)\n"
        "    assert Cart([(1, 2)]).total() == 9\n"
        "    assert getattr(shop, 'line_total')\n"
    ),
    "README.md": "Use `line_total(price)`.\n",
    "CHANGELOG.md": "- line_total was added\n",
    "pyproject.toml": (
        '[project.scripts]\ntotal = "shop.cart:line_total"\n[tool.pytest.ini_options]\npythonpath = ["src"]\n'
    ),
}
RUN = "PYTHONDONTWRITEBYTECODE=1 python3 -m pytest -q -p no:cacheprovider tests"


def passes(bench: Bench) -> bool:
    return bench.shell(RUN).startswith("exit code: 0")


async def test_function_is_renamed_wherever_it_is_used_and_nowhere_else(tmp_path: Path) -> None:
    bench = Bench.of(tmp_path, SHOP)
    assert passes(bench)
    words = await bench.ask(
        "Rename the function `line_total` to `total_of_line` across the package and update all callers."
    )
    assert passes(bench)
    changed = bench.changed
    report = changed["src/shop/report.py"]
    assert "from shop import cart, total_of_line as lt" in report
    assert "line_total = 5  # a local of the same name" in report
    assert "call(line_total=total_of_line(7))" in report
    assert "def call(line_total: int)" in report
    assert '__all__ = ["Cart", "total_of_line"]' in changed["src/shop/__init__.py"]
    assert '"shop.cart:total_of_line"' in changed["pyproject.toml"]
    assert "{{line_total}}" in changed["src/shop/cart.py"]
    assert "CHANGELOG.md" not in changed
    # The word has another meaning in report.py, so prose is left to people, and they are told where.
    assert "README.md" not in changed
    assert "README.md:1" in words


async def test_mentions_follow_where_the_name_means_nothing_else(tmp_path: Path) -> None:
    files = {
        "a.py": '"""About old_name."""\n\n\ndef old_name():  # old_name\n    return "old_name"\n',
        "b.py": "# see a.old_name\nimport a\n\na.old_name()\n",
        "README.md": "Call `old_name()`, not my_old_name or old_name-ish.\n",
        "CHANGELOG.md": "- old_name\n",
    }
    bench = Bench.of(tmp_path, files)
    words = await bench.ask("rename old_name to new_name")
    assert bench.changed == {
        "a.py": '"""About new_name."""\n\n\ndef new_name():  # new_name\n    return "old_name"\n',
        "b.py": "# see a.new_name\nimport a\n\na.new_name()\n",
        "README.md": "Call `new_name()`, not my_old_name or old_name-ish.\n",
    }
    assert words.startswith("Renamed old_name to new_name: 2 uses in a.py, b.py; mentions in README.md")


async def test_class_with_string_annotations_and_line_endings(tmp_path: Path) -> None:
    files = {
        "pkg/__init__.py": "",
        "pkg/a.py": 'from typing import Literal\r\n\r\n\r\nclass Cart:\r\n    def add(self) -> "Cart":\r\n'
        '        return self\r\n\r\n\r\nx: "list[Cart]" = []\r\ny: Literal["Cart"] = "Cart"\r\n',
        "pkg/b.py": "from .a import Cart\n\n\nclass Big(Cart):\n    Cart = 1\n",
        "pkg/c.py": "from . import a\n\n\ndef f(c: a.Cart) -> 'a.Cart':\n"
        "    match c:\n        case a.Cart():\n            return c\n",
    }
    bench = Bench.of(tmp_path, files)
    await bench.ask("Rename the class Cart to Basket in the pkg package")
    assert bench.changed["pkg/a.py"] == files["pkg/a.py"].replace("class Cart", "class Basket").replace(
        '-> "Cart"', '-> "Basket"'
    ).replace("list[Cart]", "list[Basket]")
    assert bench.changed["pkg/c.py"] == files["pkg/c.py"].replace("a.Cart", "a.Basket")
    assert bench.changed["pkg/b.py"] == "from .a import Basket\n\n\nclass Big(Basket):\n    Cart = 1\n"


async def test_method_is_renamed_with_its_overrides_and_calls(tmp_path: Path) -> None:
    files = {
        "a.py": "class A:\n    def work_it(self):\n        return self.work_it\n\n\n"
        "class B(A):\n    def work_it(self):\n        return super().work_it()\n",
        "b.py": "import json\n\nimport a\n\na.A().work_it()\njson.work_it\ngetattr(a.B(), 'work_it')\n",
    }
    bench = Bench.of(tmp_path, files)
    words = await bench.ask("Rename the method `A.work_it` to `A.do_it`")
    assert bench.changed["a.py"] == files["a.py"].replace("work_it", "do_it")
    assert bench.changed["b.py"] == "import json\n\nimport a\n\na.A().do_it()\njson.work_it\ngetattr(a.B(), 'do_it')\n"
    assert "told by the method's name" in words


async def test_a_name_passed_on_by_several_modules(tmp_path: Path) -> None:
    files = {
        "p/__init__.py": "from p.api import *\n",
        "p/api.py": "from p._impl import fetch_one\n",
        "p/_impl.py": "COUNT = 0\n\n\ndef fetch_one():\n    global COUNT\n    COUNT += 1\n    return fetch_one\n",
        "main.py": "import p\n\nassert p.fetch_one() is p.api.fetch_one\n",
    }
    bench = Bench.of(tmp_path, files)
    await bench.ask("rename fetch_one to load_one")
    assert bench.shell("python3 -B main.py").startswith("exit code: 0")
    await bench.ask("rename the constant `COUNT` to `CALLS`")
    assert "global CALLS\n    CALLS += 1" in bench.changed["p/_impl.py"]
    assert bench.shell("python3 -B main.py").startswith("exit code: 0")


REFUSALS = [
    ("rename `nope_x` to `y`", {"a.py": "x = 1\n"}, "no function, class, method or module-level name 'nope_x'"),
    ("rename `x_a` to `class`", {"a.py": "x_a = 1\n"}, "cannot be a name in Python"),
    ("rename `x_a` to `x_a`", {"a.py": "x_a = 1\n"}, "has that name already"),
    ("rename `x_a` to `list`", {"a.py": "x_a = 1\n"}, "hide the builtin"),
    ("rename `x_a` to `y_b`", {"a.py": "x_a = 1\ny_b = 2\n"}, "'y_b' is already taken in a.py"),
    ("rename `x_a` to `y_b`", {"a.py": "x_a = 1\n", "b.py": "from a import x_a\ny_b = 1\n"}, "already taken in b.py"),
    (
        "rename `x_a` to `y_b`",
        {"a.py": "x_a = 1\n\n\ndef f(y_b):\n    return x_a + y_b\n"},
        "already taken where 'x_a' is used in a.py",
    ),
    (
        "rename `x_a` to `y_b`",
        {"a.py": "x_a = 1\n", "b.py": "x_a = 2\n"},
        "defined in a.py and b.py; name one, as in a.x_a",
    ),
    ("rename `x_a` to `y_b` in nowhere/", {"a.py": "x_a = 1\n"}, "'nowhere/', which is not in the repository"),
    (
        "rename `x_a` to `y_b`",
        {"a.py": "x_a = 1\n", "b.py": "x_a = (\n"},
        "b.py mentions 'x_a' but is not valid Python",
    ),
    ("rename the class `x_a` to `y_b`", {"a.py": "x_a = 1\n"}, "no class 'x_a'"),
    (
        "rename `do_it` to `y_b`",
        {"a.py": "class A:\n    def do_it(self): ...\n\n\nclass B:\n    def do_it(self): ...\n"},
        "cannot be told apart",
    ),
    (
        "rename the method `run` to `y_b`",
        {"a.py": "import threading\n\n\nclass A(threading.Thread):\n    def run(self): ...\n"},
        "inherits from Thread",
    ),
    ("rename the method `items` to `y_b`", {"a.py": "class A:\n    def items(self): ...\n"}, "method of builtin types"),
    (
        "rename the method `do_it` to `y_b`",
        {"a.py": "class A:\n    y_b = 1\n    def do_it(self): ...\n"},
        "also an attribute in a.py",
    ),
    (
        "rename `do_it` to `y_b`",
        {"a.py": "def do_it(): ...\n\n\nclass A:\n    def do_it(self): ...\n"},
        "names a method as well",
    ),
    ("rename `x_a` to `y_b`", {"a.py": "x_a = 1\n\n\nclass A:\n    x_a = x_a\n"}, "reads 'x_a' and binds it too"),
    ("rename `x_a` to `sub`", {"p/__init__.py": "x_a = 1\n", "p/sub.py": ""}, "already taken"),
    (
        "Rename `x_a` to `y_b`. Do not touch the tests/.",
        {"a.py": "x_a = 1\n", "tests/test_a.py": "from a import x_a\n"},
        "tests/test_a.py, which the task does not allow",
    ),
]


@pytest.mark.parametrize(("prompt", "files", "reason"), REFUSALS, ids=[reason for _, _, reason in REFUSALS])
async def test_refuses_where_the_rename_would_not_be_sound(
    tmp_path: Path, prompt: str, files: dict[str, str], reason: str
) -> None:
    bench = Bench.of(tmp_path, files)
    with pytest.raises(RunError) as refused:
        await bench.ask(prompt)
    assert reason in str(refused.value)
    assert not refused.value.retryable
    assert "\n" not in str(refused.value)
    assert bench.changed == {}


async def test_scope_of_the_task_is_kept(tmp_path: Path) -> None:
    bench = Bench.of(tmp_path, {"src/a.py": "x_a = 1\n", "tools/b.py": "from a import x_a\n"})
    with pytest.raises(RunError, match=r"tools/b\.py, which the task does not allow"):
        await bench.ask("rename `x_a` to `y_b`", scope=("src/**",))
    assert bench.changed == {}


async def test_renaming_back_restores_every_byte(tmp_path: Path) -> None:
    """What was found under the old name is found again under the new one: nothing was missed or taken along."""
    bench = Bench.of(tmp_path, SHOP)
    await bench.ask("Rename the function `line_total` to `total_of_line`")
    assert bench.changed
    await Bench(tmp_path).ask("Rename the function `total_of_line` to `line_total`")
    assert bench.changed == {}
