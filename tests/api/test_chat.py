"""The chat over HTTP: the same conversations as on the command line, cards by id, and who may say what."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.conftest import PASSWORD, Inside
from tests.api.streams import Sent, read_stream

from ezaigent.chat import Chat
from ezaigent.cli.demo import build
from ezaigent.tasks import NewTask, Task
from ezaigent.wiring import open_chat

MESSAGES = "/api/v1/chat/messages"
CARDS = "/api/v1/chat/confirmations"


@pytest.fixture
async def ada(served: Inside) -> AsyncIterator[httpx.AsyncClient]:
    """An operator."""
    _, token = await served.accounts.create_token("ada", "operate", owner=None, days=None, by="test", address="test")
    async with served.client(token) as client:
        yield client


@pytest.fixture
async def viewer(served: Inside) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who may only look."""
    _, token = await served.accounts.create_token("eve", "read", owner=None, days=None, by="test", address="test")
    async with served.client(token) as client:
        yield client


async def say(client: httpx.AsyncClient, text: str, **more: Any) -> dict[str, Any]:
    answer = await client.post(MESSAGES, json={"text": text, **more})
    assert answer.status_code == 200, answer.text
    reply: dict[str, Any] = answer.json()
    return reply


async def messages(client: httpx.AsyncClient, **params: Any) -> dict[str, Any]:
    answer = await client.get(MESSAGES, params=params)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def queue(served: Inside, tmp_path: Path, count: int = 1) -> list[Task]:
    repo = await asyncio.to_thread(build, tmp_path)
    return [await served.fleet.services.queue.submit(NewTask(prompt="Do it.", repo=str(repo))) for _ in range(count)]


def command_line(served: Inside) -> Chat:
    """The chat as ``ezaigent chat`` opens it."""
    return open_chat(served.fleet.services)


async def test_what_is_said_at_one_door_is_read_at_all(served: Inside, ada: httpx.AsyncClient) -> None:
    reply = await say(ada, "how deep is the queue?")
    assert reply["ok"]
    assert reply["command"] == {"kind": "queue"}
    await command_line(served).say("/agents", by="bob")
    page = await messages(ada)
    assert page["items"] == [one.model_dump(mode="json") for one in await command_line(served).history()]
    assert [(one["role"], one["author"]) for one in page["items"]] == [
        ("person", "token ada"),
        ("fleet", "fleet"),
        ("person", "bob"),
        ("fleet", "fleet"),
    ]
    assert page["items"][1]["id"] == reply["id"]
    assert page["next"] is None


async def test_the_last_thousand_messages_are_kept_and_read_page_by_page(
    served: Inside, ada: httpx.AsyncClient
) -> None:
    for number in range(501):
        await command_line(served).say(f"/why {number}", by="bob")
    pages: list[dict[str, Any]] = []
    params: dict[str, Any] = {"limit": 300}
    while True:
        page = await messages(ada, **params)
        pages.insert(0, page)
        if page["next"] is None:
            break
        params["before"] = page["next"]
    found = [one for page in pages for one in page["items"]]
    assert len(found) == 1000
    assert found[0]["text"] == "/why 1"
    assert [one["id"] for one in found] == sorted({one["id"] for one in found})
    newest = await messages(ada, after=found[-3]["id"])
    assert newest["items"] == found[-2:]


async def test_a_new_message_reaches_the_live_events(ada: httpx.AsyncClient) -> None:
    found: list[Sent] = []
    async with asyncio.timeout(20), ada.stream("GET", "/api/v1/events", params={"kind": "chat."}) as answer:
        stream = read_stream(answer)
        await anext(stream)  # its place
        reply = await say(ada, "/status")
        async for sent in stream:
            found.append(sent)
            if len(found) == 2:
                break
    assert [one.event for one in found] == ["chat.message"] * 2
    assert found[1].data["data"]["id"] == reply["id"]
    assert found[1].data["data"]["conversation"] == "fleet"
    before = found[0].data["data"]["id"] - 1
    assert [one["id"] for one in (await messages(ada, after=before))["items"]] == [
        one.data["data"]["id"] for one in found
    ]


async def test_a_card_is_shown_confirmed_once_and_never_replayed(
    served: Inside, ada: httpx.AsyncClient, tmp_path: Path
) -> None:
    tasks = await queue(served, tmp_path, 3)
    reply = await say(ada, "/clear")
    card = reply["confirmation"]
    assert sorted(card["touches"]) == sorted(task.id for task in tasks)
    assert (card["conversation"], card["by"]) == ("fleet", "token ada")
    assert (await ada.get(CARDS)).json()["items"] == [card]
    assert (await served.fleet.services.queue.get(tasks[0].id)).state.value == "queued"
    done = await ada.post(f"{CARDS}/{card['token']}/confirm")
    assert done.status_code == 200
    assert sorted(done.json()["data"]["cancelled"]) == sorted(task.id for task in tasks)
    assert (await ada.get(CARDS)).json()["items"] == []
    again = await queue(served, tmp_path / "again")
    assert (await ada.post(f"{CARDS}/{card['token']}/confirm")).status_code == 404
    assert (await served.fleet.services.queue.get(again[0].id)).state.value == "queued"
    assert [one["text"] for one in (await messages(ada))["items"]][2] == f"yes {card['token']}"


async def test_a_card_can_be_dropped(served: Inside, ada: httpx.AsyncClient, tmp_path: Path) -> None:
    task = (await queue(served, tmp_path))[0]
    card = (await say(ada, f"/cancel {task.id}"))["confirmation"]
    dropped = await ada.post(f"{CARDS}/{card['token']}/drop")
    assert dropped.json()["text"] == "nothing was done"
    assert (await ada.post(f"{CARDS}/{card['token']}/confirm")).status_code == 404
    assert (await served.fleet.services.queue.get(task.id)).state.value == "queued"


async def test_a_card_is_for_whom_it_was_made(
    served: Inside, ada: httpx.AsyncClient, viewer: httpx.AsyncClient, tmp_path: Path
) -> None:
    task = (await queue(served, tmp_path))[0]
    card = (await say(ada, f"/cancel {task.id}"))["confirmation"]
    async with served.client() as other:
        assert (await other.post(f"{CARDS}/{card['token']}/confirm")).status_code == 404
        assert not (await say(other, f"yes {card['token']}"))["ok"]
    assert (await viewer.post(f"{CARDS}/{card['token']}/confirm")).status_code == 403
    assert (await served.fleet.services.queue.get(task.id)).state.value == "queued"
    assert [one["token"] for one in (await ada.get(CARDS)).json()["items"]] == [card["token"]]


async def test_a_viewer_looks_and_changes_nothing(served: Inside, viewer: httpx.AsyncClient, tmp_path: Path) -> None:
    task = (await queue(served, tmp_path))[0]
    for look in ("/status", "/help", "how deep is the queue?", f"/why {task.id}"):
        assert (await say(viewer, look))["ok"]
    for change in (
        "/pause",
        f"/cancel {task.id}",
        "pause everything",
        "/clear",
        f"/task Do it --repo {task.repo}",
        "yes",
    ):
        reply = await say(viewer, change)
        assert not reply["ok"]
        assert "look" in reply["text"]
    assert not (await served.fleet.services.queue.pauses()).said
    assert len(await served.fleet.services.queue.list()) == 1


async def test_whom_one_can_speak_to(ada: httpx.AsyncClient) -> None:
    agents = (await ada.get("/api/v1/chat/agents")).json()
    kinds = {one["name"]: one["specialties"] for one in agents["profiles"]}
    assert {"claude", "gpt", "deepseek", "mistral", "gemini", "mechanic"} <= set(kinds)
    assert all(kinds.values())
    assert agents["items"] == []  # no worker: nobody is shown as there
    listed = "/api/v1/chat/conversations"
    assert (await ada.get(listed)).json()["items"] == [{"name": "fleet", "newest": None, "agent": None}]
    reply = await say(ada, "/status")
    assert (await ada.get(listed)).json()["items"][0]["newest"] == reply["id"]


async def test_what_cannot_be_said_is_a_problem(ada: httpx.AsyncClient) -> None:
    nobody = await ada.post(MESSAGES, json={"text": "hello", "to": "claude-99"})
    assert (nobody.status_code, nobody.json()["type"]) == (404, "urn:ezaigent:problem:not-found")
    for wrong in ("", "   ", "x" * 20_001, "a\x00b"):
        assert (await ada.post(MESSAGES, json={"text": wrong})).status_code == 422
    unknown = await say(ada, "/frobnicate")
    assert not unknown["ok"]
    assert "/status" in unknown["text"]


async def test_tokens_of_one_name_answer_for_their_own_people_only(served: Inside, tmp_path: Path) -> None:
    task = (await queue(served, tmp_path))[0]
    texts: list[str] = []
    for owner in ("anna", "ben"):
        await served.accounts.add_user(owner, PASSWORD, "operator", by="test", address="test")
        made = await served.accounts.create_token("ci", "operate", owner=owner, days=None, by="test", address="test")
        texts.append(made[1])
    async with served.client(texts[0]) as anna, served.client(texts[1]) as ben:
        card = (await say(anna, f"/cancel {task.id}"))["confirmation"]
        assert (await ben.get(CARDS)).json()["items"] == []
        assert (await ben.post(f"{CARDS}/{card['token']}/confirm")).status_code == 404
        await say(ben, "/status")
        keyed = {"Idempotency-Key": "1"}
        first = (await anna.post(MESSAGES, json={"text": "/queue"}, headers=keyed)).json()
        assert (await ben.post(MESSAGES, json={"text": "/queue"}, headers=keyed)).json()["id"] > first["id"]
    assert (await served.fleet.services.queue.get(task.id)).state.value == "queued"


async def test_the_commands_are_listed_for_completion(viewer: httpx.AsyncClient) -> None:
    items = (await viewer.get("/api/v1/chat/commands")).json()["items"]
    assert {"status", "queue", "start", "pause", "clear", "agents", "task", "cancel", "scale", "cost"} <= {
        one["name"] for one in items
    }


async def test_the_same_key_is_one_line(ada: httpx.AsyncClient) -> None:
    """Sent again, by whoever did not see the answer, it is not said again."""
    headers = {"Idempotency-Key": "once"}
    first, second = [(await ada.post(MESSAGES, json={"text": "/status"}, headers=headers)).json() for _ in range(2)]
    assert second["id"] == first["id"]
    assert second["text"] == first["text"]
    assert second["command"] == first["command"]
    assert len((await messages(ada))["items"]) == 2
    other = (await ada.post(MESSAGES, json={"text": "/status"}, headers={"Idempotency-Key": "twice"})).json()
    assert other["id"] > first["id"]


async def test_hostile_words_come_back_as_data(ada: httpx.AsyncClient) -> None:
    """JSON only, never a page: whoever shows it decides how."""
    text = "<img src=x onerror=alert(1)>\u202e\x1b[31m"
    await say(ada, text)
    answer = await ada.get(MESSAGES)
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.text)["items"][0]["text"] == text
