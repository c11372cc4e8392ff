"""A message reaches a running agent before its next model request, and its answer comes back in the conversation."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agents.stage import AGENT, staged
from tests.agents.test_steering import acting
from tests.chat.talk import Talk

from ezaigent.agents import Controls
from ezaigent.chat import AgentFacts
from ezaigent.core.errors import Drained
from ezaigent.testing import ModelServer, Reply, ToolCall, from_steps

STEPS = [
    ToolCall("list_files", {}),
    Reply(text="Tabs from now on.", tool_calls=(ToolCall("list_files", {"path": "."}),)),
    "All done.",
]


async def test_the_answer_of_a_running_agent_comes_back_everywhere(tmp_path: Path) -> None:
    async with ModelServer(from_steps(STEPS)) as server, staged(tmp_path, server=server) as stage:
        talk = Talk(stage.db)
        claim = await stage.claim()
        talk.door.present.append(AgentFacts(name=AGENT, profile="tester", status="active", task_id=claim.task.id))
        assert (await talk(f"tell {AGENT} to use tabs")).ok
        assert (await talk("and hurry", to=AGENT, by="bob")).ok
        await stage.run(claim)
        sent = "\n".join(message.text for message in server.turns[0].messages)
        assert "Message from ada, a person:\n\nuse tabs" in sent
        assert "Message from bob, a person:\n\nand hurry" in sent
        for conversation in ("fleet", AGENT):
            answers = [one for one in await talk.chat.history(conversation) if one.role == "agent"]
            assert [(one.author, one.text, one.task_id) for one in answers] == [
                (AGENT, "Tabs from now on.", claim.task.id)
            ]


async def test_an_answer_is_kept_once_when_the_run_is_taken_over(tmp_path: Path) -> None:
    controls = Controls()
    script = acting(from_steps(STEPS), 1, lambda: controls.drain(now=False))
    async with ModelServer(script) as server, staged(tmp_path, server=server) as stage:
        talk = Talk(stage.db)
        claim = await stage.claim()
        talk.door.present.append(AgentFacts(name=AGENT, profile="tester", status="active", task_id=claim.task.id))
        await talk("use tabs", to=AGENT)
        with pytest.raises(Drained):
            await stage.run(claim, controls=controls)
        await stage.queue.release(claim, "the worker stops")
        server.script = from_steps(STEPS)
        await stage.run(await stage.reclaim())
        answers = [one.text for one in await talk.chat.history(AGENT) if one.role == "agent"]
        assert answers == ["Tabs from now on."]
