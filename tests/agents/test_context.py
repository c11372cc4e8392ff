"""What reaches the model, and what never does: guides, long results, a small window, keys."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.agents.stage import PROFILE, staged

from ezaigent.agents.loop import _guides  # pyright: ignore[reportPrivateUsage]
from ezaigent.core.errors import RunError
from ezaigent.store import Sql
from ezaigent.testing import Conversation, Fault, ModelServer, Reply, ToolCall, Turn, from_steps

KEY = "test-key"
PLANTED = "planted-key-0123456789abcdef"


async def test_both_guides_of_the_repository_are_told(tmp_path: Path) -> None:
    guides = {"AGENTS.md": "Always whistle.\n", "CLAUDE.md": "Never hum.\n", "docs/AGENTS.md": "Not this one.\n"}
    async with ModelServer(from_steps(["Done."])) as server, staged(tmp_path, files=guides, server=server) as stage:
        await stage.run(await stage.claim())
        assert "Always whistle." in server.turns[0].system
        assert "Never hum." in server.turns[0].system
        assert "Not this one." not in server.turns[0].system


def test_a_guide_that_is_none_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "outside.md").write_text("secret")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "AGENTS.md").symlink_to(tmp_path / "outside.md")
    (tree / "CLAUDE.md").write_text("x" * 200_000)
    assert _guides(tree) == []


async def test_long_results_are_cut_and_say_so(tmp_path: Path) -> None:
    script = from_steps(
        [
            ToolCall("shell", {"command": "seq 1 60000"}),
            ToolCall("shell", {"command": "yes 'a long line of a file' | head -n 30000 > big.txt"}),
            ToolCall("read_file", {"path": "big.txt"}),
            ToolCall("grep", {"pattern": "long"}),
            ToolCall("shell", {"command": "sleep 30", "timeout": 1}),
            "Done.",
        ]
    )
    async with ModelServer(script) as server, staged(tmp_path, server=server) as stage:
        await stage.run(await stage.claim())
        texts = [result.text for message in server.turns[-1].messages for result in message.results]
        assert max(map(len, texts)) < 70_000
        assert re.search(r"\[… [\d,]+ characters left out …\]", texts[0])
        assert texts[0].startswith("1\n")
        assert texts[0].endswith("60000\n[exit code 0]")
        assert "timed out and stopped" in texts[4]


@pytest.mark.parametrize("lines", [1200, 3500], ids=["results-cleared", "turns-summarised"])
async def test_a_tiny_window_is_kept_by_compaction_and_the_task_stays_in_it(tmp_path: Path, lines: int) -> None:
    window = 16_000
    longest = 0

    async def script(turn: Turn, conversation: Conversation) -> Reply:
        nonlocal longest
        del conversation
        if not turn.tools:
            return Reply(text="Summary: the files were looked at.")
        longest = max(longest, sum(len(m.text) + sum(len(r.text) for r in m.results) for m in turn.messages))
        done = len([record for record in server.requests if record.complete])
        if done >= 40:
            return Reply(text="Done.")
        if done == 25:
            return Reply(text="I think that this is it.")
        return Reply(tool_calls=(ToolCall("shell", {"command": f"echo {done} > done.txt; seq {done} {lines}"}),))

    profile = replace(PROFILE, context_window=window)
    async with ModelServer(script) as server, staged(tmp_path, server=server, profile=profile) as stage:
        claim = await stage.claim("Remember the marzipan.", checks=("test $(cat done.txt) -gt 30",))
        outcome, _ = await stage.run(claim)
        assert outcome.summary == "Done."
        assert longest < window * 4, "four characters are a token"
        assert "Remember the marzipan." in "\n".join(message.text for message in server.turns[-1].messages)

        assert any(not turn.tools for turn in server.turns) == (lines > 2000), "a summary is the dearer way"

        # The journal replays through the compaction as it was recorded: nothing is asked again.
        asked = len(server.requests)
        await stage.queue.release(claim, "the worker stops")
        again, _ = await stage.run(await stage.reclaim())
        assert again.summary == "Done."
        assert len(server.requests) == asked


async def test_keys_are_nowhere_but_in_the_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, PLANTED)
    caplog.set_level("DEBUG")
    script = from_steps(
        [
            ToolCall("shell", {"command": "env; cat /proc/self/environ /proc/1/environ /proc/$PPID/environ"}),
            ToolCall("shell", {"command": "echo fine"}),
            "Done.",
        ]
    )
    async with ModelServer(script) as server, staged(tmp_path, server=server) as stage:
        server.fail(Fault("rate_limit", step=1, retry_after=0.01, message=f"key {KEY} is over its limit"))
        server.fail(Fault("auth", step=2, message=f"Incorrect API key provided: {KEY}"))
        with pytest.raises(RunError) as caught:
            await stage.run(await stage.claim())
        assert server.requests[0].key == server.key_mark(KEY)
        shown = [result.text for turn in server.turns for message in turn.messages for result in message.results]
        assert any("exit code" in text for text in shown)
        stored = await stage.db.read(Sql("SELECT CAST(payload AS text) FROM journal").all)
        events = [event.model_dump_json() for event in await stage.events()]
        for secret in (KEY, PLANTED):
            assert not any(secret in text for text in shown), "the sandbox's environment"
            assert not any(secret in str(row) for row in stored), "the journal"
            assert not any(secret in event for event in events), "the events"
            assert secret not in caplog.text, "the log"
            assert secret not in str(caught.value), "the error"
    for file in tmp_path.rglob("*"):  # noqa: ASYNC240 - after the run
        if file.is_file():
            assert PLANTED.encode() not in file.read_bytes()
            assert KEY.encode() not in file.read_bytes()
