"""A line with a key whose process was killed is sent again: what it asked for is done once at most."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.conftest import running, tokens_in
from tests.chat.talk import Talk

from ezaigent.chat import Chat, Reply
from ezaigent.cli.demo import build
from ezaigent.core.errors import NotFoundError
from ezaigent.tasks import pending_messages
from ezaigent.wiring import Fleet

MESSAGES = "/api/v1/chat/messages"
LOST = "its answer was lost, so it may have been done"


async def _dies_at(place: str, talk: Talk, line: str, patched: pytest.MonkeyPatch, key: str = "k") -> None:
    """Say a line to a process that ends there."""

    def reach(name: str) -> None:
        if name == place:
            raise RuntimeError("the process ends here")

    with patched.context() as context:
        context.setattr("ezaigent.chat.service.reach", reach)
        context.setattr("ezaigent.chat.service._UNDER_WAY", 0.0)
        with pytest.raises(RuntimeError):
            await talk.chat.say(line, by="ada", key=key)


async def _again(talk: Talk, line: str, patched: pytest.MonkeyPatch, key: str = "k") -> Reply:
    """Say it again, to another process."""
    with patched.context() as context:
        context.setattr("ezaigent.chat.service._UNDER_WAY", 0.0)
        return await Chat(talk.db, talk.queue, talk.door).say(line, by="ada", key=key)


@pytest.mark.parametrize("place", ["chat.begun", "chat.carried"])
async def test_what_may_have_been_done_is_not_done_again(
    talk: Talk, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _dies_at(place, talk, "/pause claude", monkeypatch)
    done = place == "chat.carried"
    assert await talk.paused() == (["claude-1", "claude-2"] if done else [])
    await talk("/start")
    again = await _again(talk, "/pause claude", monkeypatch)
    assert not again.ok
    assert LOST in again.text
    assert "pause claude" in again.text
    assert again.command == {"kind": "pause", "targets": ["claude"], "excepted": []}
    assert await talk.paused() == []
    assert await _again(talk, "/pause claude", monkeypatch) == again
    assert (await _again(talk, "/pause claude", monkeypatch, key="another")).ok
    assert await talk.paused() == ["claude-1", "claude-2"]


@pytest.mark.parametrize("place", ["chat.begun", "chat.carried"])
async def test_a_yes_whose_answer_was_lost_is_known(talk: Talk, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = await talk.task()
    await talk(f"/cancel {task.id}")
    await _dies_at(place, talk, "yes", monkeypatch)
    again = await _again(talk, "yes", monkeypatch)
    assert LOST in again.text
    assert f"/task {task.id}" in again.text
    card = (await talk("fix the bug in /tmp/shop")).confirmation
    assert card is not None
    await _dies_at(place, talk, f"yes {card.token}", monkeypatch, key="other")
    assert (await _again(talk, f"yes {card.token}", monkeypatch, key="other")).text.startswith("queued as ")
    assert [one.prompt for one in await talk.queue.list()].count("fix the bug") == 1


async def test_a_message_whose_answer_was_lost_is_sent_once(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    await talk.task()
    claim = await talk.begin()

    async def sent() -> list[str]:
        found = await talk.db.read(lambda conn: pending_messages(conn, agent="claude-1", task_id=claim.task.id))
        return [one.text for one in found]

    await talk("/tell all use tabs")
    await _dies_at("chat.carried", talk, "yes", monkeypatch)
    assert await sent() == []
    chats = [Chat(talk.db, talk.queue, talk.door) for _ in range(3)]
    replies = await asyncio.gather(*(chat.say("yes", by="ada", key="k") for chat in chats))
    assert len({reply.id for reply in replies}) == 1
    assert all(reply.data == {"agents": ["claude-1"]} for reply in replies)
    assert await sent() == ["use tabs"]


async def test_a_card_whose_answer_was_lost_can_be_confirmed_again(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    card = (await talk("fix the bug in /tmp/shop")).confirmation
    assert card is not None

    def reach(name: str) -> None:
        raise RuntimeError("the process ends here")

    with monkeypatch.context() as patched:
        patched.setattr("ezaigent.chat.service.reach", reach)
        with pytest.raises(RuntimeError):
            await talk.chat.decide(card.token, yes=True, by="ada")
    assert await talk.queue.list() == []
    with pytest.raises(NotFoundError):
        await talk.chat.decide(card.token, yes=True, by="bob")
    assert (await talk.chat.decide(card.token, yes=True, by="ada")).text.startswith("queued as ")
    with pytest.raises(NotFoundError):
        await talk.chat.decide(card.token, yes=True, by="ada")
    assert len(await talk.queue.list()) == 1


async def test_two_servers_that_get_a_line_at_once_do_it_once(talk: Talk) -> None:
    chats = [Chat(talk.db, talk.queue, talk.door) for _ in range(4)]
    replies = await asyncio.gather(*(chat.say("/scale claude +2", by="ada", key="k") for chat in chats))
    assert talk.door.sizes == {"claude": 4}
    assert {reply.text for reply in replies} == {"claude will have 4"}
    assert len({reply.id for reply in replies}) == 1
    assert len(await talk.chat.history()) == 2


@asynccontextmanager
async def _serving(home: Path, token: str, failpoint: str = "") -> AsyncGenerator[tuple[Any, httpx.AsyncClient]]:
    with running(home, "--no-worker", EZAIGENT_FAILPOINTS=failpoint) as (process, said):
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=said["url"], headers=headers, timeout=30) as client:
            yield process, client


async def _say(client: httpx.AsyncClient, text: str, key: str | None = None) -> dict[str, Any]:
    headers = {"Idempotency-Key": key} if key else {}
    answer = await client.post(MESSAGES, json={"text": text}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_over_sigkill_nothing_is_done_twice_and_no_work_is_lost(tmp_path: Path) -> None:
    home, repo = tmp_path / "home", build(tmp_path)
    token = (await asyncio.to_thread(tokens_in, home))["admin"]

    async def killed(failpoint: str, text: str, key: str, ask: str | None = None) -> None:
        async with _serving(home, token, f"{failpoint}=kill") as (process, client):
            if ask is not None:
                assert (await _say(client, ask))["confirmation"] is not None
            with pytest.raises(httpx.TransportError):
                await _say(client, text, key)
            assert await asyncio.to_thread(process.wait, 60) == -signal.SIGKILL

    await killed("chat.begun", "yes", "work", ask=f"fix the failing test in {repo}")
    await killed("chat.carried", "/scale claude +2", "more")
    await killed("chat.begun", "/pause gpt", "pause")
    async with _serving(home, token) as (_, client):
        replies = {
            key: [await _say(client, text, key) for _ in range(2)]
            for key, text in {"work": "yes", "more": "/scale claude +2", "pause": "/pause gpt"}.items()
        }
        for first, second in replies.values():
            assert first["id"] == second["id"]
        assert replies["work"][0]["text"].startswith("queued as ")
        assert all(LOST in replies[key][0]["text"] for key in ("more", "pause"))
        tasks = (await client.get("/api/v1/tasks")).json()["items"]
        assert [one["id"] for one in tasks] == [replies["work"][0]["data"]["task"]]
        assert "claude has 2 agents already" in (await _say(client, "/scale claude 2"))["text"]
    async with Fleet.connect(home) as fleet:
        paused = await fleet.services.events.read(0, 1000, kinds=["agent.paused"])
    assert paused == []
