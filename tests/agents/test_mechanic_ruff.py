"""Ruff's work for real, by the repository's own configuration and nowhere else than asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_mechanic_driver import Bench

from ezaigent.core.errors import RunError

FILES = {
    "pyproject.toml": '[tool.ruff]\nline-length = 60\n[tool.ruff.lint]\nselect = ["F", "I"]\n',
    "src/app/main.py": "import sys\nimport os\nimport json\n\n\n"
    "def f(x):\n    y = 1\n    return json.dumps( x ), os.sep\n",
    "src/app/old.py": "import os\nimport sys\nfrom typing import List, Optional\n\nx: Optional[List[int]] = None\n",
    "tests/test_main.py": "import os\n\n\ndef test_f():\n    assert True\n",
}


async def test_lint_fixes_follow_the_configuration_and_tell_what_is_left(tmp_path: Path) -> None:
    bench = Bench.of(tmp_path, FILES)
    words = await bench.ask("Fix all lint errors")
    changed = bench.changed
    assert (
        changed["src/app/main.py"]
        == "import json\nimport os\n\n\ndef f(x):\n    y = 1\n    return json.dumps( x ), os.sep\n"
    )
    assert set(changed) == {"src/app/main.py", "src/app/old.py", "tests/test_main.py"}
    assert "\N{MULTIPLICATION SIGN} F401" in words
    assert "1 finding left: src/app/main.py:6:5: F841" in words
    assert bench.git("status", "--porcelain", "--ignored").count("\n") == 3, "no cache is left behind"


async def test_only_what_was_asked_where_it_was_asked(tmp_path: Path) -> None:
    bench = Bench.of(tmp_path, FILES)
    await bench.ask("Remove unused imports in the app package except `src/app/old.py`")
    assert bench.changed == {"src/app/main.py": FILES["src/app/main.py"].replace("import sys\n", "")}


async def test_scope_globs_bound_the_work(tmp_path: Path) -> None:
    bench = Bench.of(tmp_path, FILES)
    await bench.ask("Fix lint errors", scope=("tests/**",))
    assert list(bench.changed) == ["tests/test_main.py"]


async def test_globs_and_folders_are_found(tmp_path: Path) -> None:
    bench = Bench.of(tmp_path, FILES)
    await bench.ask("Sort imports in `src/**/main.py` and tests/")
    assert list(bench.changed) == ["src/app/main.py"]


async def test_syntax_is_modernised_for_the_version_named(tmp_path: Path) -> None:
    bench = Bench.of(tmp_path, FILES)
    await bench.ask("Modernise the syntax to Python 3.11 in src/app/old.py")
    assert "x: list[int] | None = None" in bench.changed["src/app/old.py"]


async def test_imports_that_the_new_syntax_leaves_unused_go_too(tmp_path: Path) -> None:
    old = (
        "import os\nfrom typing import Dict, List, Optional, Union\n\n\n"
        "def f(x: Optional[Dict[str, List[int]]], y: Union[int, str]) -> List[str]:\n    return [os.name]\n"
    )
    files = {"shop/old.py": old, "shop/odd.py": "import sys\n\nX = 1\n", "rest/old.py": old}
    bench = Bench.of(tmp_path, files)
    words = await bench.ask("Modernise the syntax to Python 3.11 in shop/")
    assert bench.changed == {
        "shop/old.py": "import os\n\n\n"
        "def f(x: dict[str, list[int]] | None, y: int | str) -> list[str]:\n    return [os.name]\n"
    }
    assert bench.shell("ruff check --no-cache --select UP,F401 --target-version py311 shop/old.py").startswith(
        "exit code: 0"
    )
    assert "UP006" in words
    assert "F401" in words
    assert "left" not in words


async def test_a_bare_name_is_a_folder_or_package_of_the_repository(tmp_path: Path) -> None:
    unused = "import os\n"
    files = {
        "src/shop/a.py": unused,
        "deep/down/billing/b.py": unused,
        "c.py": unused,
        "one/twin/d.py": "",
        "README": "",
    }
    bench = Bench.of(tmp_path, {**files, "two/twin/e.py": unused})
    await bench.ask("Remove unused imports in shop")
    assert bench.changed == {"src/shop/a.py": ""}
    await Bench(tmp_path).ask("Remove unused imports in billing and c")
    assert bench.changed == {"src/shop/a.py": "", "deep/down/billing/b.py": "", "c.py": ""}
    for prompt, reason in (
        ("Remove unused imports in nosuch", "the task names 'nosuch', which is not in the repository"),
        ("Use f-strings in README", "the task names 'README', which is not in the repository"),
        ("Remove unused imports in twin", "could be one/twin or two/twin; name one by its path"),
        ("Rename x_a to x_b in nosuch", "the task names 'nosuch', which is not in the repository"),
    ):
        with pytest.raises(RunError, match=reason):
            await Bench(tmp_path).ask(prompt)
    assert "two/twin/e.py" not in bench.changed


async def test_a_package_ruled_out_by_its_name_is_left_alone(tmp_path: Path) -> None:
    bench = Bench.of(tmp_path, FILES)
    await bench.ask("Remove unused imports except in the app package")
    assert list(bench.changed) == ["tests/test_main.py"]


async def test_unused_variables_and_old_formatting(tmp_path: Path) -> None:
    bench = Bench.of(tmp_path, {"a.py": 'def f(x):\n    y = 1\n    return "%s" % x + "{}".format(x)\n'})
    await bench.ask("Remove unused variables and replace % formatting with f-strings")
    assert bench.changed == {"a.py": 'def f(x):\n    return f"{x}" + f"{x}"\n'}


async def test_formatting_comes_after_the_fixes_it_stands_next_to(tmp_path: Path) -> None:
    bench = Bench.of(tmp_path, FILES)
    words = await bench.ask("Format the code and sort imports. Do not touch the `src/app/old.py`.")
    assert ["ruff format" in command for command in bench.commands if "ruff" in command.splitlines()[0]] == [
        False,
        True,
    ]
    assert "json.dumps(x), os.sep" in bench.changed["src/app/main.py"]
    assert "Formatted 1 file." in words


async def test_a_formatted_tree_stays_as_it_is(tmp_path: Path) -> None:
    bench = Bench.of(tmp_path, {"a.py": "x = 1\n"})
    assert await bench.ask("Format the code") == "Every file was formatted already."
    assert bench.changed == {}


async def test_a_command_written_out_is_run_as_it_stands(tmp_path: Path) -> None:
    bench = Bench.of(tmp_path, FILES)
    await bench.ask("Run `ruff check --fix tests`")
    assert bench.commands == ["ruff check --fix tests --no-cache"]
    assert list(bench.changed) == ["tests/test_main.py"]
    await Bench(tmp_path).ask("Run `ruff format src`")
    assert "src/app/main.py" in bench.changed


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("Fix lint errors in nowhere/", "'nowhere/', which is not in the repository"),
        ("Upgrade to Python 3.99 syntax", "ruff does not know Python 3.99"),
        ("Fix ZZZ999 errors", "ruff could not do it"),
        ("Format `docs/`", "no Python file"),
        ("Add a login page", "has no recipe for 'Add a login page': it can fix lint errors"),
        ("Do not format", "found nothing to do"),
    ],
)
async def test_refusals_are_one_sentence(tmp_path: Path, prompt: str, reason: str) -> None:
    bench = Bench.of(tmp_path, {**FILES, "docs/a.txt": "text\n"})
    with pytest.raises(RunError) as refused:
        await bench.ask(prompt, scope=("docs/**",) if "docs" in prompt else ())
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not refused.value.retryable
    assert bench.changed == {}


async def test_a_file_that_cannot_be_parsed_is_told(tmp_path: Path) -> None:
    bench = Bench.of(tmp_path, {"a.py": "def f(:\n", "b.py": "import os\n"})
    words = await bench.ask("Fix lint errors")
    assert bench.changed == {"b.py": ""}
    assert "a.py:1:7: invalid-syntax" in words
    with pytest.raises(RunError, match="ruff could not do it"):
        await Bench(tmp_path).ask("Format the code")
