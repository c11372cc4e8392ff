"""Documents that are made to keep their reader busy, or to come back a hundred times as long, come to an end."""

from __future__ import annotations

import pytest

from ezaigent.chat import PlannedTask, checked, draft_plan
from ezaigent.core.errors import UsageError

FULL = 200_000
"""Characters of the longest document that is read."""
AFTER = " after y" * 600
LINES: dict[str, str] = {
    "references at an end that is none": f"- [ ] x{AFTER};z\n",
    "brackets that nobody closes": "- [ ] x" + "(after y" * 600 + "\n",
    "links that are none": "- [ ] x" + "[" * 4900 + "\n",
    "half links": "- [ ] x" + "[a](" * 1200 + "\n",
    "marks of headings": "# " + "#" * 4800 + "x\n- [ ] a\n",
    "headings about nothing": "## " + "a " * 2400 + "\n" + "### \n" * 1000 + "- [ ] a\n",
    "headings": "## \n",
    "underlines": "a\n---\n",
    "boxes": "- [ ] a\n- [x] a\n",
    "numbers with boxes below": "1. a\n" + "   - [ ] b\n" * 9000,
    "entries of entries": "- a\n" + "  - b\n" * 9000,
}


def _read(text: str) -> int | str:
    """Return how many tasks a document has, or why it is refused."""
    try:
        return len(draft_plan(text, ("gpt",)).plan.tasks)
    except UsageError as refused:
        return str(refused)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_lines_again_and_again_come_to_an_end(line: str) -> None:
    assert _read((line * (FULL // len(line) + 1))[: FULL - 8] + "\n- [ ] z") != 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize("separator", ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_no_separator_makes_a_line_longer_than_it_counts(separator: str) -> None:
    assert _read("- [ ] x" + (AFTER + separator) * 40 + ";z\n") == 1


@pytest.mark.timeout(120)
def test_headings_with_references_are_read_once_for_all_entries_below() -> None:
    part = f"# s{AFTER};z\n" + "- [ ] x after q\n" * 250
    assert _read(part + part) == 500


@pytest.mark.timeout(120)
def test_more_references_than_can_be_followed_are_refused() -> None:
    entries = "".join(f"- [ ] a{number}\n" for number in range(400)) + "- [x] b\n" * 4000
    most = "".join(f"  after: {','.join(['q'] * 400)}\n" for _ in range(5))
    assert _read(f"{entries}- [ ] z\n{most}") == 401
    assert "2001 references to other tasks" in str(_read(f"{entries}- [ ] z after q\n{most}"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# t\n## tasks\n" + "- [ ] abc\n" * 500 + "## checks\n" + "- be good\n" * 15_000, "come to more than"),
        (
            "# t\n## tasks\n"
            + "- [ ] abc\n" * 500
            + "## checks\n"
            + "".join(f"make {number}\n" for number in range(9000)),
            "come to more than",
        ),
        ("# T\n- [ ] x\n" + ("y" * 4999 + "\n") * 39 + "y" * 4988, "the prompt of 'x' has 200004"),
    ],
)
def test_a_document_that_grows_a_hundredfold_is_refused(text: str, said: str) -> None:
    assert len(text) <= FULL
    told = str(_read(text))
    assert said in told
    assert "\n" not in told


@pytest.mark.timeout(120)
def test_a_plan_with_all_needs_there_can_be_is_looked_through() -> None:
    names = [f"t{number}" for number in range(500)]
    tasks = [
        PlannedTask(name=name, prompt="x", needs=(*names[:place], *[names[0]] * (499 - place if place else 0)))
        for place, name in enumerate(names)
    ]
    assert len(checked(tuple(tasks)).tasks) == 500
    tasks[0] = tasks[0].model_copy(update={"needs": tuple(names[1:])})
    with pytest.raises(UsageError, match="the needs go in a circle: t0 → t1 → t0;"):
        checked(tuple(tasks))
