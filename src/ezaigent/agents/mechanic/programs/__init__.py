"""Programs that recipes run in the sandbox: standard library only, sent to ``python3 -I -`` on standard input.

Each file here is an ordinary module, so that it is typed, linted and tested like any other; ``command`` joins the ones
that belong together into one text. They share one namespace there, so their names must not clash.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

_END = "EZAIGENT_PROGRAM"
_HOME = "ezaigent."


def command(name: str, *parts: str, arguments: dict[str, Any]) -> str:
    """Return the shell command that runs ``main(arguments)`` of the module ``name`` after its ``parts``.

    ``arguments`` must be made of what JSON has. The program prints one line of JSON, last.
    """
    texts = [_body(part) for part in (*parts, name)]
    program = "\n\n".join(("from __future__ import annotations", *texts, f"main({arguments!r})"))
    return f"python3 -I - <<'{_END}'\n{program}\n{_END}"


@cache
def _body(name: str) -> str:
    """Return a module's source without its docstring and without what only makes sense inside the package."""
    source = (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
    lines = source.splitlines()
    for node in ast.parse(source).body:
        local = isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("__future__", _HOME))
        docstring = node.lineno == 1 and isinstance(node, ast.Expr)
        if local or docstring:
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = ""
    return "\n".join(line for index, line in enumerate(lines) if line.strip() or (index and lines[index - 1].strip()))
