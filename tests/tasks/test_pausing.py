"""Who is held by which word: all, a pool, one agent; the most particular one that was said last."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tasks.desk import Desk

from ezaigent.core.errors import UsageError
from ezaigent.tasks import EVERYONE, Pauses, Slot

AGENTS = ("claude-1", "claude-2", "gpt-1")
TARGETS = (EVERYONE, "claude", "gpt", *AGENTS)


def means(target: str, agent: str) -> bool:
    return target in (EVERYONE, agent, agent.rpartition("-")[0])


async def test_a_paused_agent_claims_nothing_until_it_is_resumed(desk: Desk) -> None:
    await desk.task()
    await desk.queue.pause("claude-1", by="ann")
    await desk.queue.pause("claude-1", by="bob")
    assert "claude-1" in await desk.queue.pauses()
    assert await desk.claim_all(1) == []
    assert [claim.agent for claim in await desk.claim_all(2)] == ["claude-2"]
    await desk.queue.resume("claude-1", by="ann")
    await desk.queue.resume("claude-1", by="ann")
    assert await desk.queue.pauses() == Pauses()
    await desk.task()
    assert (await desk.claim()).agent == "claude-1"
    said = [(event.kind, event.agent, event.data) for event in await desk.events() if event.kind.startswith("agent.")]
    data = {"target": "claude-1", "by": "ann"}
    assert said == [("agent.paused", "claude-1", data), ("agent.resumed", "claude-1", data)]


async def test_a_paused_pool_holds_agents_that_were_never_heard_of(desk: Desk) -> None:
    await desk.task()
    await desk.queue.pause("claude", by="ann")
    assert await desk.claim_all(9) == []
    gpt = Slot(agent="gpt-1", profile="gpt")
    assert len(await desk.queue.claim("w", [gpt])) == 1
    assert [event.agent for event in await desk.events() if event.kind == "agent.paused"] == [None]


async def test_one_agent_is_resumed_out_of_a_paused_fleet(desk: Desk) -> None:
    for _ in range(3):
        await desk.task()
    await desk.queue.pause(EVERYONE, by="ann")
    await desk.queue.resume("claude-2", by="ann")
    assert [claim.agent for claim in await desk.claim_all(3)] == ["claude-2"]
    await desk.queue.resume(EVERYONE, by="ann")
    assert len(await desk.claim_all(1)) == 1
    assert await desk.queue.pauses() == Pauses()


async def test_a_word_about_a_pool_takes_back_those_about_its_agents(desk: Desk) -> None:
    await desk.queue.pause("claude-1", by="ann")
    await desk.queue.pause("gpt-1", by="ann")
    await desk.queue.pause("claude", by="ann")
    await desk.queue.resume("claude", by="ann")
    held = await desk.queue.pauses()
    assert ("claude-1" in held, "gpt-1" in held) == (False, True)
    assert held.named() == {"gpt-1"}


async def test_nobody_is_no_target(desk: Desk) -> None:
    with pytest.raises(UsageError, match="nobody is named"):
        await desk.queue.pause("", by="ann")


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(TARGETS)), max_size=8))
def test_whatever_was_said_before_the_last_word_about_an_agent_holds(words: list[tuple[bool, str]]) -> None:
    held = Pauses()
    expected = dict.fromkeys(AGENTS, False)
    for pause, target in words:
        held = held.paused(target) if pause else held.resumed(target)
        expected |= {agent: pause for agent in AGENTS if means(target, agent)}
    assert {agent: agent in held for agent in AGENTS} == expected
