"""Real agents, each provider's own client, plain and streaming: text, tools, usage."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelRequest, ModelResponse, ThinkingPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.usage import RequestUsage
from tests.testing.providers import APIS, KEY, Serve, model_for

from ezaigent.testing import Reply, ToolCall, Usage, from_steps

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


async def ask(agent: Agent[None, str], prompt: str, *, stream: bool) -> tuple[str, list[Any]]:
    if not stream:
        result = await agent.run(prompt)
        return result.output, result.all_messages()
    async with agent.run_stream(prompt) as streamed:
        output = await streamed.get_output()
    return output, streamed.all_messages()


@STREAM
async def test_text_arrives_whole(api: str, serve: Serve, *, stream: bool) -> None:
    text = "Grüße, 世界! " * 20 + "end"
    server = await serve(from_steps([text]))
    async with model_for(api, server) as model:
        output, _ = await ask(Agent(model, system_prompt="Be brief."), "Say hello.", stream=stream)
    assert output == text
    (turn,) = server.turns
    assert turn.system == "Be brief."
    assert [(m.role, m.text) for m in turn.messages] == [("user", "Say hello.")]
    (record,) = server.requests
    assert record.complete
    assert record.stream is stream
    assert record.key == server.key_mark(KEY)


@STREAM
async def test_parallel_tool_calls_come_back_with_their_results(api: str, serve: Serve, *, stream: bool) -> None:
    steps = [
        Reply(
            text="Both at once.",
            tool_calls=(ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 30, "b": 4})),
        ),
        ToolCall("shout", {"text": "3 and 34"}),
        "3 and 34, loudly.",
    ]
    server = await serve(from_steps(steps))
    async with model_for(api, server) as model:
        agent = Agent(model)

        @agent.tool_plain
        def add(a: int, b: int) -> int:
            """Add two numbers."""
            return a + b

        @agent.tool_plain
        def shout(text: str) -> str:
            """Say it loudly."""
            return text.upper()

        if stream:
            # run_stream would take the text beside the first calls for the answer.
            async with agent.iter("Compute.") as run:
                async for node in run:
                    if agent.is_model_request_node(node):
                        async with node.stream(run.ctx) as events:
                            async for _ in events:
                                pass
            assert run.result is not None
            output = run.result.output
        else:
            output = (await agent.run("Compute.")).output
    assert output == "3 and 34, loudly."
    last = server.turns[-1]
    assert {tool.name: sorted(tool.schema["properties"]) for tool in last.tools} == {
        "add": ["a", "b"],
        "shout": ["text"],
    }
    assert [message.role for message in last.messages] == ["user", "assistant", "user", "assistant", "user"]
    assert [call.arguments for call in last.messages[1].calls] == [{"a": 1, "b": 2}, {"a": 30, "b": 4}]
    assert last.messages[1].text == "Both at once."
    assert [(r.name, r.text) for r in last.messages[2].results] == [("add", "3"), ("add", "34")]
    assert [(r.name, r.text) for r in last.messages[4].results] == [("shout", "3 AND 34")]
    assert [record.step for record in server.requests] == [0, 1, 2]
    assert all(record.stream is stream for record in server.requests)
    assert server.repeated() == {}


def last_usage(messages: list[Any]) -> RequestUsage:
    return next(m.usage for m in reversed(messages) if isinstance(m, ModelResponse))


@STREAM
async def test_usage_is_told_in_the_providers_own_fields(api: str, serve: Serve, *, stream: bool) -> None:
    told = Usage(input_tokens=5000, output_tokens=700, cache_read_tokens=2048, reasoning_tokens=100)
    server = await serve(from_steps([Reply(text="Counted.", usage=told)]))
    async with model_for(api, server) as model:
        _, messages = await ask(Agent(model), "Count.", stream=stream)
    usage = last_usage(messages)
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (5000, 700, 2048)
    assert usage.output_reasoning_tokens == 100


@STREAM
async def test_anthropic_tells_cache_writes_by_lifetime(serve: Serve, *, stream: bool) -> None:
    told = Usage(
        input_tokens=9000,
        output_tokens=10,
        cache_read_tokens=4000,
        cache_write_5m_tokens=3000,
        cache_write_1h_tokens=1000,
    )
    server = await serve(from_steps([Reply(text="Counted.", usage=told)]))
    async with model_for("anthropic", server) as model:
        _, messages = await ask(Agent(model), "Count.", stream=stream)
    usage = last_usage(messages)
    assert (usage.input_tokens, usage.cache_read_tokens, usage.cache_write_tokens) == (9000, 4000, 4000)
    assert usage.cache_write_1h_tokens == 1000


@STREAM
async def test_reasoning_reaches_the_client_where_the_wire_has_it(api: str, serve: Serve, *, stream: bool) -> None:
    server = await serve(from_steps([Reply(text="Answer.", reasoning="First I weigh both sides of it.")]))
    async with model_for(api, server) as model:
        output, messages = await ask(Agent(model), "Think.", stream=stream)
    thoughts = [part.content for m in messages for part in m.parts if isinstance(part, ThinkingPart)]
    assert output == "Answer."
    assert thoughts == ([] if api == "openai-chat" else ["First I weigh both sides of it."])


async def test_the_cache_fills_as_the_conversation_grows(api: str, serve: Serve) -> None:
    server = await serve(from_steps([ToolCall("look", {}), "Seen."]))
    async with model_for(api, server) as model:
        agent = Agent(model, system_prompt="x" * 8000)

        @agent.tool_plain
        def look() -> str:
            """Look around."""
            return "y" * 4000

        messages = (await agent.run("Look.")).all_messages()
    first, second = (m.usage for m in messages if isinstance(m, ModelResponse))
    assert first.cache_read_tokens == 0
    assert second.input_tokens > first.input_tokens + 1000
    # Anthropic caches what is marked; nothing was.
    assert second.cache_read_tokens == (0 if api == "anthropic" else first.input_tokens // 128 * 128)


async def test_anthropic_writes_the_cache_where_it_is_marked(serve: Serve) -> None:
    server = await serve(from_steps([ToolCall("look", {}), "Seen."]))
    async with model_for("anthropic", server) as model:
        settings: Any = {"anthropic_cache_instructions": "1h", "anthropic_cache_messages": True}
        agent = Agent(model, instructions="x" * 8000, model_settings=settings)

        @agent.tool_plain
        def look() -> str:
            """Look around."""
            return "y" * 4000

        messages = (await agent.run("Look.")).all_messages()
    first, second = (m.usage for m in messages if isinstance(m, ModelResponse))
    assert first.cache_write_tokens == first.input_tokens
    assert second.cache_read_tokens == first.input_tokens
    assert second.cache_write_1h_tokens == second.input_tokens - first.input_tokens


async def test_the_same_conversation_has_the_same_hash_on_every_wire(serve: Serve) -> None:
    server = await serve(from_steps(["Hello."]))
    for name in APIS:
        async with model_for(name, server) as model:
            await Agent(model, system_prompt=f"You run on {name}.").run("One and the same.")
    assert len({record.conversation for record in server.requests}) == 1
    ((_, repeated),) = server.repeated().items()
    assert [record.number for record in repeated] == [1, 2, 3, 4, 5, 6]


async def test_tokens_can_be_counted_before_a_call(serve: Serve) -> None:
    server = await serve(from_steps(["Hello."]))
    for name in ("anthropic", "google"):
        async with model_for(name, server) as model:
            usage = await model.count_tokens([ModelRequest.user_text_prompt("a" * 400)], None, ModelRequestParameters())
        assert usage.input_tokens == 4 + 4 + 100
    assert server.requests == []
