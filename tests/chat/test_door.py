"""The chat on the product's own services, in one process: seats, costs, submitting, the configured model."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.agents.stage import make_repository, settings_for

from ezaigent.chat import Chat
from ezaigent.core.errors import UsageError
from ezaigent.core.settings import ChatSettings, ProfileSettings, Settings
from ezaigent.fleet import seats
from ezaigent.testing import ModelServer, ToolCall, from_steps
from ezaigent.wiring import Fleet, draft, open_chat, submit_plan

TESTER = {"tester": ProfileSettings(model="openai:gpt-test", context_window=200_000)}


@asynccontextmanager
async def chatting(settings: Settings, folder: Path | None = None) -> AsyncGenerator[tuple[Fleet, Chat]]:
    async with Fleet.connect(settings=settings) as fleet:
        yield fleet, open_chat(fleet.services, folder=folder)


async def seated(fleet: Fleet, profile: str) -> list[str]:
    found = await fleet.services.db.read(seats.all_seats)
    return [seat.agent for seat in found if seat.profile == profile and seat.leaving is None]


async def test_pools_grow_shrink_and_drain_by_seats(tmp_path: Path) -> None:
    async with chatting(Settings(home=tmp_path)) as (fleet, chat):
        said = await chat.say("add two gpt agents", by="ada")
        assert "gpt gets gpt-1, gpt-2" in said.text
        assert await seated(fleet, "gpt") == ["gpt-1", "gpt-2"]
        assert "already" in (await chat.say("/scale gpt 2", by="ada")).text
        assert (await chat.say("/scale gpt 1", by="ada")).confirmation is not None
        assert "gpt loses gpt-2" in (await chat.say("yes", by="ada")).text
        assert await seated(fleet, "gpt") == ["gpt-1"]
        assert "gpt-1" in (await chat.say("/drain gpt-1", by="ada")).text
        assert await seated(fleet, "gpt") == []
        assert (await chat.say("/cost all", by="ada")).ok
        assert "no profile" in (await chat.say("/scale bob 1", by="ada")).text


async def test_a_confirmed_request_is_checked_and_queued(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "shop", {"a.py": ""})
    async with chatting(Settings(home=tmp_path / "home"), folder=tmp_path) as (fleet, chat):
        await chat.say("fix the rounding in ./shop", by="ada")
        done = await chat.say("yes", by="ada")
        assert done.ok, done.text
        task = (await fleet.services.queue.list())[0]
        assert (task.repo, task.prompt) == (str(repo), "fix the rounding")
        assert (await chat.say(f"/task {task.id}", by="ada")).ok
        await chat.say("fix the rounding in ./missing", by="ada")
        refused = await chat.say("yes", by="ada")
        assert not refused.ok
        assert len(await fleet.services.queue.list()) == 1


async def test_without_a_folder_a_relative_path_is_refused(tmp_path: Path) -> None:
    async with chatting(Settings(home=tmp_path)) as (_, chat):
        said = await chat.say("/task fix it --repo ./shop", by="ada")
        assert not said.ok
        assert "relative path" in said.text
        said = await chat.say("/task fix it --repo ~nobody-here/shop", by="ada")
        assert not said.ok
        assert "'~nobody-here/shop' is no path" in said.text
        assert not (await chat.say("/task fix it --repo https://127.0.0.1:1/a.git", by="ada")).ok


async def test_the_configured_profile_reads_what_no_template_fits(tmp_path: Path) -> None:
    script = from_steps([ToolCall("final_result", {"command": {"kind": "queue"}})])
    async with ModelServer(script) as server:
        settings = settings_for(tmp_path, server.url)
        settings = settings.model_copy(update={"profiles": TESTER, "chat": ChatSettings(profile="tester")})
        async with chatting(settings) as (_, chat):
            assert "0 queued" in (await chat.say("wie lang ist die Schlange", by="ada")).text
            assert len(server.requests) == 1
    async with chatting(settings.model_copy(update={"chat": ChatSettings(profile="bob")})) as (_, chat):
        said = await chat.say("wie lang ist die Schlange", by="ada")
        assert not said.ok
        assert "'bob' does not exist" in said.text


async def test_plans_are_drafted_by_rules_or_by_a_model_and_queued_once(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "shop", {"a.py": ""})
    found = await draft("1. Do a\n2. Do b\n", Settings(home=tmp_path / "home"), repo=str(repo))
    async with Fleet.connect(settings=Settings(home=tmp_path / "home")) as fleet:
        first = await submit_plan(found.plan, fleet.services, key="k")
        again = await submit_plan(found.plan, fleet.services, key="k")
        assert [task.id for task in first] == [task.id for task in again]
        assert first[1].needs == (first[0].id,)
        with pytest.raises(UsageError, match="names no repository"):
            await submit_plan(found.plan.model_copy(update={"repo": None}), fleet.services)
    tasks = [{"name": "a", "prompt": "Do a."}]
    async with ModelServer(from_steps([ToolCall("final_result", {"tasks": tasks})])) as server:
        settings = settings_for(tmp_path / "home", server.url).model_copy(update={"profiles": TESTER})
        read = await draft("Do a.", settings, repo=str(repo), profile="tester")
        assert ([task.name for task in read.plan.tasks], read.plan.repo) == (["a"], str(repo))
        with pytest.raises(UsageError, match="no profile 'bob'"):
            await draft("Do a.", settings, profile="bob")
