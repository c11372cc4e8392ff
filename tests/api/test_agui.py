"""AG-UI: a client that others wrote drives whole tasks over the live server."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import runpy
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from ag_ui.core import Event
from pydantic import TypeAdapter
from tests.api.conftest import Inside, Place, inside, running, settings_for, tokens_in
from tests.services import until

from ezaigent.chat import AgentFacts
from ezaigent.cli.demo import build
from ezaigent.core.errors import StoreUnavailable
from ezaigent.store import NewEvent, emit_many
from ezaigent.tasks import NewTask, Slot, pending_messages

FRONT: Final = Path(__file__).parent / "agui"
AGUI: Final = "/api/v1/agui"
_event: Final[TypeAdapter[Event]] = TypeAdapter(Event)


@pytest.fixture(scope="session")
def node() -> Path:
    """Node, with the AG-UI client installed as its lock says."""
    assets = runpy.run_path(str(Path(__file__).parents[2] / "web" / "assets.py"))
    found, npm = assets["tools"]()
    have = FRONT / "node_modules" / ".installed-from"
    want = hashlib.sha256((FRONT / "package-lock.json").read_bytes()).hexdigest()
    if not have.is_file() or have.read_text() != want:
        subprocess.run([*npm, "ci", "--silent", "--no-audit", "--no-fund"], cwd=FRONT, check=True, timeout=120)
        have.write_text(want)
    assert isinstance(found, Path)
    return found


class Front:
    """A front end in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        self.events: list[dict[str, Any]] = []
        """Of the last run."""

    async def begin(self, **command: Any) -> None:
        self.events = []
        self._in.write(json.dumps(command).encode() + b"\n")
        await self._in.drain()

    async def end(self) -> dict[str, Any]:
        """Return what the client is left with when its run is over."""
        async with asyncio.timeout(90):
            while line := await self._out.readline():
                told = json.loads(line)
                if "event" not in told:
                    return told
                self.events.append(told["event"])
        raise AssertionError("the client ended")

    async def run(self, **command: Any) -> dict[str, Any]:
        await self.begin(**command)
        ended = await self.end()
        assert "ended" in ended, ended
        return ended["ended"]

    async def until(self, kind: str) -> None:
        """Wait for an event of this type."""
        async with asyncio.timeout(60):
            while line := await self._out.readline():
                self.events.append(json.loads(line)["event"])
                if self.events[-1]["type"] == kind:
                    return

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]


@asynccontextmanager
async def front(node: Path, url: str, token: str, thread: str = "thread-1") -> AsyncGenerator[Front]:
    process = await asyncio.create_subprocess_exec(
        str(node),
        str(FRONT / "client.mjs"),
        url,
        token,
        thread,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    try:
        yield Front(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server with a worker of mechanics."""
    folder = tmp_path_factory.mktemp("agui")
    tokens = tokens_in(folder / "home")
    with running(folder / "home", "--agents", "1", EZAIGENT_FLEET__POOLS='{"mechanic": 1}') as (_, said):
        yield Place(said["url"], tokens, folder / "home", build(folder))


WORK: Final = "fix unused imports in shop/prices.py"


async def test_a_front_end_drives_a_whole_task(node: Path, working: Place) -> None:
    """Said in a sentence, confirmed through an interrupt, followed to the end."""
    async with front(node, working.url + AGUI, working.tokens["operate"]) as client:
        asked = await client.run(say=f"{WORK} in {working.repo}", id="m1")
        (card,) = asked["pendingInterrupts"]
        assert card["reason"] == "confirmation"
        assert str(working.repo) in card["message"]
        assert asked["messages"][-1]["content"].startswith("understood: ")
        done = await client.run(
            resume=[{"interruptId": card["id"], "status": "resolved", "payload": {"approved": True}}]
        )
    assert done["pendingInterrupts"] == []
    task = done["state"]["task"]
    assert task["state"] == "review", task
    assert task["commit"]
    assert done["result"]["task"] == task
    words = [one["content"] for one in done["messages"]]
    assert f"queued as {task['id']}" in words
    assert done["messages"][-1]["name"] == "mechanic-1"  # what it says at the end
    kinds = client.kinds()
    assert (kinds[0], kinds[-1]) == ("RUN_STARTED", "RUN_FINISHED")
    assert kinds.count("STEP_FINISHED") == task["steps"] > 0
    with working.client("read") as api:
        assert api.get(f"/api/v1/tasks/{task['id']}").json()["state"] == "review"
        texts = [one["text"] for one in api.get("/api/v1/chat/messages").json()["items"]]
    assert f"yes {card['id']}" in texts


async def test_work_goes_on_when_the_browser_leaves_and_is_found_again(node: Path, working: Place) -> None:
    """The page is closed in the middle; the same line from a new one is not taken twice, and followed to the end."""
    line = {"say": f"/task {WORK} --repo {working.repo}", "id": "browser-1"}
    async with front(node, working.url + AGUI, working.tokens["operate"]) as client:
        await client.begin(**line)
        await client.until("STATE_SNAPSHOT")
    async with front(node, working.url + AGUI, working.tokens["operate"]) as client:
        done = await client.run(**line)
    task = done["state"]["task"]
    assert task["state"] == "review"
    with working.client("read") as api:
        said = [one["text"] for one in api.get("/api/v1/chat/messages").json()["items"]]
    assert said.count(line["say"]) == 1
    assert said.count(f"queued as {task['id']}") == 1


async def test_a_card_can_be_left(node: Path, working: Place) -> None:
    async with front(node, working.url + AGUI, working.tokens["operate"]) as client:
        asked = await client.run(say=f"{WORK} in {working.repo}", id="left-1")
        (card,) = asked["pendingInterrupts"]
        left = await client.run(resume=[{"interruptId": card["id"], "status": "cancelled"}])
    assert left["messages"][-1]["content"] == "nothing was done"
    with working.client("operate") as api:
        assert api.get("/api/v1/chat/confirmations").json()["items"] == []


async def stream(served: Inside, body: dict[str, Any], to: str = "", token: str | None = None) -> list[Any]:
    """Return the events of a run, read by the protocol's own types."""
    given: dict[str, Any] = {"threadId": "t", "runId": "r", "messages": [], **body}
    async with served.client(token) as client:
        answer = await client.post(f"{AGUI}{to}", json=given)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    frames = [frame for frame in answer.text.split("\n\n") if frame.startswith("data: ")]
    return [_event.validate_json(frame.removeprefix("data: ")) for frame in frames]


def says(text: Any, message_id: str = "m") -> dict[str, Any]:
    return {"messages": [{"id": message_id, "role": "user", "content": text}]}


async def test_whoever_attaches_gets_the_conversation_and_what_waits(served: Inside) -> None:
    await served.fleet.services.queue.submit(NewTask(prompt="Do it.", repo="/srv/shop"))
    asked = await stream(served, says("/clear"))
    assert [one.type.value for one in asked] == [
        "RUN_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
    attached = await stream(served, {})
    assert [(one.role, one.content) for one in attached[1].messages] == [
        ("user", "/clear"),
        ("assistant", asked[2].delta),
    ]
    assert attached[-1].outcome == asked[-1].outcome


async def test_a_resume_says_yes_plainly_once(served: Inside) -> None:
    task = await served.fleet.services.queue.submit(NewTask(prompt="Do it.", repo="/srv/shop"))
    card = (await stream(served, says(f"/cancel {task.id}")))[-1].outcome.interrupts[0]

    async def resume(*payloads: Any) -> Any:
        entries = [{"interruptId": card.id, "status": "resolved", "payload": payload} for payload in payloads]
        return (await stream(served, {"resume": entries}))[-1]

    for unclear in ([None], ["sure"], [{"approved": "yes"}], [True, True]):
        assert (await resume(*unclear)).type.value == "RUN_ERROR"
        assert (await served.fleet.services.queue.get(task.id)).state.value == "queued"
    done = await resume({"approved": True})
    assert done.result["data"]["state"] == "cancelled"
    again = await served.fleet.services.queue.retry(task.id, by="test")
    assert (await resume({"approved": True})).result == done.result
    assert (await served.fleet.services.queue.get(again.id)).state.value == "queued"


async def test_the_same_message_is_taken_once_also_at_the_same_time(served: Inside) -> None:
    line = says("/task Do it --repo /srv/none", "once")
    first, second = await asyncio.gather(stream(served, line), stream(served, line))
    assert first[1].message_id == second[1].message_id
    other = await stream(served, {**says("/queue", "once"), "threadId": "another"})
    assert other[1].message_id != first[1].message_id
    assert len(await served.fleet.services.queue.list()) <= 1


async def test_who_may_only_read_changes_nothing(served: Inside) -> None:
    task = await served.fleet.services.queue.submit(NewTask(prompt="Do it.", repo="/srv/shop"))
    _, weak = await served.accounts.create_token("weak", "read", owner=None, days=None, by="test", address="test")
    looked = await stream(served, says("/queue", "1"), token=weak)
    assert looked[-1].result["ok"]
    refused = await stream(served, says(f"/cancel {task.id}", "2"), token=weak)
    assert not refused[-1].result["ok"]
    assert refused[-1].outcome.type == "success"
    assert (await served.fleet.services.queue.get(task.id)).state.value == "queued"


async def test_what_cannot_be_said_ends_the_run_with_a_reason(served: Inside) -> None:
    nobody = await stream(served, says("hello"), "/claude-99")
    assert (nobody[-1].type.value, nobody[-1].code) == ("RUN_ERROR", "not-found")
    empty = await stream(served, says("  "))
    assert empty[-1].code == "invalid"
    parts = await stream(served, says([{"type": "text", "text": "/que"}, {"type": "text", "text": "ue"}]))
    assert parts[-1].type.value == "RUN_FINISHED"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"threadId": "t", "runId": "r"},
        {"threadId": 1, "runId": "r", "messages": []},
        {"threadId": "t", "runId": "r", "messages": [{"id": "1", "role": "user", "content": "a\x00b"}]},
        {
            "threadId": "t",
            "runId": "r",
            "messages": [
                {
                    "id": "1",
                    "role": "user",
                    "content": [{"type": "image", "source": {"type": "url", "value": "http://x/y.png"}}],
                }
            ],
        },
    ],
)
async def test_an_input_that_is_none_is_a_problem(served: Inside, body: dict[str, Any]) -> None:
    async with served.client() as client:
        answer: httpx.Response = await client.post(AGUI, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


async def lines(client: httpx.AsyncClient, repo: Path) -> list[str]:
    """Follow a task that nobody takes, to the end of the stream."""
    body = {"threadId": "t", "runId": "r", **says(f"/task {WORK} --repo {repo}")}
    async with asyncio.timeout(20), client.stream("POST", AGUI, json=body) as answer:
        return [line async for line in answer.aiter_lines() if line]


async def test_a_run_that_waits_shows_life_and_ends_in_order_with_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ezaigent.api.agui.HEARTBEAT", 0.05)
    repo = await asyncio.to_thread(build, tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        async with inside(settings_for(tmp_path / "home", rate=100_000)) as served:
            client = await stack.enter_async_context(served.client())
            following = asyncio.create_task(lines(client, repo))
            await until(served.fleet.services.queue.list)
            await asyncio.sleep(0.2)
        found = await following
    assert ": still here" in found
    last = _event.validate_json(found[-1].removeprefix("data: "))
    assert (last.type.value, getattr(last, "code", None)) == ("RUN_ERROR", "unavailable")


async def test_a_run_ends_when_its_token_is_revoked(
    served: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ezaigent.api.agui.HEARTBEAT", 0.05)
    repo = await asyncio.to_thread(build, tmp_path)
    view, token = await served.accounts.create_token("short", "operate", owner=None, days=None, by="t", address="t")
    async with served.client(token) as client:
        following = asyncio.create_task(lines(client, repo))
        await until(served.fleet.services.queue.list)
        await served.accounts.revoke(view.id, owner=None, by="t", address="t")
        found = await following
    assert not any(end in line for line in found for end in ("RUN_FINISHED", "RUN_ERROR")), "it was cut off, not ended"
    assert (await served.fleet.services.queue.list())[0].state.value == "queued"


@asynccontextmanager
async def busy(served: Inside, event: NewEvent) -> AsyncGenerator[None]:
    """Let an event happen again and again."""

    async def go_on() -> None:
        while True:
            await served.db.write(lambda conn: emit_many(conn, [event]))
            await asyncio.sleep(0.01)

    going = asyncio.create_task(go_on())
    try:
        yield
    finally:
        going.cancel()
        await asyncio.wait([going])


async def test_a_run_ends_when_its_token_is_revoked_also_while_much_happens(
    served: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ezaigent.api.agui.HEARTBEAT", 0.5)
    repo = await asyncio.to_thread(build, tmp_path)
    view, token = await served.accounts.create_token("short", "operate", owner=None, days=None, by="t", address="t")
    async with served.client(token) as client:
        following = asyncio.create_task(lines(client, repo))
        await until(served.fleet.services.queue.list)
        (task,) = await served.fleet.services.queue.list()
        step = NewEvent("run.step", task_id=task.id, data={"step": 1, "name": "shell"})
        async with busy(served, step):
            await served.accounts.revoke(view.id, owner=None, by="t", address="t")
            found = await following
    assert "RUN_FINISHED" not in found[-1]
    assert "RUN_ERROR" not in found[-1]


async def test_a_run_that_waits_for_an_answer_shows_life_while_others_are_busy(
    served: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ezaigent.api.agui.HEARTBEAT", 0.5)
    task = await served.fleet.services.queue.submit(NewTask(prompt="Do it.", repo="/srv/shop"))
    there = [AgentFacts(name="claude-1", profile="claude", status="active", task_id=task.id)]

    async def agents(_: object) -> list[AgentFacts]:
        return there

    monkeypatch.setattr("ezaigent.wiring.conversing.ServicesDoor.agents", agents)
    body = {"threadId": "t", "runId": "r", **says("/tell claude-1 hello")}
    found: list[str] = []
    async with (
        busy(served, NewEvent("task.done", task_id="another")),
        served.client() as client,
        asyncio.timeout(20),
        client.stream("POST", AGUI, json=body) as answer,
    ):
        async for line in answer.aiter_lines():
            found.append(line)
            if line == ": still here":
                there.clear()  # it has no task any more: nobody will answer
    assert "RUN_FINISHED" in [line for line in found if line][-1]


async def test_a_message_to_everyone_is_an_interrupt_that_names_whom_it_reaches(
    served: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ezaigent.api.agui.HEARTBEAT", 0.5)
    task = await served.fleet.services.queue.submit(NewTask(prompt="Do it.", repo="/srv/shop"))
    there = [AgentFacts(name="claude-1", profile="claude", status="active", task_id=task.id)]

    async def agents(_: object) -> list[AgentFacts]:
        return there

    monkeypatch.setattr("ezaigent.wiring.conversing.ServicesDoor.agents", agents)

    async def waiting() -> list[str]:
        found = await served.db.read(lambda conn: pending_messages(conn, agent="claude-1", task_id=task.id))
        return [one.text for one in found]

    asked = (await stream(served, says("/tell all use tabs")))[-1]
    [card] = asked.outcome.interrupts
    assert card.message == "tell everyone: use tabs"
    assert card.metadata == {"touches": ["claude-1"]}
    assert await waiting() == []
    resume = [{"interruptId": card.id, "status": "resolved", "payload": {"approved": True}}]
    running = asyncio.create_task(stream(served, {"resume": resume}))

    async def told() -> bool:
        return await waiting() == ["use tabs"]

    await until(told, within=30, what="the message waits for the agent")
    there.clear()  # it has no task any more: nobody will answer
    assert (await running)[-1].result["data"] == {"agents": ["claude-1"]}


async def test_a_run_outlives_a_store_that_cannot_tell_for_a_moment(
    served: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent while nobody can tell whether the token still counts; then it goes on."""
    monkeypatch.setattr("ezaigent.api.agui.HEARTBEAT", 0.05)
    monkeypatch.setattr("ezaigent.api.routes.agui._AGAIN", 0.01)
    asked: list[int] = []

    async def away(*_: object) -> bool:
        asked.append(len(asked))
        if len(asked) < 3:
            raise StoreUnavailable("away")
        return True

    monkeypatch.setattr("ezaigent.api.routes.agui.still_allowed", away)
    repo = await asyncio.to_thread(build, tmp_path)
    async with served.client() as client:
        following = asyncio.create_task(lines(client, repo))
        await until(served.fleet.services.queue.list)
        (task,) = await served.fleet.services.queue.list()
        await until(lambda: len(asked) >= 3, what="the store is back")
        await served.fleet.services.queue.cancel(task.id, by="test")
        found = await following
    assert found.count(": still here") >= 2
    assert "RUN_FINISHED" in found[-1]


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("cancel", {"type": "RUN_FINISHED", "outcome": {"type": "cancelled"}}),
        ("block", {"type": "RUN_FINISHED", "outcome": {"type": "success"}}),
        ("fail", {"type": "RUN_ERROR", "code": "task-failed"}),
    ],
)
async def test_a_task_that_ends_otherwise_ends_the_run(
    served: Inside, tmp_path: Path, verb: str, told: dict[str, Any]
) -> None:
    repo = await asyncio.to_thread(build, tmp_path)
    queue = served.fleet.services.queue
    async with served.client() as client:
        following = asyncio.create_task(lines(client, repo))
        await until(queue.list)
        task = (await queue.list())[0]
        if verb == "cancel":
            await queue.cancel(task.id, by="test")
        else:
            (claim,) = await queue.claim("w", [Slot(agent="mechanic-1", profile="mechanic")])
            if verb == "block":
                await queue.block(claim, "Which one?")
            else:
                await queue.fail(claim, "It cannot be done", retryable=False)
        last = json.loads((await following)[-1].removeprefix("data: "))
    assert told.items() <= last.items()
