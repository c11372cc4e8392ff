"""A document becomes a task graph by its own structure; a person edits it before anything is queued."""

from __future__ import annotations

import pytest

from ezaigent.chat import Plan, PlannedTask, draft_plan, read_plan, write_plan
from ezaigent.chat.requirements import Draft
from ezaigent.core.errors import UsageError

PRD = """\
# Shop 2.0

Repository: ~/shop

## Background

- we sell things
- people complain

## Tasks

- [ ] Add a `Price` type with currency (high)
  - use Decimal
  - Files: src/price.py, tests/test_price.py
- [x] Set up CI
- [ ] Show prices in the cart, after the Price type @gpt
  Check: `pytest -q tests/test_cart.py`
- [ ] Write the migration guide (depends on #1 and the cart prices)
- [ ] Announce it (after everything above)

## Acceptance criteria

- No float is used for money
- `make test` passes
"""


def draft(text: str) -> Draft:
    return draft_plan(text, ("claude", "gpt"))


def needs(plan: Plan) -> dict[str, list[str]]:
    return {task.title: [plan_title(plan, need) for need in task.needs] for task in plan.tasks}


def plan_title(plan: Plan, name: str) -> str:
    return next(task.title for task in plan.tasks if task.name == name)


def test_a_requirements_document() -> None:
    plan = draft(PRD).plan
    assert (plan.title, plan.repo) == ("Shop 2.0", "~/shop")
    price, cart, guide, announce = plan.tasks
    assert (price.title, price.priority) == ("Add a Price type with currency", "high")
    assert price.scope == ("src/price.py", "tests/test_price.py")
    assert "- use Decimal" in price.prompt
    assert "No float is used for money" in price.prompt
    assert price.checks == ("make test",)
    assert (cart.profile, cart.needs) == ("gpt", (price.name,))
    assert cart.checks == ("pytest -q tests/test_cart.py", "make test")
    assert guide.needs == (price.name, cart.name)
    assert announce.needs == (price.name, cart.name, guide.name)


def test_a_todo_list_without_headings() -> None:
    plan = draft("TODO: fix the login\nTODO: test the login after the login fix\n").plan
    assert needs(plan) == {"fix the login": [], "test the login": ["fix the login"]}


def test_a_numbered_list_is_done_in_its_order() -> None:
    plan = draft("1. Make the schema\n2. Write the importer\n   - [ ] for CSV\n   - [ ] for JSON\n3. Ship it\n").plan
    assert [task.title for task in plan.tasks] == ["for CSV", "for JSON"], "boxes below an entry are the tasks"
    plan = draft("1. Make the schema\n2) Write the importer\n3. Ship it\n").plan
    assert needs(plan) == {
        "Make the schema": [],
        "Write the importer": ["Make the schema"],
        "Ship it": ["Write the importer"],
    }


def test_plain_entries_are_tasks_where_there_are_no_boxes() -> None:
    plan = draft(
        "Release\n=======\n\nWork\n----\n\n* Bump the version\n* Write the notes; needs the previous one\n"
    ).plan
    assert plan.title == "Release"
    assert needs(plan) == {"Bump the version": [], "Write the notes": ["Bump the version"]}


def test_sections_are_tasks_where_there_are_no_lists() -> None:
    text = "# App\n\n## Search\nUsers can search.\n\n## Export (after Search)\nAs CSV.\n\n## Out of scope\nPrinting.\n"
    plan = draft(text).plan
    assert needs(plan) == {"Search": [], "Export": ["Search"]}
    assert "As CSV." in plan.tasks[1].prompt
    assert plan.tasks[1].needs == (plan.tasks[0].name,)


def test_a_phase_waits_for_another_phase() -> None:
    text = "# App\n## Phase 1\n- [ ] a model\n- [ ] a store\n## Phase 2 (after Phase 1)\n- [ ] a page\n"
    plan = draft(text).plan
    assert needs(plan)["a page"] == ["a model", "a store"]


def test_a_text_without_structure_is_one_task() -> None:
    plan = draft("Make the search case-insensitive. It should also ignore accents.").plan
    assert [task.title for task in plan.tasks] == ["Make the search case-insensitive"]
    assert "ignore accents" in plan.tasks[0].prompt


def test_code_in_fences_is_no_structure() -> None:
    plan = draft("# A\n- [ ] fix it\n  ```\n  - [ ] not a task\n  # no heading\n  ```\n- [ ] test it\n").plan
    assert [task.title for task in plan.tasks] == ["fix it", "test it"]


def test_what_cannot_be_resolved_is_noted_and_told_to_the_agent() -> None:
    found = draft("- [ ] ship it, after the legal review\n  Agent: bob\n")
    assert found.plan.tasks[0].needs == ()
    assert "after: the legal review" in found.plan.tasks[0].prompt
    assert found.notes == (
        "no profile 'bob': anybody may do 'ship it'",
        "'ship it' comes after 'the legal review', which is no task here",
    )


def test_circles_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"circle: .*alpha.* → .*beta.* → .*alpha"):
        draft("- [ ] alpha module (after beta module)\n- [ ] beta module (after alpha module)\n")


@pytest.mark.parametrize("text", ["", "\n\n", "# Only a title\n", "- [x] all done\n"])
def test_a_document_without_work_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="asks for nothing"):
        draft(text)


def test_a_plan_survives_its_file_whatever_is_in_it() -> None:
    nasty = "it's \"quoted\" \\ and '''\nover lines\twith\x7f tabs and ünïcode'"
    plan = Plan(
        title='A "plan"',
        repo="~/shop",
        tasks=(
            PlannedTask(name="a", prompt=nasty, scope=("src/**",), priority="low"),
            PlannedTask(
                name="b", title="B", prompt="two\nlines", needs=("a",), checks=("pytest -k 'x'",), profile="gpt"
            ),
        ),
    )
    text = write_plan(plan, notes=["read\nme"])
    again, key = read_plan(text)
    assert again == plan
    assert key
    assert "# note: read me" in text


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("tasks = 1", "tasks"),
        ("x", "no TOML"),
        ("title = 'empty'", "no \\[\\[tasks\\]\\]"),
        ("[[tasks]]\nname = 'a'\nprompt = 'x'\nneeds = ['b']", "needs 'b', which is not in the plan"),
        ("[[tasks]]\nname = 'a'\nprompt = 'x'\n[[tasks]]\nname = 'a'\nprompt = 'x'", "two tasks are named 'a'"),
        ("[[tasks]]\nname = 'a'\nprompt = 'x'\nneeds = ['a']", "circle: a → a"),
        ("[[tasks]]\nname = 'A b'\nprompt = 'x'", "tasks.1.name"),
        ("key = 1\n[[tasks]]\nname = 'a'\nprompt = 'x'", "key must be"),
        ("[[tasks]]\nname = 'a'\nprompt = 'x'\nbudget = 1", "tasks.1.budget"),
    ],
)
def test_a_wrong_plan_is_refused_in_one_line(text: str, error: str) -> None:
    with pytest.raises(UsageError, match=error) as refused:
        read_plan(text)
    assert "\n" not in str(refused.value)
