"""Small edits that could mend a failure, the likeliest first: the guesses of a model that thinks with a table."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ezaigent.testing.scripts.failure import Place


@dataclass(frozen=True, slots=True)
class Guess:
    """An exact replacement in one file; ``old`` occurs there once."""

    path: str
    old: str
    new: str

    def result(self, text: str) -> str:
        """Return the file's text with the replacement made."""
        return text.replace(self.old, self.new, 1)


_SWAPS: Final = (
    (" + ", " - "),
    (" - ", " + "),
    (" * ", " / "),
    (" / ", " * "),
    (" // ", " / "),
    (" <= ", " < "),
    (" >= ", " > "),
    (" < ", " <= "),
    (" > ", " >= "),
    (" < ", " > "),
    (" > ", " < "),
    (" == ", " != "),
    (" != ", " == "),
    (" and ", " or "),
    (" or ", " and "),
    ("True", "False"),
    ("False", "True"),
    (" not in ", " in "),
    ("if not ", "if "),
    ("min(", "max("),
    ("max(", "min("),
    (".lower(", ".upper("),
    (".upper(", ".lower("),
    ("is not None", "is None"),
    ("is None", "is not None"),
)
_NAME_HINT = re.compile(r"name '(\w+)' is not defined|has no attribute '(\w+)'|cannot import name '(\w+)'")
_MEANT = re.compile(r"[Dd]id you mean:? '(?:self\.)?([\w.]+)'")
_UNUSED = re.compile(r"F401 (?:\[\*\] )?`([\w.]+)` imported but unused")
_COMPARED = re.compile(r"assert(?:ionError:)? (?:assert )?(['\"].*?['\"]|-?[\d.]+) (?:==|!=) (['\"].*?['\"]|-?[\d.]+)")
_CALLED = re.compile(r"(\w+)\(")


def is_test(path: str) -> bool:
    """Say whether a file holds tests, which are never changed to make them pass."""
    name = path.rpartition("/")[2]
    return name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py" or path.startswith("tests/")


def difference(path: str, before: str, after: str) -> Guess:
    """Return the replacement of whole lines that turns one text into the other."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    # Lines around it are taken in until the place can be named alone.
    while start > 0 or end > 0:
        block = "".join(old[start : len(old) - end])
        if block and before.count(block) == 1:
            break
        start, end = max(0, start - 1), max(0, end - 1)
    return Guess(path, "".join(old[start : len(old) - end]), "".join(new[start : len(new) - end]))


def guesses(output: str, places: Sequence[Place], sources: Mapping[str, str]) -> Iterator[Guess]:
    """Yield edits of ``sources`` that may mend what ``output`` tells; each only once."""
    seen: set[Guess] = set()
    for guess in _all(output, [place for place in places if place.path in sources], sources):
        if guess.old != guess.new and guess not in seen:
            seen.add(guess)
            yield guess


def _all(output: str, places: Sequence[Place], sources: Mapping[str, str]) -> Iterator[Guess]:
    for place in places:
        if not is_test(place.path):
            yield from _at_line(output, place, sources)
        yield from _misnamed(output, place, sources)
    own = {path: text for path, text in sources.items() if path.endswith(".py") and not is_test(path)}
    for actual, expected in _COMPARED.findall(output):
        for path, text in own.items():
            for number, line in enumerate(text.splitlines()):
                if _literal(actual) in line:
                    yield from _change(path, text, number, line.replace(_literal(actual), _literal(expected)))
    called = set(_CALLED.findall("\n".join(line for line in output.splitlines() if "assert" in line)))
    named = {(place.path, place.line - 1) for place in places}
    ranked = [
        (_rank(path, text, number, called, named), path, text, number)
        for path, text in own.items()
        for number in range(len(text.splitlines()))
    ]
    for _, path, text, number in sorted(ranked, key=lambda item: item[0]):
        for new in _mutations(text.splitlines()[number]):
            yield from _change(path, text, number, new)


def _at_line(output: str, place: Place, sources: Mapping[str, str]) -> Iterator[Guess]:
    text = sources[place.path]
    lines = text.splitlines()
    number = place.line - 1
    if not 0 <= number < len(lines):
        return
    line = lines[number]
    for name in _UNUSED.findall(output):
        if re.search(rf"\bimport\b.*\b{re.escape(name.rpartition('.')[2])}\b", line) and "," not in line:
            yield from _change(place.path, text, number, None)
    if "SyntaxError" in output or "invalid-syntax" in output:
        if "expected ':'" in output or re.match(r"\s*(def|if|for|while|class|else|elif|try|with)\b.*[^:]$", line):
            yield from _change(place.path, text, number, line + ":")
        for opening, closing in (("(", ")"), ("[", "]"), ("{", "}")):
            if line.count(opening) > line.count(closing):
                yield from _change(place.path, text, number, line + closing)


def _misnamed(output: str, place: Place, sources: Mapping[str, str]) -> Iterator[Guess]:
    for found in _NAME_HINT.finditer(output):
        wrong = found[1] or found[2] or found[3]
        meant = [name.rpartition(".")[2] for name in _MEANT.findall(output)]
        known = sorted(set(re.findall(r"[A-Za-z_]\w+", "\n".join(sources.values()))) - {wrong})
        for right in (*meant, *difflib.get_close_matches(wrong, known, n=3)):
            for path in (place.path, *sources):
                yield from _rename(path, sources[path], wrong, right)


def _rename(path: str, text: str, wrong: str, right: str) -> Iterator[Guess]:
    if is_test(path):
        # The test is right by definition: the code must offer the name that the test uses.
        return
    for number, line in enumerate(text.splitlines()):
        if re.search(rf"\b{wrong}\b", line):
            yield from _change(path, text, number, re.sub(rf"\b{wrong}\b", right, line))
    for number, line in enumerate(text.splitlines()):
        if re.match(rf"\s*(?:def|class)\s+{right}\b", line):
            yield from _change(path, text, number, re.sub(rf"\b{right}\b", wrong, line))


def _mutations(line: str) -> Iterator[str]:
    code = line.strip()
    if not code or code.startswith(("#", "def ", "class ", "import ", "from ", '"""', "@")):
        return
    for old, new in _SWAPS:
        if old in line:
            yield line.replace(old, new, 1)
    for match in re.finditer(r"(?<![\w.])(\d+)(?![\w.])", line):
        for value in (int(match[1]) + 1, int(match[1]) - 1):
            yield line[: match.start()] + str(value) + line[match.end() :]
    bounded = re.sub(r"range\(([^(),]+)\)", r"range(\1 + 1)", line)
    if bounded != line:
        yield bounded


def _rank(path: str, text: str, number: int, called: set[str], named: set[tuple[str, int]]) -> tuple[bool, bool, int]:
    """Order lines: those a failure names, then those in a function that it calls, then by position."""
    inside = next(
        (match[1] for line in reversed(text.splitlines()[: number + 1]) if (match := re.match(r"\s*def (\w+)", line))),
        "",
    )
    return (path, number) not in named, inside not in called, number


def _change(path: str, text: str, number: int, new: str | None) -> Iterator[Guess]:
    """Yield the replacement of one line; None takes the line out."""
    lines = text.splitlines(keepends=True)
    ending = "\n" if lines[number].endswith("\n") else ""
    replaced = [] if new is None else [new + ending]
    yield difference(path, text, "".join([*lines[:number], *replaced, *lines[number + 1 :]]))


def _literal(value: str) -> str:
    return value.strip("'\"")
