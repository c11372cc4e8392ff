"""What models say reaches the clients that ask for it while it is said, and is in the log once it has been said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from ag_ui.core import Event
from pydantic import TypeAdapter
from tests.agents.stage import make_repository, settings_for
from tests.api.conftest import Inside
from tests.api.streams import Sent, read_stream

from ezaigent.api import Accounts
from ezaigent.api.agui_speech import Speech
from ezaigent.api.hearing import Hearing
from ezaigent.core.events import Event as Fact
from ezaigent.core.settings import ServerSettings
from ezaigent.live import SPEECH, Audience, LiveBus, Piece, open_bus
from ezaigent.testing import ModelServer, Reply, ToolCall, from_steps
from ezaigent.wiring import Fleet, serve_api

WORDS: Final = ", and then I look again".join(["First I look at the files"] * 8)
STEPS: Final[Sequence[Any]] = [Reply(text=WORDS, tool_calls=(ToolCall("list_files", {}),)), "All done."]
_event: Final[TypeAdapter[Event]] = TypeAdapter(Event)


@asynccontextmanager
async def working(home: Path, steps: Sequence[Any] = STEPS) -> AsyncGenerator[tuple[Inside, Path, ModelServer]]:
    """Serve a fleet whose one agent has a scripted model that takes its time."""
    repo = make_repository(home / "repo", {"README.md": "# Project\n"})
    async with ModelServer(from_steps(steps), chunk_delay=0.02, latency=0.3) as models:
        settings = settings_for(home / "home", models.url).model_copy(update={"server": ServerSettings(rate=100_000)})
        async with Fleet.embedded(settings=settings, agents={"gpt": 1}) as fleet:
            accounts = Accounts(fleet.services.db)
            _, token = await accounts.create_token("test", "admin", owner=None, days=None, by="test", address="test")
            async with serve_api(fleet, port=0) as server:
                yield Inside(fleet, server, accounts, token), repo, models


def put_together(pieces: list[dict[str, Any]]) -> str:
    text = ""
    for piece in pieces:
        assert piece["start"] == len(text)
        text += piece["text"]
    return text


async def test_who_asks_hears_a_model_speak_and_resumes_as_before(tmp_path: Path) -> None:
    async with working(tmp_path) as (served, repo, models):
        heard: list[Sent] = []
        async with served.client() as client:
            params = {"speech": "true", "after": 0}
            async with asyncio.timeout(40), client.stream("GET", "/api/v1/events", params=params) as answer:
                stream = read_stream(answer)
                heard.append(await anext(stream))
                task = await client.post("/api/v1/tasks", json={"prompt": "Look", "repo": str(repo), "profile": "gpt"})
                assert task.status_code == 201, task.text
                async for sent in stream:
                    heard.append(sent)
                    if sent.event == "task.done":  # nothing was changed
                        break
        speech = [one for one in heard if one.event == "speech"]
        steps = [one for one in heard if one.event == "run.step" and one.data["data"]["what"] == "model"]
        assert all(one.id is None for one in speech)
        assert [one.data["data"]["text"] for one in steps] == [WORDS, "All done."]
        first = [one.data for one in speech if one.data["step"] == steps[0].data["data"]["step"]]
        assert len(first) > 1
        assert put_together(first) == WORDS
        assert first[-1]["end"] == "whole"
        assert heard.index(steps[0]) > heard.index(speech[0])
        numbers = [one.id for one in heard if one.event and one.id is not None]
        assert numbers == sorted(set(numbers))
        assert all(turn.stream for turn in models.turns)


async def run(client: httpx.AsyncClient, text: str, to: str = "") -> list[Any]:
    """Say a line in an AG-UI run, and return its events."""
    line = {"id": text, "role": "user", "content": text}
    answer = await client.post(f"/api/v1/agui{to}", json={"threadId": "t", "runId": "r", "messages": [line]})
    frames = [frame for frame in answer.text.split("\n\n") if frame.startswith("data: ")]
    return [_event.validate_json(frame.removeprefix("data: ")) for frame in frames]


def words(events: list[Any]) -> list[tuple[str, str]]:
    """Return who said what in a run."""
    names: dict[str, str] = {}
    texts: dict[str, str] = {}
    for event in events:
        if event.type.value == "TEXT_MESSAGE_START":
            names[event.message_id], texts[event.message_id] = event.name, ""
        elif event.type.value == "TEXT_MESSAGE_CONTENT":
            texts[event.message_id] += event.delta
    return [(names[one], texts[one]) for one in texts]


async def test_an_agui_run_streams_the_words_of_its_task_once(tmp_path: Path) -> None:
    async with working(tmp_path) as (served, repo, models), served.client() as client:
        events = await run(client, f"/task Look --repo {repo} --profile gpt")
        assert words(events)[1:] == [("gpt-1", WORDS), ("gpt-1", "All done.")]
        assert events[-1].type.value == "RUN_FINISHED"
        assert models.turns[-1].stream


@pytest.mark.parametrize("to", ["", "/gpt-1"])
async def test_an_agui_run_that_writes_to_an_agent_ends_with_its_answer(tmp_path: Path, to: str) -> None:
    looks = [ToolCall("list_files", {"path": "."}), ToolCall("list_files", {}), ToolCall("grep", {"pattern": "x"})]
    steps: list[Any] = [*looks, Reply(text="Tabs from now on.", tool_calls=(looks[0],)), *looks, "All done."]
    async with working(tmp_path, steps) as (served, repo, _), served.client() as client:
        await client.post("/api/v1/tasks", json={"prompt": "Look", "repo": str(repo), "profile": "gpt"})
        async with asyncio.timeout(20):
            while not [one for one in (await client.get("/api/v1/chat/agents")).json()["items"] if one["task_id"]]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        events = await run(client, "/tell gpt-1 use tabs", to)
        assert words(events)[1:] == [("gpt-1", "Tabs from now on.")]
        assert events[-1].type.value == "RUN_FINISHED"
        for conversation in {"fleet", "gpt-1"} if not to else {"gpt-1"}:
            kept = (await client.get("/api/v1/chat/messages", params={"conversation": conversation})).json()["items"]
            assert kept[-1]["text"] == "Tabs from now on."
        listed = (await client.get("/api/v1/chat/conversations")).json()["items"]
        assert [one["name"] for one in listed] == ["fleet", "gpt-1"]
        assert listed[1]["agent"]["status"] == "active"
        assert listed[1]["agent"]["specialties"]


def piece(text: str, start: int = 0, end: Any = "", attempt: int = 1, step: int = 0) -> Piece:
    return Piece(task_id="t", run_id="r", agent="gpt-1", step=step, attempt=attempt, start=start, text=text, end=end)


def fact(text: str, step: int = 0) -> Fact:
    return Fact(
        seq=1, at=0, kind="run.step", run_id="r", agent="gpt-1", data={"what": "model", "step": step, "text": text}
    )


@pytest.mark.parametrize(
    ("told", "messages"),
    [
        ([piece("One "), piece("two", 4, "whole"), fact("One two")], ["One two"]),
        ([piece("One "), fact("One two"), piece("two", 4, "whole")], ["One two"]),
        ([fact("One two")], ["One two"]),
        ([piece("two", 4, "whole"), fact("One two")], ["One two"]),
        ([piece("One "), piece("four", 8), fact("One two four")], ["One two four"]),
        ([piece("Half"), piece("", 4, "broken"), piece("One", attempt=2, end="whole"), fact("One")], ["Half", "One"]),
        ([piece("Half"), fact("Other")], ["Half", "Other"]),
        ([piece("One", end="whole"), fact("One"), piece("Two", step=2, end="whole"), fact("Two", 2)], ["One", "Two"]),
    ],
)
def test_words_are_told_once_whatever_was_lost(told: list[Piece | Fact], messages: list[str]) -> None:
    speech = Speech()
    found: dict[str, str] = {}
    open_: set[str] = set()
    for one in told:
        for event in speech.piece(one) if isinstance(one, Piece) else speech.step(one):
            sent: Any = event
            match event.type.value:
                case "TEXT_MESSAGE_START":
                    open_.add(sent.message_id)
                    found[sent.message_id] = ""
                case "TEXT_MESSAGE_CONTENT":
                    assert sent.message_id in open_
                    found[sent.message_id] += sent.delta
                case _:
                    open_.remove(sent.message_id)
    assert list(found.values()) == messages
    assert not open_


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[LiveBus]:
    opened = await open_bus(None if request.param == "memory" else request.getfixturevalue("redis_database"))
    yield opened
    await opened.close()


async def test_a_listener_is_announced_while_it_listens_and_slow_ones_are_bounded(bus: LiveBus) -> None:
    hearing = Hearing(bus)

    async def announced(*wanted: dict[str, Any]) -> None:
        async with asyncio.timeout(40):
            while list((await bus.present(SPEECH)).values()) != list(wanted):  # noqa: ASYNC110 - of the bus
                await asyncio.sleep(0.005)

    with hearing.listen(task_id="1"):
        await announced({"tasks": ["1"], "agents": []})
        with hearing.listen():
            await announced({"all": True})
        await announced({"tasks": ["1"], "agents": []})
    await announced()
    with hearing.listen(agent="gpt-1") as ear:
        await announced({"tasks": [], "agents": ["gpt-1"]})
        await bus.publish(SPEECH, b"not a piece")
        for number in range(300):
            await bus.publish(SPEECH, piece("x", number).encode())
        taken: list[Piece] = []
        async with asyncio.timeout(40):
            while not taken or taken[-1].start < 299:
                await ear.heard.wait()
                await asyncio.sleep(0.05)
                taken = ear.take()
        assert len(taken) <= 200
        assert await Audience(bus).wants("t", "gpt-1")
        assert not await Audience(bus).wants("t", "gpt-2")
    await hearing.aclose()
    assert not await Audience(bus).wants("t", "gpt-1")
