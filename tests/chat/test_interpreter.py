"""Where templates fail, a model may be asked: it answers with a command that exists, and changes are asked for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.agents.stage import PROFILE, settings_for
from tests.chat.talk import Talk

from ezaigent.agents import Profile, open_interpreter
from ezaigent.agents.interpreter import ModelInterpreter
from ezaigent.chat import Chat, Interpreter, Known, Plan
from ezaigent.chat.commands import Pause, Queue
from ezaigent.core.errors import RunError, UnavailableError, UsageError
from ezaigent.store import Database
from ezaigent.testing import ModelServer, Script, ToolCall, from_steps

KNOWN = Known(agents=("claude-1", "gpt-1"), profiles=("claude", "gpt"))


def meant(command: dict[str, Any] | None) -> Script:
    return from_steps([ToolCall("final_result", {"command": command})])


@asynccontextmanager
async def reading(home: Path, script: Script) -> AsyncGenerator[ModelInterpreter]:
    async with (
        ModelServer(script) as server,
        open_interpreter(PROFILE, settings_for(home, server.url)) as interpreter,
    ):
        yield interpreter


async def test_a_model_answers_with_a_command(tmp_path: Path) -> None:
    async with reading(tmp_path, meant({"kind": "queue"})) as interpreter:
        assert await interpreter.command("wie lang ist die Schlange?", KNOWN) == Queue()
    async with reading(tmp_path, meant(None)) as interpreter:
        assert await interpreter.command("guten Tag", KNOWN) is None


async def test_names_that_do_not_exist_are_no_command(tmp_path: Path) -> None:
    async with reading(tmp_path, meant({"kind": "pause", "targets": ["bob-1"]})) as interpreter:
        assert await interpreter.command("halte Bob an", KNOWN) is None
    async with reading(tmp_path, meant({"kind": "pause", "targets": ["gpt-1"]})) as interpreter:
        assert await interpreter.command("halte gpt-1 an", KNOWN) == Pause(targets=("gpt-1",))


async def test_an_answer_that_is_no_command_is_an_error_in_one_line(tmp_path: Path) -> None:
    wrong = [ToolCall("final_result", {"command": {"kind": "explode"}})] * 4
    async with reading(tmp_path, from_steps(wrong)) as interpreter:
        with pytest.raises(RunError, match="could not be used"):
            await interpreter.command("explode", KNOWN)


async def test_a_model_drafts_a_plan(tmp_path: Path) -> None:
    tasks = [
        {"name": "a", "prompt": "Do a."},
        {"name": "b", "prompt": "Do b.", "needs": ["a"], "profile": "gpt"},
    ]
    async with reading(tmp_path, from_steps([ToolCall("final_result", {"tasks": tasks})])) as interpreter:
        plan = await interpreter.plan("Do a, then b.", KNOWN)
        assert [(task.name, task.needs) for task in plan.tasks] == [("a", ()), ("b", ("a",))]
    for unusable in ([], [{"name": "a", "prompt": "x", "profile": "bob"}]):
        async with reading(tmp_path, from_steps([ToolCall("final_result", {"tasks": unusable})])) as interpreter:
            with pytest.raises(UsageError):
                await interpreter.plan("Nothing.", KNOWN)


async def test_a_profile_without_a_model_cannot_read(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "http://127.0.0.1:1")
    with pytest.raises(UsageError, match="no model"):
        async with open_interpreter(Profile(name="mechanic", model="", offline=True), settings):
            raise AssertionError


class _Reader(Interpreter):
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def command(self, text: str, known: Known) -> Any:
        self.asked.append(text)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def plan(self, text: str, known: Known) -> Plan:
        raise NotImplementedError


@pytest.fixture
def reader() -> _Reader:
    return _Reader(Pause())


@pytest.fixture
def talk(db: Database, reader: _Reader) -> Talk:
    made = Talk(db)
    made.chat = Chat(db, made.queue, made.door, reader)
    return made


async def test_templates_go_first_and_a_model_is_not_asked_for_what_they_know(talk: Talk, reader: _Reader) -> None:
    for line in ("/status", "/nonsense", "how deep is the queue?", "pause gpt-1", "tell claude-1 to rest"):
        await talk(line)
    assert reader.asked == []


async def test_what_a_model_read_is_asked_for(talk: Talk, reader: _Reader) -> None:
    asked = await talk("alle mal bitte anhalten")
    assert asked.source == "model"
    assert asked.confirmation is not None
    assert await talk.paused() == []
    assert (await talk("yes")).ok
    assert len(await talk.paused()) == 3


async def test_a_model_cannot_turn_a_negation_into_an_order(talk: Talk, reader: _Reader) -> None:
    refused = await talk("please do not ever think about pausing the claude folks")
    assert not refused.ok
    assert refused.confirmation is None
    reader.answer = Queue()
    assert (await talk("what would be in the line if we did not work?")).ok, "looking is harmless"


async def test_without_its_model_the_chat_works_on(talk: Talk, reader: _Reader) -> None:
    reader.answer = UnavailableError("no key")
    said = await talk("alle mal bitte anhalten")
    assert not said.ok
    assert "no key" in said.text
    assert (await talk("/status")).ok
