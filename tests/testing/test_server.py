"""The server itself: what it counts, what it refuses, its control endpoints, its own process."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelRateLimitError, ModelServerError
from tests.testing.providers import KEY, Serve, model_for

from ezaigent.core.errors import UnavailableError
from ezaigent.testing import Conversation, Limits, ModelServer, Reply, Turn, echo_tools, from_steps, key_mark
from ezaigent.testing.__main__ import main
from ezaigent.testing.limits import RateLimiter


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def chat(prompt: str, **more: Any) -> dict[str, Any]:
    return {"model": "some-model", "messages": [{"role": "user", "content": prompt}], **more}


async def post(http: aiohttp.ClientSession, url: str, body: Any, key: str = KEY) -> tuple[int, Any, dict[str, str]]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with http.post(url, json=body, headers=headers) as response:
        return response.status, await response.json(), {k.lower(): v for k, v in response.headers.items()}


async def test_any_provider_name_speaks_chat_completions(serve: Serve, http: aiohttp.ClientSession) -> None:
    server = await serve(from_steps(["Hello."]))
    status, body, _ = await post(http, server.base_url("my-gateway") + "/chat/completions", chat("Hi."))
    assert (status, body["choices"][0]["message"]["content"]) == (200, "Hello.")
    assert server.requests[0].provider == "my-gateway"


async def test_a_request_without_a_key_is_refused_and_no_key_is_kept(serve: Serve, http: aiohttp.ClientSession) -> None:
    server = await serve(from_steps(["Hello."]))
    status, _, _ = await post(http, server.base_url("openai") + "/chat/completions", chat("Hi."), key="")
    assert status == 401
    await post(http, server.base_url("openai") + "/chat/completions", chat("Hi."))
    refused, served = server.requests
    assert (refused.fault, refused.key, served.key) == ("no_key", None, key_mark(KEY, server.ledger.salt))
    assert KEY not in repr(server.requests) + repr(server.turns)


@pytest.mark.parametrize(
    ("provider", "path", "header"),
    [
        ("anthropic", "/v1/messages", "x-api-key"),
        ("google", "/v1beta/models/gemini:generateContent", "x-goog-api-key"),
        ("google", "/v1beta/models/gemini:generateContent?key=" + KEY, ""),
    ],
)
async def test_the_key_is_found_where_each_provider_puts_it(
    provider: str, path: str, header: str, serve: Serve, http: aiohttp.ClientSession
) -> None:
    server = await serve(from_steps(["Hello."]))
    headers = {header: KEY} if header else {}
    async with http.post(server.base_url(provider) + path, json=chat("Hi."), headers=headers) as response:
        assert response.status == 200
    assert server.requests[0].key == server.key_mark(KEY)


async def test_nonsense_is_answered_with_the_providers_bad_request(serve: Serve, http: aiohttp.ClientSession) -> None:
    server = await serve(from_steps(["Hello."]))
    async with http.post(server.base_url("anthropic") + "/v1/messages", data=b"{not json") as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"
    async with http.get(server.url + "/openai/v1/chat/completions") as response:
        assert response.status == 404
    async with http.post(server.url + "/openai/v1/embeddings", json={}) as response:
        assert response.status == 404
    assert server.requests == []


async def test_a_long_conversation_is_taken(serve: Serve, http: aiohttp.ClientSession) -> None:
    server = await serve(from_steps(["Hello."]))
    body = io.BytesIO(orjson.dumps(chat("x" * 3_000_000)))
    headers = {"authorization": f"Bearer {KEY}"}
    async with http.post(server.base_url("openai") + "/chat/completions", data=body, headers=headers) as response:
        assert (await response.json())["usage"]["prompt_tokens"] == 750_008


async def test_what_was_completed_twice_is_told(serve: Serve, http: aiohttp.ClientSession) -> None:
    server = await serve(from_steps(["Hello."]))
    url = server.base_url("openai") + "/chat/completions"
    for prompt in ("one", "two", "one"):
        await post(http, url, chat(prompt))
    ((key, records),) = server.repeated().items()
    assert [record.number for record in records] == [1, 3]
    assert key == server.requests[0].conversation != server.requests[1].conversation


async def test_a_broken_script_surfaces_when_the_server_ends(http: aiohttp.ClientSession) -> None:
    async def broken(turn: Turn, conversation: Conversation) -> Reply:
        raise LookupError(f"{turn.model} {conversation.replies}")

    with pytest.RaisesGroup(LookupError):
        async with ModelServer(broken) as server:
            status, _, _ = await post(http, server.base_url("openai") + "/chat/completions", chat("Hi."))
            assert status == 500
            assert server.requests[0].fault == "script"


async def test_a_taken_port_is_told(serve: Serve) -> None:
    server = await serve(from_steps(["Hello."]))
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(UnavailableError, match=f"cannot listen on 127.0.0.1:{port}"):
        await ModelServer(from_steps(["Hello."]), port=port).start()


async def test_waiting_for_records_has_an_end(serve: Serve) -> None:
    server = await serve(from_steps(["Hello."]))
    with pytest.raises(TimeoutError):
        await server.wait_until(bool, timeout=0.01)


async def test_latency_and_chunk_delay(serve: Serve) -> None:
    server = await serve(from_steps([Reply(text="Word by word by word by word.")]), latency=0.1, chunk_delay=0.02)
    async with model_for("openai-chat", server) as model, Agent(model).run_stream("Go.") as streamed:
        assert await streamed.get_output() == "Word by word by word by word."
    assert server.requests[0].seconds >= 0.2


async def test_requests_beyond_the_limit_wait_as_told(api: str, serve: Serve) -> None:
    server = await serve(from_steps(["Hello."]))
    server.limit(Limits(requests=2, window=3600), model="*")
    async with model_for(api, server) as model:
        agent = Agent(model)
        await agent.run("one")
        await agent.run("two")
        with pytest.raises(ModelRateLimitError) as caught:
            await agent.run("three")
        assert caught.value.retry_after is not None
        assert 1700 < caught.value.retry_after <= 1800
        server.limiter.clear()
        await agent.run("three")
    assert [record.outcome for record in server.requests] == ["finished", "finished", "faulted", "finished"]


async def test_limits_are_told_in_each_providers_headers(serve: Serve, http: aiohttp.ClientSession) -> None:
    server = await serve(from_steps(["Hello."]))
    server.limit(Limits(requests=100, tokens=10_000))
    server.limit(Limits(), provider="free")
    _, _, openai = await post(http, server.base_url("openai") + "/chat/completions", chat("x" * 4000))
    assert openai["x-ratelimit-limit-requests"] == "100"
    assert openai["x-ratelimit-remaining-requests"] == "99"
    assert int(openai["x-ratelimit-remaining-tokens"]) == 10_000 - 1008
    assert 5 < float(openai["x-ratelimit-reset-tokens"].removesuffix("s")) < 7
    _, _, anthropic = await post(http, server.base_url("anthropic") + "/v1/messages", chat("x" * 4000))
    assert anthropic["anthropic-ratelimit-requests-remaining"] == "99"
    assert anthropic["anthropic-ratelimit-tokens-reset"].endswith("Z")
    _, _, mistral = await post(http, server.base_url("mistral") + "/v1/chat/completions", chat("x" * 4000))
    assert mistral["x-ratelimit-remaining-tokens-minute"] == str(10_000 - 1008)
    assert mistral["x-ratelimit-tokens-query-cost"] == "1008"
    for name in ("deepseek", "free"):
        _, _, headers = await post(http, server.base_url(name) + "/chat/completions", chat("Hi."))
        assert not any("ratelimit" in header for header in headers)


async def test_a_token_limit_refills(http: aiohttp.ClientSession) -> None:
    now = 100.0
    async with ModelServer(from_steps(["Hello."])) as server:
        server.limiter = RateLimiter(lambda: now)
        server.limit(Limits(tokens=1000))
        url = server.base_url("openai") + "/chat/completions"
        assert (await post(http, url, chat("x" * 3600)))[0] == 200
        status, _, headers = await post(http, url, chat("x" * 3600))
        assert (status, headers["retry-after"]) == (429, "49")
        assert headers["x-ratelimit-remaining-tokens"] == "92"
        now += 49
        assert (await post(http, url, chat("x" * 3600)))[0] == 200
        now += 60
        assert (await post(http, url, chat("x" * 360_000)))[0] == 200, (
            "more than the bucket holds passes when it is full"
        )


async def test_the_control_endpoints(serve: Serve, http: aiohttp.ClientSession) -> None:
    server = await serve(from_steps(["Hello."]))
    control = server.url + "/control"

    async def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async with http.request(method, f"{control}/{path}", json=body) as response:
            return response.status, await response.json()

    assert (await call("POST", "faults", {"kind": "server_error"}))[1]["planned"] == 1
    assert (await call("POST", "faults", [{"kind": "hang", "step": 7}]))[1]["planned"] == 2
    assert [fault["kind"] for fault in (await call("GET", "faults"))[1]["items"]] == ["server_error", "hang"]
    async with model_for("openai-chat", server) as model:
        with pytest.raises(ModelServerError):
            await Agent(model).run("Go.")
        await Agent(model).run("Go.")
        await Agent(model).run("Go.")
    _, health = await call("GET", "health")
    assert health == {"ok": True, "salt": server.ledger.salt, "requests": 3}
    _, requests = await call("GET", "requests?after=1")
    assert [(r["number"], r["outcome"], r["complete"]) for r in requests["items"]] == [
        (2, "finished", True),
        (3, "finished", True),
    ]
    assert list((await call("GET", "repeated"))[1]["items"].values()) == [[2, 3]]
    assert (await call("DELETE", "faults"))[0] == 200
    assert (await call("POST", "release"))[0] == 200
    assert server.faults == []
    assert (await call("POST", "settings", {"latency": 0.5}))[1]["latency"] == 0.5
    assert server.latency == 0.5
    assert (await call("POST", "limits", {"requests": 1, "provider": "openai"}))[0] == 200
    assert (await call("DELETE", "requests"))[0] == 200
    assert server.requests == []
    assert (await call("POST", "faults", {"kind": "explosion"}))[0] == 400
    assert (await call("POST", "settings", [1]))[0] == 400
    assert (await call("POST", "limits", {"colour": 1}))[0] == 400
    assert (await call("GET", "secrets"))[0] == 404


@asynccontextmanager
async def process(*arguments: str) -> AsyncGenerator[tuple[asyncio.subprocess.Process, str]]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ezaigent.testing", *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        line = (await child.stdout.readline()).decode()
        assert line.startswith("listening on http://127.0.0.1:")
        yield child, line.split()[-1]
    finally:
        if child.returncode is None:
            os.kill(child.pid, signal.SIGKILL)
        await child.wait()


async def test_a_process_of_its_own_serves_until_sigterm(http: aiohttp.ClientSession) -> None:
    steps = '{"steps": [{"tool": "look", "arguments": {"at": 1}}, {"text": "Seen.", "usage": {"output_tokens": 9}}]}'
    async with process("--script", "from_steps", "--options", steps) as (child, url):
        body = chat("Hi.")
        status, answer, _ = await post(http, url + "/openai/v1/chat/completions", body)
        message = answer["choices"][0]["message"]
        assert (status, message["tool_calls"][0]["function"]["arguments"]) == (200, '{"at":1}')
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "a tree"}
        body["messages"] += [message, result]
        _, answer, _ = await post(http, url + "/openai/v1/chat/completions", body)
        assert answer["choices"][0]["message"]["content"] == "Seen."
        assert answer["usage"]["completion_tokens"] == 9
        # A request that hangs must not keep the process alive.
        await post(http, url + "/control/faults", {"kind": "hang"})
        hanging = asyncio.create_task(post(http, url + "/openai/v1/chat/completions", chat("Hang.")))
        while len((await (await http.get(url + "/control/requests")).json())["items"]) < 3:
            assert not hanging.done()
        os.kill(child.pid, signal.SIGTERM)
        assert await child.wait() == 0
        with pytest.raises(aiohttp.ClientError):
            await hanging


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--script", "echo_tools", "--options", "[]"], "must be a JSON object"),
        (["--script", "echo_tools", "--options", "{"], "unexpected end"),
        (["--script", "echo_tools", "--options", '{"colour": 1}'], "colour"),
        (["--script", "from_steps", "--options", '{"steps": [3]}'], "a step must be"),
        (["--script", "from_steps"], "at least one step"),
    ],
)
def test_wrong_usage_is_told_in_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_taken_port_ends_the_process_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--port", str(taken.getsockname()[1])]) == 3
    assert "cannot listen" in capsys.readouterr().err


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_ctrl_c_ends_it_in_order(
    loop: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if loop == "asyncio":
        # As on a system that has no uvloop.
        monkeypatch.setitem(sys.modules, "uvloop", None)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def interrupt() -> None:
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port)):
                    break
            except ConnectionRefusedError:
                continue
        os.kill(os.getpid(), signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    assert main(["--port", str(port), "--script", "chatty"]) == 0
    helper.join()
    assert capsys.readouterr().out == f"listening on http://127.0.0.1:{port}\n"


async def test_a_thousand_agents_at_once(serve: Serve, http: aiohttp.ClientSession) -> None:
    server = await serve(echo_tools(2, latency=0.05), keep_turns=0)
    connector = aiohttp.TCPConnector(limit=0)
    tool: dict[str, Any] = {
        "type": "function",
        "function": {"name": "bytes", "parameters": {"properties": {"size": {}}}},
    }

    async def agent(session: aiohttp.ClientSession, number: int) -> str:
        body = chat(f"agent {number}", tools=[tool])
        while True:
            _, answer, _ = await post(session, server.base_url("openai") + "/chat/completions", body)
            message = answer["choices"][0]["message"]
            body["messages"].append(message)
            if not message.get("tool_calls"):
                return str(message["content"])
            for call in message["tool_calls"]:
                body["messages"].append({"role": "tool", "tool_call_id": call["id"], "content": "x" * 4096})

    async with aiohttp.ClientSession(connector=connector) as session:
        answers = await asyncio.gather(*(agent(session, number) for number in range(1000)))
    assert set(answers) == {"All calls are done."}
    assert len(server.requests) == 3000
    assert all(record.complete for record in server.requests)
    assert server.repeated() == {}
