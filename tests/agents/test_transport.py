"""The shared transport behaves as httpx2's own does: bodies, streams, time-outs, broken connections, proxies."""

from __future__ import annotations

import asyncio
import gzip
import resource
import time
from collections.abc import AsyncIterator

import aiohttp
import httpx2
import pytest
from aiohttp import web
from tests.agents.canned_server import Answer, canned_server

from ezaigent.agents.transport import Transport
from ezaigent.core.errors import UnavailableError


async def test_a_body_goes_out_and_an_answer_comes_back() -> None:
    answer = Answer(status=201, body={"a": 1}, headers={"x-one": "1"})
    async with canned_server(answer) as server, Transport() as shared, shared.client(timeout=30) as client:
        response = await client.post(f"{server.url}/p%20q?x=1", json={"b": "ü"}, headers={"x-api-key": "k"})
    assert (response.status_code, response.json(), response.headers["x-one"]) == (201, {"a": 1}, "1")
    assert response.reason_phrase == "Created"
    assert server.requests == [{"b": "ü"}]
    assert server.headers[0]["x-api-key"] == "k"


async def test_a_compressed_answer_is_unpacked_once() -> None:
    packed = gzip.compress(b'{"a": 2}')
    answer = Answer(body=packed, headers={"Content-Encoding": "gzip"})
    async with canned_server(answer) as server, Transport() as shared, shared.client(timeout=30) as client:
        assert (await client.get(server.url)).json() == {"a": 2}


async def test_a_streamed_request_body_is_sent() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"c":'
        yield b" 3}"

    async with (
        canned_server(Answer(body={})) as server,
        Transport() as transport,
        transport.client(timeout=30) as client,
    ):
        await client.post(server.url, content=pieces())
    assert server.requests == [{"c": 3}]


async def test_a_stream_arrives_piece_by_piece_and_may_be_left_early() -> None:
    second = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one")
        await second.wait()
        await response.write(b"two")
        return response

    app = web.Application()
    app.router.add_get("/", stream)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with Transport() as transport, transport.client(timeout=30) as client:
        async with client.stream("GET", url) as response:
            pieces = response.aiter_raw()
            assert await anext(pieces) == b"one"  # before the second one was written
            second.set()
            assert await anext(pieces) == b"two"
        second.clear()
        async with client.stream("GET", url) as response:
            assert await anext(response.aiter_raw()) == b"one"
        second.set()
        assert (await client.get(url)).content == b"onetwo"
    await runner.cleanup()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(hang=True), httpx2.ReadTimeout),
        (Answer(cut=True), httpx2.ReadError),
        (Answer(drop=True), httpx2.RemoteProtocolError),
    ],
)
async def test_failures_keep_their_phase(answer: Answer, error: type[Exception]) -> None:
    async with canned_server(answer) as server, Transport() as transport, transport.client(timeout=0.3) as client:
        with pytest.raises(error):
            await client.post(server.url, json={})


async def test_nobody_listening_is_a_connect_error(unused_tcp_port: int) -> None:
    async with Transport() as transport, transport.client(timeout=30) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get(f"http://127.0.0.1:{unused_tcp_port}/")


async def test_an_unknown_scheme_is_refused() -> None:
    async with Transport() as transport, transport.client(timeout=30) as client:
        with pytest.raises(httpx2.UnsupportedProtocol):
            await client.get("gopher://127.0.0.1/")


async def test_connections_are_kept_and_closing_a_client_leaves_them() -> None:
    async with canned_server(Answer(body={})) as server, Transport() as transport:
        async with transport.client(timeout=30) as client:
            await client.get(server.url)
        session = transport.session()
        async with transport.client(timeout=30) as client:
            await client.get(server.url)
        assert transport.session() is session
    assert session.closed


async def test_a_closed_transport_opens_again_for_the_next_request() -> None:
    async with canned_server(Answer(body={"a": 1})) as server:
        transport = Transport()
        await transport.aclose()  # nothing open yet
        async with transport.client(timeout=30) as client:
            await client.get(server.url)
            await transport.aclose()
            assert (await client.get(server.url)).json() == {"a": 1}
        await transport.aclose()


def test_the_next_event_loop_gets_its_own_connections() -> None:
    transport = Transport()

    async def once() -> aiohttp.ClientSession:
        return transport.session()

    async def other_loop_refused() -> None:
        await once()
        await asyncio.to_thread(refused_in_thread)
        await transport.aclose()

    def refused_in_thread() -> None:
        with pytest.raises(UnavailableError, match="another event loop"):
            asyncio.run(once())

    first = asyncio.run(once())
    asyncio.run(other_loop_refused())
    assert first.closed


async def test_proxies_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert Transport().proxy("http://models.example.com/") is None
    async with canned_server(Answer(body={"via": "proxy"})) as server:
        monkeypatch.setenv("HTTP_PROXY", server.url)
        monkeypatch.setenv("http_proxy", server.url)
        monkeypatch.setenv("NO_PROXY", "direct.example.com")
        monkeypatch.setenv("no_proxy", "direct.example.com")
        async with Transport() as transport, transport.client(timeout=30) as client:
            response = await client.get("http://models.example.com/x")
            assert transport.proxy("http://direct.example.com:8000/x") is None
            assert transport.proxy("https://models.example.com/x") is None
    assert response.json() == {"via": "proxy"}
    assert server.headers[0]["Host"] == "models.example.com"


async def test_a_dead_proxy_is_a_proxy_error(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
    monkeypatch.setenv("all_proxy", f"http://127.0.0.1:{unused_tcp_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with Transport() as transport, transport.client(timeout=30) as client:
        with pytest.raises(httpx2.ProxyError):
            await client.get("http://models.example.com/x")


async def test_a_thousand_requests_wait_at_once() -> None:
    """The reason for this transport: no pool limit, and no work in proportion to those who wait."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4_096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_096, hard), hard))
    waiting = 0
    everyone = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        nonlocal waiting
        waiting += 1
        if waiting == 1_000:
            everyone.set()
        await everyone.wait()
        return web.Response(text="{}")

    app = web.Application()
    app.router.add_get("/", wait)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2_000).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    started = time.process_time()
    async with Transport() as transport, transport.client(timeout=60) as client:
        answers = await asyncio.gather(*(client.get(url) for _ in range(1_000)))
    assert [answer.status_code for answer in answers] == [200] * 1_000
    assert time.process_time() - started < 20
    await runner.cleanup()
