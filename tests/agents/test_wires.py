"""Each provider's wire format, with everything that goes wrong on it, through a whole run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.agents.stage import PROFILE, staged

from ezaigent.agents import Profile
from ezaigent.core.errors import RunError
from ezaigent.store import Sql
from ezaigent.testing import Fault, ModelServer, Reply, ToolCall, Usage, from_steps

MODELS = {
    "openai": "openai:gpt-6.1-sol",
    "anthropic": "anthropic:claude-opus-5-5",
    "deepseek": "deepseek:deepseek-v4-pro",
    "mistral": "mistral:mistral-large-4",
    "google": "google:gemini-4-argon",
}
APIS = {"openai": "chat", "anthropic": "messages", "deepseek": "chat", "mistral": "mistral", "google": "generate"}
STEPS = [
    ToolCall("write_file", {"path": "a.txt", "content": "one\n"}),
    (ToolCall("read_file", {"path": "a.txt"}), ToolCall("shell", {"command": "cat a.txt"})),
    "Finished.",
]


def agent_of(provider: str, *fallbacks: str) -> Profile:
    return replace(PROFILE, model=MODELS[provider], fallbacks=fallbacks)


@pytest.mark.parametrize("provider", MODELS)
async def test_a_run_gets_over_everything_that_passes(tmp_path: Path, provider: str) -> None:
    usage = Usage(input_tokens=1_000, output_tokens=100, cache_read_tokens=400)
    steps = [*STEPS[:-1], Reply("Finished.", usage=usage)]
    async with (
        ModelServer(from_steps(steps)) as server,
        staged(tmp_path, server=server, profile=agent_of(provider)) as stage,
    ):
        server.fail(
            Fault("rate_limit", step=0, retry_after=0.05),
            Fault("wrong_tool", step=0),
            Fault("bad_arguments", step=1),
            Fault("cut_stream", step=2),
        )
        claim = await stage.claim(checks=("grep one a.txt",))
        # A wrong call is an assistant turn of its own, which takes up a step of the script.
        server.script = from_steps([steps[0], steps[0], *steps])
        outcome, tree = await stage.run(claim)

        assert outcome.summary == "Finished."
        assert (tree.path / "a.txt").read_text() == "one\n"
        assert {record.api for record in server.requests} == {APIS[provider]}
        assert {record.fault for record in server.requests} == {
            None,
            "rate_limit",
            "wrong_tool",
            "bad_arguments",
            "cut_stream",
        }
        assert server.repeated() == {}, "a finished answer was asked for again"
        kinds = [event.data["kind"] for event in await stage.events("run.provider_error")]
        assert kinds == ["rate_limit", "transient"]
        rows = await stage.db.read(Sql("SELECT outcome, input_tokens, cache_read_tokens FROM usage ORDER BY id").all)
        assert [row[0] for row in rows].count("lost") == 1, "the cut answer may have been billed"
        assert tuple(rows[-1]) == ("ok", 1_000, 400)


@pytest.mark.parametrize("provider", MODELS)
async def test_an_empty_account_hands_the_whole_history_to_the_next_provider(tmp_path: Path, provider: str) -> None:
    other = "anthropic" if provider != "anthropic" else "openai"
    profile = agent_of(provider, MODELS[other])
    async with (
        ModelServer(from_steps(STEPS)) as server,
        staged(tmp_path, server=server, profile=profile) as stage,
    ):
        server.fail(Fault("billing", provider=provider, step=1))
        outcome, _ = await stage.run(await stage.claim("Write one file, please."))

        assert outcome.summary == "Finished."
        assert [record.provider for record in server.requests] == [provider, provider, other, other]
        assert len([record for record in server.requests if record.complete]) == len(STEPS)
        moved = server.turns[2].messages
        assert "Write one file, please." in moved[0].text
        assert [call.name for message in moved for call in message.calls] == ["write_file"]
        assert [result.name for message in moved for result in message.results] in (["write_file"], [""])
        [event] = await stage.events("run.failover")
        assert (event.data["from"], event.data["to"]) == (MODELS[provider], MODELS[other])


@pytest.mark.parametrize("provider", MODELS)
async def test_a_request_that_is_refused_ends_the_task_in_one_line(tmp_path: Path, provider: str) -> None:
    async with (
        ModelServer(from_steps(STEPS)) as server,
        staged(tmp_path, server=server, profile=agent_of(provider)) as stage,
    ):
        server.fail(Fault("bad_request", step=1, message="this cannot be"))
        claim = await stage.claim()
        with pytest.raises(RunError, match="it refused the request") as caught:
            await stage.run(claim)
        assert not caught.value.retryable
        assert "this cannot be" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert await stage.runtime.checkpoint(claim) is not None, "its work is kept"


async def test_an_answer_blocked_by_a_filter_says_so(tmp_path: Path) -> None:
    async with (
        ModelServer(from_steps([Reply(finish="content_filter")])) as server,
        staged(tmp_path, server=server) as stage,
    ):
        with pytest.raises(RunError, match="the provider's filter blocked the answer"):
            await stage.run(await stage.claim())


async def test_answers_that_are_never_usable_end_the_run(tmp_path: Path) -> None:
    async with ModelServer(from_steps(["x"])) as server, staged(tmp_path, server=server) as stage:
        server.fail(Fault("empty", times=None))
        with pytest.raises(RunError, match="the model's answers could not be used"):
            await stage.run(await stage.claim())
        assert len(server.requests) < 10
