"""What goes wrong on demand, as each provider's own client and pydantic-ai see it."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest
from pydantic_ai import Agent
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelAuthenticationError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelOverloadedError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelServerError,
    ModelUnavailableError,
    UnexpectedModelBehavior,
)
from tests.testing.providers import Serve, model_for

from ezaigent.core.errors import UsageError
from ezaigent.testing import FAULTS, Fault, FaultKind, Reply, ToolCall, from_steps

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])

REFUSALS: Final[dict[FaultKind, type[ModelAPIError]]] = {
    "rate_limit": ModelRateLimitError,
    "quota": ModelQuotaExceededError,
    "billing": ModelQuotaExceededError,
    "auth": ModelAuthenticationError,
    "not_found": ModelNotFoundError,
    "bad_request": ModelRequestRejectedError,
    "context_length": ModelContextWindowExceededError,
    "overloaded": ModelOverloadedError,
    "server_error": ModelServerError,
}


async def ask(agent: Agent[None, str], *, stream: bool) -> str:
    if not stream:
        return (await agent.run("Go.")).output
    async with agent.run_stream("Go.") as streamed:
        return await streamed.get_output()


@STREAM
@pytest.mark.parametrize("kind", REFUSALS)
async def test_a_refusal_is_understood_by_the_client(api: str, kind: FaultKind, serve: Serve, *, stream: bool) -> None:
    server = await serve(from_steps(["Fine."]))
    server.fail(Fault(kind, retry_after=7))
    expected = REFUSALS[kind]
    if (api, kind) in {("anthropic", "quota"), ("deepseek", "not_found")}:
        # Told as a plain bad request: only the message says what it is.
        expected = ModelRequestRejectedError
    if (api, kind) == ("mistral", "overloaded"):
        expected = ModelUnavailableError
    async with model_for(api, server) as model:
        with pytest.raises(ModelHTTPError) as caught:
            await ask(Agent(model), stream=stream)
        assert isinstance(caught.value, expected)
        finer = [kind for kind in set(REFUSALS.values()) if kind is not expected and issubclass(kind, expected)]
        assert not isinstance(caught.value, tuple(finer))
        assert await ask(Agent(model), stream=stream) == "Fine."
    first, second = server.requests
    assert (first.outcome, first.fault, second.outcome) == ("faulted", kind, "finished")
    assert server.repeated() == {}


async def test_retry_after_reaches_the_client(api: str, serve: Serve) -> None:
    server = await serve(from_steps(["Fine."]))
    server.fail(Fault("rate_limit", retry_after=7))
    async with model_for(api, server) as model:
        with pytest.raises(ModelRateLimitError) as caught:
            await Agent(model).run("Go.")
    assert caught.value.retry_after == 7


@STREAM
async def test_a_broken_connection_is_an_error_and_not_a_reply(api: str, serve: Serve, *, stream: bool) -> None:
    server = await serve(from_steps([Reply(text="A long answer. " * 50)]))
    server.fail(Fault("cut_stream"))
    async with model_for(api, server) as model:
        with pytest.raises((ModelAPIError, UnexpectedModelBehavior)):
            await ask(Agent(model), stream=stream)
    (record,) = server.requests
    assert (record.outcome, record.complete, record.fault) == ("cut", False, "cut_stream")


@STREAM
async def test_broken_json_is_an_error(api: str, serve: Serve, *, stream: bool) -> None:
    server = await serve(from_steps([Reply(text="A long answer. " * 50)]))
    server.fail(Fault("malformed_json"))
    async with model_for(api, server) as model:
        with pytest.raises((ModelAPIError, UnexpectedModelBehavior, ValueError)):
            await ask(Agent(model), stream=stream)
    assert server.requests[0].outcome == "faulted"


async def test_an_overload_in_mid_stream_is_an_error(api: str, serve: Serve) -> None:
    server = await serve(from_steps([Reply(text="A long answer. " * 50)]))
    server.fail(Fault("stream_error"))
    async with model_for(api, server) as model:
        with pytest.raises((ModelAPIError, UnexpectedModelBehavior, ValueError)):
            await ask(Agent(model), stream=True)
    assert server.requests[0].outcome == "faulted"


async def test_a_stream_may_end_in_order_without_its_end(api: str, serve: Serve) -> None:
    text = "A long answer. " * 50
    server = await serve(from_steps([Reply(text=text)]))
    server.fail(Fault("truncated_stream"))
    async with model_for(api, server) as model:
        try:
            got = await ask(Agent(model), stream=True)
        except (ModelAPIError, UnexpectedModelBehavior):
            got = ""
    assert got != text
    assert text.startswith(got)
    assert server.requests[0].outcome == "faulted"


@STREAM
async def test_a_wrong_tool_name_comes_back_as_a_retry(api: str, serve: Serve, *, stream: bool) -> None:
    server = await serve(from_steps([ToolCall("look", {}), "Fine."]))
    server.fail(Fault("wrong_tool"))
    async with model_for(api, server) as model:
        agent = Agent(model)

        @agent.tool_plain
        def look() -> str:
            """Look around."""
            return "nothing"

        assert await ask(agent, stream=stream) == "Fine."
    assert server.turns[1].messages[1].calls[0].name == "no_such_tool"
    assert "no_such_tool" in server.turns[1].messages[2].results[0].text
    assert server.requests[0].complete


@STREAM
async def test_broken_arguments_come_back_as_a_retry(api: str, serve: Serve, *, stream: bool) -> None:
    server = await serve(from_steps([ToolCall("look", {"path": "a.py"}), "Fine."]))
    server.fail(Fault("bad_arguments"))
    seen: list[str] = []
    async with model_for(api, server) as model:
        agent = Agent(model)

        @agent.tool_plain
        def look(path: str) -> str:
            """Look at a file."""
            seen.append(path)
            return "nothing"

        assert await ask(agent, stream=stream) == "Fine."
    assert seen == []


@STREAM
async def test_an_empty_reply_is_complete(api: str, serve: Serve, *, stream: bool) -> None:
    server = await serve(from_steps(["Fine."]))
    server.fail(Fault("empty", times=None))
    async with model_for(api, server) as model:
        with pytest.raises((UnexpectedModelBehavior, ModelAPIError)):
            await ask(Agent(model), stream=stream)
    assert server.requests[0].complete


async def test_a_hanging_request_goes_on_when_released(api: str, serve: Serve) -> None:
    server = await serve(from_steps(["Fine."]))
    server.fail(Fault("hang"))
    async with model_for(api, server) as model:
        run = asyncio.create_task(Agent(model).run("Go."))
        await server.wait_until(lambda records: any(r.fault == "hang" for r in records))
        assert not run.done()
        server.release()
        assert (await run).output == "Fine."
    assert server.requests[0].complete


async def test_a_client_that_gives_up_has_no_reply(api: str, serve: Serve) -> None:
    server = await serve(from_steps(["Fine."]))
    server.fail(Fault("hang"))
    async with model_for(api, server) as model:
        run = asyncio.create_task(Agent(model).run("Go."))
        await server.wait_until(lambda records: any(r.fault == "hang" for r in records))
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await server.wait_until(lambda records: records[0].outcome == "cut")
        assert (await Agent(model).run("Go.")).output == "Fine."
    assert [record.complete for record in server.requests] == [False, True]
    assert server.repeated() == {}


async def test_a_slow_first_byte_still_arrives(serve: Serve) -> None:
    server = await serve(from_steps(["Fine."]))
    server.fail(Fault("slow_first_byte", seconds=0.2))
    async with model_for("anthropic", server) as model:
        assert (await Agent(model).run("Go.")).output == "Fine."
    assert server.requests[0].seconds >= 0.2


async def test_a_fault_meets_only_what_it_was_planned_for(serve: Serve) -> None:
    server = await serve(from_steps([ToolCall("look", {}), "Fine."]))
    server.fail(
        Fault("server_error", provider="anthropic", times=None),
        Fault("server_error", model="gpt-*", step=1),
        Fault("server_error", containing="another prompt"),
        Fault("server_error", provider="mistral", skip=1),
    )

    async def outcome(api: str) -> str:
        async with model_for(api, server) as model:
            agent = Agent(model)

            @agent.tool_plain
            def look() -> str:
                """Look around."""
                return "nothing"

            try:
                return (await agent.run("Go.")).output
            except ModelServerError:
                return f"failed at {server.requests[-1].step}"

    assert await outcome("anthropic") == "failed at 0"
    assert await outcome("openai-chat") == "failed at 1"
    assert await outcome("openai-chat") == "Fine."
    assert await outcome("google") == "Fine."
    assert await outcome("mistral") == "failed at 1"
    assert [fault.hits for fault in server.faults] == [1, 1, 0, 1]
    server.clear_faults()
    assert await outcome("anthropic") == "Fine."


async def test_a_script_may_fail_once(serve: Serve) -> None:
    server = await serve(from_steps([Reply(text="Fine.", fault=Fault("overloaded"))]))
    async with model_for("openai-responses", server) as model:
        with pytest.raises(ModelOverloadedError):
            await Agent(model).run("Go.")
        assert (await Agent(model).run("Go.")).output == "Fine."


async def test_status_and_message_can_be_chosen(serve: Serve) -> None:
    server = await serve(from_steps(["Fine."]))
    server.fail(Fault("overloaded", status=504, message="The gateway is tired."))
    async with model_for("anthropic", server) as model:
        with pytest.raises(ModelHTTPError, match="The gateway is tired") as caught:
            await Agent(model).run("Go.")
    assert caught.value.status_code == 504


def test_every_fault_is_described() -> None:
    assert set(REFUSALS) < set(FAULTS)
    assert all(len(text) > 10 for text in FAULTS.values())


@pytest.mark.parametrize("value", [3, {"kind": "explosion"}, {"kind": "hang", "color": "red"}])
def test_a_wrong_fault_is_refused_by_name(value: object) -> None:
    with pytest.raises(UsageError, match="fault"):
        Fault.from_json(value)
