"""One run against the scripted server: the loop, its steps, its checks, its costs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agents.stage import staged

from ezaigent.core.errors import RunError
from ezaigent.testing import ModelServer, ToolCall, from_steps


async def test_a_run_changes_files_passes_its_checks_and_tells_each_step(tmp_path: Path) -> None:
    script = from_steps(
        [
            ToolCall("write_file", {"path": "src/a.txt", "content": "hello\n"}),
            (ToolCall("read_file", {"path": "src/a.txt"}), ToolCall("shell", {"command": "cat src/a.txt"})),
            ToolCall("edit_file", {"path": "src/a.txt", "old_text": "hello", "new_text": "bye"}),
            ToolCall("grep", {"pattern": "bye"}),
            ToolCall("list_files", {}),
            "Wrote src/a.txt.",
        ]
    )
    async with ModelServer(script) as server, staged(tmp_path, server=server) as stage:
        claim = await stage.claim(checks=("grep bye src/a.txt",))
        outcome, tree = await stage.run(claim)

        assert outcome.summary == "Wrote src/a.txt."
        assert [check.ok for check in outcome.checks] == [True]
        assert outcome.checks[0].tree
        assert (tree.path / "src/a.txt").read_text() == "bye\n"
        assert outcome.steps == len(stage.steps) == 13
        assert [name for what, name in stage.told if what == "tool"] == [
            "write_file",
            "read_file",
            "shell",
            "edit_file",
            "grep",
            "list_files",
        ]
        assert stage.told[-1] == ("check", "grep bye src/a.txt")
        assert [step.name for step in stage.steps if step.files_changed] == ["write_file", "edit_file"]
        assert outcome.checkpoint == await stage.runtime.checkpoint(claim)
        results = [result.text for message in server.turns[-1].messages for result in message.results]
        assert any("[exit code 0]" in text and "hello" in text for text in results)
        assert any("src/a.txt:1:bye" in text for text in results)
        told = await stage.events("run.step")
        assert [(event.data["name"], event.data["call"]) for event in told if event.data.get("call")] == [
            ("write_file", "src/a.txt"),
            ("read_file", "src/a.txt"),
            ("shell", "cat src/a.txt"),
            ("edit_file", "src/a.txt"),
            ("grep", "bye"),
        ]
        assert [event.data["step"] for event in told] == list(range(13))
        assert told[0].data["what"] == "model"
        assert told[0].data["input_tokens"] > 0


async def test_failing_checks_go_back_to_the_agent_in_the_same_conversation(tmp_path: Path) -> None:
    script = from_steps(
        ["Done at once.", ToolCall("write_file", {"path": "a.txt", "content": "right\n"}), "Now it is right."]
    )
    async with ModelServer(script) as server, staged(tmp_path, server=server) as stage:
        outcome, _ = await stage.run(await stage.claim(checks=("cat a.txt | grep right",)))

        assert outcome.summary == "Now it is right."
        assert [what for what, _ in stage.told].count("check") == 2
        last = server.turns[-1].messages
        assert "Do it." in last[0].text
        assert any("failed with exit code 1" in message.text for message in last if message.role == "user")


async def test_checks_that_keep_failing_end_the_attempt_after_the_rounds(tmp_path: Path) -> None:
    async with ModelServer(from_steps(["I am done."])) as server, staged(tmp_path, server=server) as stage:
        with pytest.raises(RunError, match="'false' still fails with exit code 1 after 2 more tries") as caught:
            await stage.run(await stage.claim(checks=("false",)), check_rounds=2)
        assert caught.value.retryable
        assert len(server.requests) == 3


async def test_a_write_outside_the_scope_is_refused_and_a_command_outside_it_sent_back(tmp_path: Path) -> None:
    script = from_steps(
        [
            ToolCall("write_file", {"path": "other/x.txt", "content": "x"}),
            ToolCall("shell", {"command": "echo x > stray.txt; mkdir -p src; echo y > src/y.txt"}),
            "Done.",
            ToolCall("shell", {"command": "rm stray.txt"}),
            "Done, really.",
        ]
    )
    async with ModelServer(script) as server, staged(tmp_path, server=server) as stage:
        outcome, tree = await stage.run(await stage.claim(scope=("src/**",)))

        assert outcome.summary == "Done, really."
        assert not (tree.path / "other").exists()
        texts = [result.text for turn in server.turns for message in turn.messages for result in message.results]
        assert any("'other/x.txt' is outside the task's scope (src/**); nothing was written." in text for text in texts)
        assert any("- stray.txt" in message.text for message in server.turns[-1].messages)


async def test_usage_of_every_call_is_written_with_its_step(tmp_path: Path) -> None:
    script = from_steps([ToolCall("list_files", {}), "Done."])
    async with ModelServer(script) as server, staged(tmp_path, server=server) as stage:
        claim = await stage.claim()
        await stage.run(claim)
        from ezaigent.store import Sql

        rows = await stage.db.read(Sql("SELECT step, agent, profile, provider, model FROM usage ORDER BY step").all)
        assert [tuple(row) for row in rows] == [
            (0, "tester-1", "tester", "openai", "gpt-test"),
            (2, "tester-1", "tester", "openai", "gpt-test"),
        ]


async def test_the_agent_is_told_its_repositorys_guide(tmp_path: Path) -> None:
    files = {"AGENTS.md": "Always whistle while you work.\n"}
    async with (
        ModelServer(from_steps(["Done."])) as server,
        staged(tmp_path, files=files, server=server) as stage,
    ):
        await stage.run(await stage.claim())
        assert "Always whistle while you work." in server.turns[0].system
