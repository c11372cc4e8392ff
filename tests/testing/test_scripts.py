"""The scripts at work: real agents with real tools on a real project, whatever the tools are called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import UsageLimitExceeded
from pydantic_ai.usage import UsageLimits
from pydantic_ai_harness.filesystem import FileSystem
from tests.testing.providers import Serve, model_for

from ezaigent.core.errors import UsageError
from ezaigent.testing import (
    SCRIPTS,
    ModelServer,
    Toolbox,
    ToolCall,
    ToolOffer,
    big_context,
    build,
    chatty,
    echo_tools,
    fix_failing_check,
    loop_forever,
)
from ezaigent.testing.scripts.guesses import difference

CHECK = "python -m pytest -q -p no:cacheprovider"
PLAIN = "python -m tests.test_prices"
"""The same without pytest: starts faster and says less."""
ENVIRONMENT = {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    # Compiled files are matched by size and whole seconds: a quick edit of the same size would go unnoticed.
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}
TEST = """from shop.prices import total


def test_total():
    assert total([2, 3], tax=1) == 6


if __name__ == "__main__":
    test_total()
"""
GOOD = '''"""Prices."""


def total(prices, tax):
    """Add up."""
    result = 0
    for price in prices:
        result = result + price
    return result + tax
'''

BROKEN = {
    "operator": GOOD.replace("result + price", "result - price"),
    "constant": GOOD.replace("result = 0", "result = 1"),
    "name": GOOD.replace("for price in prices", "for price in prizes"),
    "missing name": GOOD.replace("def total", "def totals"),
    "colon": GOOD.replace("tax):", "tax)"),
    "twice": GOOD.replace("result + price", "result - price").replace("in prices", "in prizes"),
}


def project(root: Path, code: str) -> Path:
    (root / "shop").mkdir(parents=True)
    (root / "shop" / "__init__.py").touch()
    (root / "shop" / "prices.py").write_text(code)
    (root / "tests").mkdir()
    (root / "tests" / "test_prices.py").write_text(TEST)
    (root / "conftest.py").touch()
    return root


def shell_in(root: Path, command: str) -> str:
    done = subprocess.run(  # noqa: S602 - running the agent's command is what is tested
        command, shell=True, cwd=root, capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    return f"{done.stdout}{done.stderr}\n[exit code {done.returncode}]"


def harness_agent(model: Any, root: Path) -> Agent[None, str]:
    """The harness's file tools and a shell."""
    tools = ("read_file", "edit_file", "write_file", "list_files", "grep")
    files = FileSystem[None](root_dir=root, content_hashes=False, tools=tools)
    capabilities: list[AbstractCapability[None]] = [files]
    agent = Agent(model, deps_type=type(None), capabilities=capabilities, retries=5)

    @agent.tool_plain
    def shell(command: str, timeout: float | None = None) -> str:
        """Run a command."""
        return shell_in(root, command)

    return agent


def other_agent(model: Any, root: Path) -> Agent[None, str]:
    """Tools of other names and shapes, without one that lists files."""
    agent = Agent(model)

    @agent.tool_plain(name="Bash")
    def bash(cmd: str) -> dict[str, Any]:
        """Run a command."""
        output = shell_in(root, cmd)
        return {"output": output, "exit_code": int(output.rpartition("[exit code ")[2].rstrip("]"))}

    @agent.tool_plain(name="View")
    def view(file_path: str) -> str:
        """Show a file."""
        path = root / file_path
        return path.read_text() if path.is_file() else f"Error: {file_path} not found"

    @agent.tool_plain(name="Save")
    def save(file_path: str, content: str) -> str:
        """Write a whole file."""
        (root / file_path).write_text(content)
        return "saved"

    return agent


async def mend(agent: Agent[None, str], check: str = PLAIN) -> str:
    prompt = f"The tests fail. Mend the code.\n\nThese commands must exit with 0:\n- `{check}`"
    return (await agent.run(prompt, usage_limits=UsageLimits(request_limit=60))).output


@pytest.mark.parametrize("fault", BROKEN)
async def test_a_failing_check_is_mended(fault: str, tmp_path: Path, serve: Serve) -> None:
    root = project(tmp_path, BROKEN[fault])
    server = await serve(fix_failing_check())
    async with model_for("anthropic", server) as model:
        check = CHECK if fault in {"operator", "colon"} else PLAIN
        answer = await mend(harness_agent(model, root), check)
    assert answer == f"`{check}` passes now. Changed: shop/prices.py."
    assert shell_in(root, check).endswith("[exit code 0]")
    assert (root / "tests" / "test_prices.py").read_text() == TEST
    assert server.repeated() == {}


@pytest.mark.parametrize("api_name", ["openai-responses", "google"])
async def test_other_tools_serve_as_well(api_name: str, tmp_path: Path, serve: Serve) -> None:
    root = project(tmp_path, BROKEN["operator"])
    shell_in(root, "git init -q")
    server = await serve(fix_failing_check())
    async with model_for(api_name, server) as model:
        answer = await mend(other_agent(model, root))
    assert answer == f"`{PLAIN}` passes now. Changed: shop/prices.py."
    assert (root / "shop" / "prices.py").read_text() == GOOD


async def test_an_unused_import_is_taken_out(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "a.py").write_text("import os\nimport sys\n\nprint(sys.argv)\n")
    server = await serve(fix_failing_check("ruff check --isolated --output-format concise ."))
    async with model_for("mistral", server) as model:
        answer = await mend(harness_agent(model, tmp_path))
    assert "passes now" in answer
    assert (tmp_path / "a.py").read_text() == "import sys\n\nprint(sys.argv)\n"


async def test_what_works_already_is_left_alone(tmp_path: Path, serve: Serve) -> None:
    root = project(tmp_path, GOOD)
    server = await serve(fix_failing_check())
    async with model_for("openai-chat", server) as model:
        answer = await mend(harness_agent(model, root))
    assert answer == f"`{PLAIN}` passes; nothing had to be changed."
    calls = [call.name for message in server.turns[-1].messages for call in message.calls]
    assert set(calls) <= {"list_files", "shell"}


async def test_what_cannot_be_mended_is_given_up_and_taken_back(tmp_path: Path, serve: Serve) -> None:
    code = '"""Prices."""\n\n\ndef total(prices, tax):\n    return prices[0] * 2 > 7\n'
    root = project(tmp_path, code)
    server = await serve(fix_failing_check(attempts=4))
    async with model_for("deepseek", server) as model:
        answer = await mend(harness_agent(model, root))
    assert "could not make" in answer
    assert "4 edits" in answer
    assert (root / "shop" / "prices.py").read_text() == code


async def test_work_sent_back_is_looked_at_again(tmp_path: Path, serve: Serve) -> None:
    root = project(tmp_path, GOOD)
    server = await serve(fix_failing_check(PLAIN))
    async with model_for("anthropic", server) as model:
        agent = harness_agent(model, root)
        first = await agent.run("Make the check pass.")
        (root / "shop" / "prices.py").write_text(BROKEN["operator"])
        second = await agent.run("The check failed with exit code 1.", message_history=first.all_messages())
    assert second.output == f"`{PLAIN}` passes now. Changed: shop/prices.py."


async def test_without_tools_it_says_so(serve: Serve) -> None:
    server = await serve(fix_failing_check())
    async with model_for("anthropic", server) as model:
        assert "no tool was offered" in (await Agent(model).run("Mend it.")).output


def sized(model: Any) -> Agent[None, str]:
    agent = Agent(model)

    @agent.tool_plain
    def data(size: int, number: int) -> str:
        """Give bytes."""
        return "x" * size

    return agent


async def test_echo_tools_makes_its_calls_and_answers(serve: Serve) -> None:
    server = await serve(echo_tools(5, size=4096, parallel=2))
    async with model_for("anthropic", server) as model:
        result = await sized(model).run("Go.")
    assert result.output == "All calls are done."
    assert [len(turn.messages[-1].results) for turn in server.turns] == [0, 2, 2, 1]
    assert all(len(r.text) == 4096 for turn in server.turns for r in turn.messages[-1].results)


async def test_echo_tools_uses_a_shell_or_a_file_where_it_must(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "data.txt").write_text("y" * 5000)
    for script, letter in ((echo_tools(2, size=5000), "x"), (echo_tools(2, path="data.txt"), "y")):
        server = await serve(script)
        async with model_for("openai-chat", server) as model:
            await harness_agent(model, tmp_path).run("Go.")
        texts = [result.text for turn in server.turns for result in turn.messages[-1].results]
        assert [letter * 5000 in text for text in texts] == [True, True]


async def test_loop_forever_repeats_itself(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "README.md").write_text("Nothing new here.")
    server = await serve(loop_forever())
    async with model_for("google", server) as model:
        with pytest.raises(UsageLimitExceeded):
            await harness_agent(model, tmp_path).run("Go.", usage_limits=UsageLimits(request_limit=5))
    calls = [(c.name, str(c.arguments)) for m in server.turns[-1].messages for c in m.calls]
    assert len(calls) == 4
    assert len(set(calls)) == 1


async def test_chatty_writes_a_lot(serve: Serve) -> None:
    server = await serve(chatty(3, calls=2))
    async with model_for("anthropic", server) as model:
        output = (await sized(model).run("Go.")).output
    assert output.count("\n\n") == 2
    assert len(server.requests) == 3


async def test_big_context_meets_the_window(serve: Serve) -> None:
    server = await serve(big_context(10, size=40_000, window=50_000))
    async with model_for("anthropic", server) as model:
        with pytest.raises(Exception, match="prompt is too long"):
            await sized(model).run("Go.")
        assert len(server.requests) == 6
        summary = await Agent(model).run("Summarise.")
        assert summary.output.startswith("Summary")


async def test_calls_are_not_made_again_when_history_is_dropped(serve: Serve) -> None:
    server = await serve(echo_tools(4))
    async with model_for("openai-chat", server) as model:
        agent = sized(model)
        messages = (await agent.run("Go.")).all_messages()
        # The last call and its result are all that a compacting client kept.
        await agent.run(message_history=[messages[0], *messages[-3:-1]])
    assert server.turns[-1].messages[1].calls[0].arguments == {"size": 4096, "number": 3}
    assert len(server.requests) == 6


@pytest.mark.parametrize("name", sorted(set(SCRIPTS) - {"from_steps"}))
async def test_every_script_answers_a_client_without_tools(name: str) -> None:
    async with ModelServer(build(name, {})) as server, model_for("openai-chat", server) as model:
        assert (await Agent(model).run("Hello.")).output


def test_an_unknown_script_is_refused() -> None:
    with pytest.raises(UsageError, match="no script is called 'nothing'; one of: "):
        build("nothing", {})


def test_steps_from_json() -> None:
    script = build(
        "from_steps",
        {"steps": ["a", {"calls": [{"tool": "t"}], "fault": {"kind": "hang"}, "reasoning": "r", "latency": 0.5}]},
    )
    assert callable(script)


def offer(name: str, required: list[str], *optional: str) -> ToolOffer:
    return ToolOffer(
        name, "", {"properties": {n: {"type": "string"} for n in (*required, *optional)}, "required": required}
    )


def test_tools_are_known_by_their_schemas() -> None:
    tools = Toolbox(
        [
            offer("think", ["thought"]),
            offer("run_in_terminal", ["cmd"], "timeout"),
            offer("str_replace", ["file", "old_str", "new_str"]),
            offer("create_file", ["path", "file_text"]),
            offer("view", ["path"], "view_range"),
            offer("ripgrep", ["regex"], "path"),
            offer("ls", [], "path"),
        ]
    )
    assert tools.call("shell", command="ls") == ToolCall("run_in_terminal", {"cmd": "ls"})
    assert tools.call("edit", path="a", old="b", new="c") == ToolCall(
        "str_replace", {"file": "a", "old_str": "b", "new_str": "c"}
    )
    assert tools.call("write", path="a", content="b") == ToolCall("create_file", {"path": "a", "file_text": "b"})
    assert tools.call("read", path="a") == ToolCall("view", {"path": "a"})
    assert tools.call("search", pattern="a", path=".") == ToolCall("ripgrep", {"regex": "a", "path": "."})
    assert tools.call("list", path=".") == ToolCall("ls", {"path": "."})
    assert tools.role_of(ToolCall("view", {"path": "a"})) == ("read", {"path": "a"})
    assert tools.role_of(ToolCall("view", "{broken")) is None
    assert tools.any_call({}) == ToolCall("think", {"thought": "x"})
    assert Toolbox([]).any_call({}) is None
    assert Toolbox([offer("read_two", ["path", "other"])]).call("read", path="a") is None


@pytest.mark.parametrize(
    ("before", "after", "old", "new"),
    [
        ("a\nb\nc\n", "a\nx\nc\n", "b\n", "x\n"),
        ("a\nb\nb\nc\n", "a\nb\nx\nc\n", "b\nb\nc\n", "b\nx\nc\n"),
        ("a\nb\nc\n", "a\nc\n", "b\n", ""),
        ("a\nc\n", "a\nb\nc\n", "a\nc\n", "a\nb\nc\n"),
        ("a", "b", "a", "b"),
    ],
)
def test_an_edit_names_its_place_alone(before: str, after: str, old: str, new: str) -> None:
    guess = difference("f", before, after)
    assert before.count(guess.old) == 1
    assert guess.result(before) == after
    assert (guess.old, guess.new) == (old, new)


def test_examples_fit_their_schemas() -> None:
    schemas: list[dict[str, Any]] = [
        {"type": "integer"},
        {"type": "string", "enum": ["b", "c"]},
        {"default": 7},
        {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        {"type": "array"},
    ]
    properties = {f"p{number}": schema for number, schema in enumerate(schemas)}
    tool = ToolOffer("t", "", {"properties": properties, "required": list(properties)})
    call = Toolbox([tool]).any_call({})
    assert call is not None
    assert call.arguments == {"p0": 1, "p1": "b", "p2": 7, "p3": True, "p4": []}
