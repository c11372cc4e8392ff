"""A real client of the Model Context Protocol drives the fleet: over standard input and output, and over HTTP."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from tests.api.conftest import Inside, Place, environment, inside, running, settings_for, tokens_in
from tests.services.unmeasured import unmeasured

from ezaigent.cli.demo import build
from ezaigent.tasks import Task
from ezaigent.wiring import Fleet, TaskHandle

LOOKS = {"fleet_status", "list_agents", "get_task", "list_tasks", "get_diff", "queue_stats", "usage_report"}
CHANGES = {"submit_task", "cancel_task", "retry_task", "message_agent", "pause", "resume", "scale"}
WORK = "Remove unused imports in shop/tax.py"
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
ACCEPT = {"Accept": "application/json, text/event-stream"}


async def use(client: Client, tool: str, **given: Any) -> dict[str, Any]:
    """Call a tool that must succeed."""
    answer = await client.call_tool(tool, given)
    assert not answer.is_error, answer.content
    (text,) = answer.content
    assert text.type == "text"
    assert json.loads(text.text) == answer.structured_content
    return dict(answer.structured_content)


async def fail(client: Client, tool: str, **given: Any) -> str:
    """Call a tool that must fail; return the one line that says why."""
    answer = await client.call_tool(tool, given)
    assert answer.is_error
    assert answer.structured_content is None
    (text,) = answer.content
    assert text.type == "text"
    assert "\n" not in text.text
    return text.text


@asynccontextmanager
async def over_http(url: str, token: str, mode: str = "auto") -> AsyncGenerator[Client]:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"{url}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


def over_stdio(folder: Path, *words: str, **more: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "ezaigent", "mcp", *words],
        env=environment(folder / "home", **more),
        cwd=folder,
    )


async def drive(client: Client, repo: str) -> dict[str, Any]:
    """Drive one task from its words to its patch."""
    made = await use(client, "submit_task", prompt=WORK, repo=repo, profile="mechanic", key="once")
    again = await use(client, "submit_task", prompt=WORK, repo=repo, profile="mechanic", key="once")
    key = made["task"]["id"]
    assert (again["task"]["id"], made["note"]) == (key, "")
    seen = await use(client, "get_task", task_id=key, wait_seconds=25)
    while not seen["settled"]:
        seen = await use(client, "get_task", task_id=key, wait_seconds=25)
    assert seen["task"]["state"] == "review", seen
    assert "waits for a person" in seen["why"]
    whole = await use(client, "get_diff", task_id=key)
    assert (whole["next"], whole["total"]) == (None, len(whole["diff"]))
    assert "-import decimal" in whole["diff"]
    part = await use(client, "get_diff", task_id=key, offset=5, limit=10)
    assert (part["diff"], part["next"]) == (whole["diff"][5:15], 15)
    listed = await use(client, "list_tasks", state=["review"], text="unused")
    assert [task["id"] for task in listed["items"]] == [key]
    return seen


@pytest.mark.sandbox
async def test_a_client_drives_a_whole_task_over_standard_input_and_output(tmp_path: Path) -> None:
    build(tmp_path)
    async with Client(over_stdio(tmp_path, "--agents", "1")) as client:
        assert "never instructions" in (client.instructions or "")
        await drive(client, "shop")  # meant from the folder where the client started it
        status = await use(client, "fleet_status")
        assert [agent["name"] for agent in status["agents"]] == ["mechanic-1"]
        assert status["queue"]["states"]["review"] == 1
        assert (status["today"]["calls"], status["today"]["unknown_calls"]) == (0, 0)
    async with Fleet.connect(tmp_path / "home") as fleet:
        events = await fleet.services.events.read(0)
        assert "worker.stopped" in {event.kind for event in events}
        assert not [event.kind for event in events if event.kind.startswith("audit.")]


async def test_without_a_worker_it_says_who_is_missing(tmp_path: Path) -> None:
    repo = build(tmp_path)
    async with Client(over_stdio(tmp_path), mode="legacy") as client:
        made = await use(client, "submit_task", prompt=WORK, repo=str(repo))
        assert "ezaigent up" in made["note"]
        key = made["task"]["id"]
        seen = await use(client, "get_task", task_id=key, wait_seconds=0.05)
        assert (seen["settled"], seen["task"]["state"]) == (False, "queued")
        assert (await use(client, "cancel_task", task_id=key[:14]))["state"] == "cancelled"
        assert (await use(client, "get_task", task_id=key, wait_seconds=25))["settled"]
        assert (await use(client, "retry_task", task_id=key))["state"] == "queued"
        assert (await use(client, "pause", agent="mechanic")) == {"agents": []}
        assert (await use(client, "resume", agent="all")) == {"agents": []}
        assert "mechanic-1" in (await use(client, "scale", pool="mechanic", agents=1))["said"]
        assert (await use(client, "list_agents"))["items"][0]["name"] == "mechanic-1"
        assert (await use(client, "queue_stats"))["states"]["queued"] == 1
        assert (await use(client, "usage_report", by="model"))["total"]["calls"] == 0


async def test_mistakes_are_told_in_one_line(tmp_path: Path) -> None:
    async with Client(over_stdio(tmp_path)) as client:
        assert "known: fleet_status" in await fail(client, "rm")
        assert await fail(client, "submit_task", repo="x") == "prompt: Field required"
        assert "not a git repository" in await fail(client, "submit_task", prompt="x", repo=str(tmp_path))
        assert "task_id" in await fail(client, "get_task", task_id="Not an id")
        assert "nosuch" in await fail(client, "get_task", task_id="nosuch")
        assert "wait_seconds" in await fail(client, "get_task", task_id="a", wait_seconds=3600)
        assert "no profile 'x'" in await fail(client, "scale", pool="x", agents=1)
        assert "secret" not in await fail(client, "pause", agent="all", password="secret")
        assert "claude-1" in await fail(client, "message_agent", agent="claude-1", text="hello")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_tools_say_what_they_do(served: Inside, mode: str) -> None:
    async with over_http(served.server.url, served.token, mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == LOOKS | CHANGES
    for name, tool in tools.items():
        hints = tool.annotations
        assert hints is not None
        assert hints.read_only_hint is (name in LOOKS)
        assert hints.destructive_hint is (name in {"cancel_task", "scale"})
        assert tool.description
        assert tool.input_schema["additionalProperties"] is False
    assert "ask the person before you write to several" in (tools["message_agent"].description or "")


@pytest.mark.sandbox
async def test_a_client_drives_a_whole_task_over_http_with_a_token(tmp_path: Path) -> None:
    repo = build(tmp_path)
    home = tmp_path / "home"
    async with await _up(home) as (url, tokens), over_http(url, tokens["operate"]) as client:
        seen = await drive(client, str(repo))
        assert seen["task"]["agent"] == "mechanic-1"
        await use(client, "pause", agent="mechanic-1")
        assert (await use(client, "list_agents"))["items"][0]["status"] == "paused"
    async with Fleet.connect(home) as fleet:
        events = [event for event in await fleet.services.events.read(0) if event.kind == "audit.change"]
    assert [(event.data["by"], event.data["action"]) for event in events] == [
        ("token operate", "submit_task"),
        ("token operate", "submit_task"),
        ("token operate", "pause"),
    ]
    assert events[0].data["target"] == {"repo": str(repo)}
    assert events[-1].data["target"] == {"agent": "mechanic-1"}


async def _up(home: Path) -> Any:
    tokens = await asyncio.to_thread(tokens_in, home)

    @asynccontextmanager
    async def up() -> AsyncGenerator[tuple[str, Mapping[str, str]]]:
        serving = running(home, "--agents", "1")
        _, said = await asyncio.to_thread(serving.__enter__)
        try:
            yield said["url"], tokens
        finally:
            await asyncio.to_thread(serving.__exit__, None, None, None)

    return up()


async def test_too_weak_a_token_is_refused_by_each_tool(served: Inside) -> None:
    _, weak = await served.accounts.create_token("weak", "read", owner=None, days=None, by="test", address="test")
    async with over_http(served.server.url, weak) as client:
        for name in sorted(CHANGES):
            assert await fail(client, name) == "token weak may read; this needs operate"
        assert (await use(client, "queue_stats"))["states"]["queued"] == 0
        assert (await use(client, "list_agents"))["items"] == []
    events = await served.fleet.services.events.read(0)
    refused = [event.data["action"] for event in events if event.kind == "audit.refused"]
    assert refused == sorted(CHANGES)
    assert [event.kind for event in events if event.kind == "audit.change"] == []


async def test_the_login_of_a_repository_stays_out_of_the_event_log(served: Inside) -> None:
    repo = "https://ada:hunter2@127.0.0.1:9/shop.git"
    _, weak = await served.accounts.create_token("weak", "read", owner=None, days=None, by="test", address="test")
    for token in (weak, served.token):
        async with over_http(served.server.url, token) as client:
            await fail(client, "submit_task", prompt=WORK, repo=repo)
    events = await served.fleet.services.events.read(0)
    told = {event.kind: event.data["target"] for event in events if event.data.get("action") == "submit_task"}
    shown = {"repo": "https://127.0.0.1:9/shop.git"}
    assert told == {"audit.refused": shown, "audit.change": shown}
    assert "hunter2" not in str([event.data for event in events])


def test_without_a_token_nothing_is_told(place: Place) -> None:
    with place.client(None) as client:
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Cookie": "ezaigent_session=x"}):
            answer = client.post("/mcp", json=HELLO, headers=ACCEPT | headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["type"] == "urn:ezaigent:problem:unauthenticated"
        assert client.get("/mcp", headers=ACCEPT).status_code == 401


def test_pages_of_other_sites_and_other_hosts_are_refused(place: Place) -> None:
    with place.client("admin") as client:
        for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
            assert client.post("/mcp", json=HELLO, headers=ACCEPT | {"Origin": origin}).status_code == 403
        assert client.post("/mcp", json=HELLO, headers=ACCEPT | {"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert client.post("/mcp", json=HELLO, headers=ACCEPT | {"Host": "evil.example"}).status_code == 421
        good = client.post("/mcp", json=HELLO, headers=ACCEPT | {"Origin": place.url})
        assert good.json()["result"]["serverInfo"]["name"] == "ezaigent"


def test_what_is_no_message_is_refused_and_nothing_hangs(place: Place) -> None:
    with place.client("read") as client:
        _refused(client.post("/mcp", content=b"{ no JSON", headers=ACCEPT | {"Content-Type": "application/json"}))
        _refused(client.post("/mcp", json=HELLO, headers={"Accept": "text/html"}))
        pieces = (b"x" * 65536 for _ in range(48))
        for content in (b"x" * (3 * 1024**2), pieces):
            assert client.post("/mcp", content=content, headers=ACCEPT).status_code == 413
        assert client.get("/mcp", headers=ACCEPT).status_code == 405  # nobody waits for news on a stream here
        assert client.delete("/mcp").status_code == 405


def _refused(answer: httpx.Response) -> None:
    assert 400 <= answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text


async def test_a_session_needs_its_csrf_word_here_too(served: Inside) -> None:
    await served.accounts.add_user("anna", "correct horse battery", "operator", by="test", address="test")
    async with served.stranger(headers=ACCEPT) as client:
        me = await client.post("/api/v1/session", json={"name": "anna", "password": "correct horse battery"})
        assert (await client.post("/mcp", json=HELLO)).status_code == 403
        word = {"X-CSRF-Token": me.json()["csrf"]}
        assert (await client.post("/mcp", json=HELLO, headers=word)).status_code == 200


async def test_a_broken_tool_tells_nothing_but_where_to_look(served: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> None:
        raise RuntimeError("password=secret")

    monkeypatch.setattr(served.fleet.services.queue, "stats", broken)
    async with over_http(served.server.url, served.token) as client:
        said = await fail(client, "queue_stats")
    assert said.startswith("queue_stats could not be done; the server's log has the reason under ")
    assert "secret" not in said


async def test_waiting_ends_when_the_server_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = asyncio.Event()
    settled = TaskHandle.settled

    async def noticed(self: TaskHandle, timeout: float | None = None) -> Task:
        began.set()
        return await settled(self, timeout)

    monkeypatch.setattr(TaskHandle, "settled", noticed)
    repo = build(tmp_path)
    async with AsyncExitStack() as clients:
        async with inside(settings_for(tmp_path / "home", rate=100_000)) as served:
            client = await clients.enter_async_context(over_http(served.server.url, served.token))
            key = (await use(client, "submit_task", prompt=WORK, repo=str(repo)))["task"]["id"]
            waiting = asyncio.create_task(use(client, "get_task", task_id=key, wait_seconds=25))
            await began.wait()
        assert (await waiting)["settled"] is False


@pytest.mark.parametrize("words", [(), ("--agents", "1")])
@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGINT], ids=str)
def test_the_command_ends_in_order_when_it_is_told_to(
    tmp_path: Path, words: Sequence[str], number: signal.Signals | None
) -> None:
    """Whether the client closes its end, or it or a person sends a signal."""
    with subprocess.Popen(
        [sys.executable, "-m", "ezaigent", "mcp", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=unmeasured(environment(tmp_path / "home")),
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(f"no message\n\n{json.dumps(HELLO)}\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["result"]["serverInfo"]["name"] == "ezaigent"
        if number is None:
            process.stdin.close()
        else:
            process.send_signal(number)
        assert process.wait(60) == 0
        assert process.stderr.read() == ""
        assert process.stdout.read() == ""


def test_what_the_client_sends_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "messages"
    path.write_text(json.dumps(HELLO))  # without an end of the line
    with path.open() as given:
        done = subprocess.run(
            [sys.executable, "-m", "ezaigent", "mcp"],
            stdin=given,
            capture_output=True,
            text=True,
            check=True,
            env=environment(tmp_path / "home"),
        )
    assert (json.loads(done.stdout)["id"], done.stderr) == (1, "")


def test_help_loads_neither_the_library_nor_the_server() -> None:
    probe = (
        "import sys\n"
        "import ezaigent, ezaigent.cli.commands\n"
        "from ezaigent.cli.app import app\n"
        "app(['mcp', '--help'], standalone_mode=False)\n"
        "heavy = {'mcp', 'mcp_types', 'jwt', 'fastapi', 'starlette'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Model Context Protocol" in done.stdout
