"""The policy as a function: same conversation in, same step out; what it reads from the loop's messages."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from pydantic_ai.messages import (
    InstructionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    RetryFeedbackPart,
    RetryInfo,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition
from test_mechanic_driver import Bench

from ezaigent.agents.mechanic import MechanicModel, programs
from ezaigent.agents.mechanic.conversation import read_brief, without_brief
from ezaigent.agents.mechanic.plan import Result
from ezaigent.agents.mechanic.recipes.mend import PARTS as MEND_PARTS
from ezaigent.core.errors import RunError

TOOLS = ("shell", "edit_file", "read_file")
PYTEST = "python3 -m pytest -q"


def parameters(tools: tuple[str, ...] = TOOLS, instructions: str = "") -> ModelRequestParameters:
    parts = [InstructionPart(content=instructions)] if instructions else None
    return ModelRequestParameters(function_tools=[ToolDefinition(name=name) for name in tools], instruction_parts=parts)


async def step(messages: list[ModelMessage], instructions: str = "") -> ModelResponse:
    return await MechanicModel().request(messages, None, parameters(instructions=instructions))


def asked(text: str) -> list[ModelMessage]:
    return [ModelRequest(parts=[UserPromptPart(text)])]


def answered(messages: list[ModelMessage], response: ModelResponse, text: str, *said: str) -> list[ModelMessage]:
    call = response.tool_calls[0]
    back = ToolReturnPart(call.tool_name, text, tool_call_id=call.tool_call_id)
    return [*messages, response, ModelRequest(parts=[back, *(UserPromptPart(line) for line in said)])]


def command(response: ModelResponse) -> str:
    (call,) = response.tool_calls
    assert call.tool_name == "shell"
    return call.args_as_dict()["command"]


async def test_it_names_itself_honestly_and_costs_nothing() -> None:
    response = await step(asked("Format the code"))
    assert (response.provider_name, response.model_name) == ("mechanic", "recipes")
    assert not response.usage.has_values()
    assert MechanicModel().context_window > 10**9
    assert command(response) == "ruff format --no-cache -- ."


async def test_several_recipes_follow_one_another() -> None:
    messages = asked("Sort imports, then format the code")
    first = await step(messages)
    assert "--select I" in command(first)
    messages = answered(messages, first, "Found 1 error (1 fixed, 0 remaining).\n[exit code 0]")
    second = await step(messages)
    assert command(second) == "ruff format --no-cache -- ."
    assert first.tool_calls[0].tool_call_id != second.tool_calls[0].tool_call_id
    last = await step(answered(messages, second, "1 file reformatted\n[exit code 0]"))
    assert last.text == "Nothing to fix by itself. Formatted 1 file."
    assert last.finish_reason == "stop"


async def test_every_prefix_of_a_real_run_leads_to_the_recorded_step(tmp_path: Path) -> None:
    """What makes a resumed run go on where it stopped, whatever it had come to."""
    files = {
        "a.py": "import os\n\n\ndef twice(x):\n    return x + 2\n",
        "check.py": "import a\n\nassert a.twice(5) == 10, f'expected 10, got {a.twice(5)}'\n",
    }
    bench = Bench.of(tmp_path, files)
    prompt = "Remove unused imports, rename `twice` to `double`, format and make the check pass"
    await bench.ask(prompt, checks=("python3 -B check.py",))
    assert "return x * 2" in bench.changed["a.py"]
    responses = [index for index, message in enumerate(bench.messages) if isinstance(message, ModelResponse)]
    assert len(responses) == 8
    for index in responses:
        recorded = bench.messages[index]
        assert isinstance(recorded, ModelResponse)
        for _ in range(2):
            again = await step(bench.messages[:index])
            assert again.parts == recorded.parts


async def test_failing_checks_sent_back_are_mended(tmp_path: Path) -> None:
    files = {
        "src/shop/__init__.py": "",
        "src/shop/money.py": "def cents(text):\n    return int(text) * 100\n",
        "src/shop/api.py": "from shop.money import cents\n\nVERSION = 1\n",
        "check.py": "from shop.api import VERSION, cents\n\nassert cents('2') == 200\n",
    }
    check = "PYTHONPATH=src python3 -B check.py"
    bench = Bench.of(tmp_path, files)
    await bench.ask("Remove unused imports in src/", checks=(check,))
    assert bench.changed == {"src/shop/api.py": "\nVERSION = 1\n"}
    failed = bench.shell(check)
    assert not failed.startswith("exit code: 0")
    words = await bench.ask(
        f"The check `{check}` failed with exit code 1:\n\n```\n{failed}\n```\n\nMend this, then finish as before."
    )
    assert bench.shell(check).startswith("exit code: 0")
    assert bench.changed == {"src/shop/api.py": "from shop.money import cents as cents\n\nVERSION = 1\n"}
    assert "passes now" in words


@pytest.mark.parametrize(
    "feedback",
    [
        [UserPromptPart("The check `make test` failed with exit code 2:\n\n```\nboom\n```")],
        [RetryFeedbackPart(content="$ make test\nexit code: 2\nboom", retry=RetryInfo(cause="model_retry"))],
        [UserPromptPart(["Some checks failed.", "$ make test"])],
    ],
)
async def test_feedback_names_the_command_where_the_task_has_no_list(feedback: list[UserPromptPart]) -> None:
    messages = asked("Format the code")
    messages = answered(messages, await step(messages), "1 file reformatted\n[exit code 0]")
    messages = [*messages, await step(messages), ModelRequest(parts=feedback)]
    assert command(await step(messages)) == "make test"


async def test_feedback_about_the_scope_cannot_be_met() -> None:
    messages = asked("Format the code")
    messages = answered(messages, await step(messages), "1 file reformatted\n[exit code 0]")
    scope = "These files are changed but outside the task's scope (src/**); restore them:\n- b.py\n\nMend this."
    messages = [*messages, await step(messages), *asked(scope)]
    with pytest.raises(RunError, match="outside the task's scope"):
        await step(messages)


async def test_a_message_in_between_is_worked_after_the_present_recipe() -> None:
    messages = asked("Sort imports")
    first = await step(messages)
    word = "Message from ada, a person:\n\nPlease format the code as well."
    messages = answered(messages, first, "All checks passed!\n[exit code 0]", word)
    assert command(await step(messages)) == "ruff format --no-cache -- ."


async def test_a_message_that_no_recipe_fits_is_told_and_stops_nothing() -> None:
    messages = asked("Sort imports")
    first = await step(messages)
    word = "Message from ada, a person:\n\nWrite a poem."
    last = await step(answered(messages, first, "All checks passed!\n[exit code 0]", word))
    assert (
        last.text == "Nothing to fix by itself. A message was left undone, there is no recipe for it: 'Write a poem'."
    )


async def test_a_tool_that_is_not_offered_is_named() -> None:
    with pytest.raises(RunError, match="needs the tool 'shell'"):
        await MechanicModel().request(asked("Format the code"), None, parameters(tools=("read_file",)))


async def test_a_record_of_another_version_is_not_gone_on_with() -> None:
    call = ToolCallPart("read_file", {"path": "a.py"}, tool_call_id="1")
    back = ToolReturnPart("read_file", "x", tool_call_id="1")
    messages = [*asked("Format the code"), ModelResponse(parts=[call]), ModelRequest(parts=[back])]
    with pytest.raises(RunError, match="retry the task") as refused:
        await step(messages)
    assert refused.value.retryable
    with pytest.raises(RunError, match="retry the task"):
        await step([*asked("Format the code"), ModelResponse(parts=[TextPart("x")]), ModelResponse(parts=[call])])


async def test_ruff_that_cannot_work_ends_the_run() -> None:
    messages = asked("Format the code")
    first = await step(messages)
    with pytest.raises(RunError, match="ruff could not do it: sh: 1: ruff: not found"):
        await step(answered(messages, first, "sh: 1: ruff: not found\n[exit code 127]"))
    place = await step(asked("Format src/"))
    broken = answered(asked("Format src/"), place, "{broken}\nno space\n[exit code 1]")
    with pytest.raises(RunError, match="gave no answer in the sandbox: no space"):
        await step(broken)


async def test_an_edit_that_is_refused_is_taken_back() -> None:
    task = asked("Make `python3 -B check.py` pass")
    messages = answered(task, await step(task), "boom\n[exit code 1]")
    edit = '{"path": "a.py", "old": "x", "new": "y", "label": "a.py:1: x becomes y"}'
    found = f'{{"edits": [{edit}], "tried": [], "reason": ""}}'
    messages = answered(messages, await step(messages), f"{found}\n[exit code 0]")
    response = await step(messages)
    call = response.tool_calls[0]
    assert (call.tool_name, call.args_as_dict()) == ("edit_file", {"path": "a.py", "old_text": "x", "new_text": "y"})
    refused = ToolReturnPart("edit_file", "outside the scope", tool_call_id=call.tool_call_id, outcome="failed")
    with pytest.raises(RunError, match="would help but was refused: outside the scope"):
        await step([*messages, response, ModelRequest(parts=[refused])])
    messages = answered(messages, response, "Edited.")
    messages = answered(messages, await step(messages), "boom\n[exit code 1]")
    undo = (await step(messages)).tool_calls[0]
    assert undo.args_as_dict() == {"path": "a.py", "old_text": "y", "new_text": "x"}
    with pytest.raises(RunError, match="depends on more than the files"):
        await step(answered(messages, await step(messages), "Edited."))


def test_brief_is_read_from_instructions_or_the_prompt() -> None:
    prompt = "Format the code\n\nChecks:\n- `pytest -q`\n- `ruff check .`\n\nScope:\n- `src/**`"
    brief = read_brief('The commands under "Checks:" must exit with 0.', prompt)
    assert brief.checks == ("pytest -q", "ruff check .")
    assert brief.scope == ("src/**",)
    assert without_brief(prompt).split() == ["Format", "the", "code"]
    assert read_brief("## **Checks**:\n* make\n", prompt).checks == ("make",)
    assert read_brief("", "Fix lint. Checks: none").checks == ()
    assert without_brief("<task>\nFormat the code\n</task>") == "Format the code"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("exit code: 3\nout", 3),
        ("out\n[exit code 3]", 3),
        ("out\n[exit code: 3]", 3),
        ("[timed out and stopped; exit code 124]", 124),
        ("out\n[Command timed out after 5s]", 124),
        ("all good", 0),
        ("the docs mention exit code 7\nall good\nreally", 0),
    ],
)
def test_exit_codes_are_read_in_any_wording(text: str, code: int) -> None:
    assert Result(text).exit_code == code


@pytest.mark.parametrize(
    "parts",
    [
        ("tree", "places"),
        ("tree", "scopes", "modules", "fields", "references", "targets", "mentions", "rename"),
        (*MEND_PARTS, "search"),
    ],
)
def test_programs_are_whole_and_their_names_do_not_clash(parts: tuple[str, ...]) -> None:
    text = programs.command(parts[-1], *parts[:-1], arguments={"a": [None, True, "é'\n"]})
    first, *body, last = text.split("\n")
    assert (first, last) == ("python3 -I - <<'EZAIGENT_PROGRAM'", "EZAIGENT_PROGRAM")
    assert len(text.encode()) < 100_000, "one argument of a command may have 128 KiB"
    tree = ast.parse("\n".join(body))
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    defined += [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    assert len(defined) == len(set(defined))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any((name or "").startswith("ezaigent") for name in imported)
