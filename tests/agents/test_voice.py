"""What a model says is heard while it speaks, by those who listen, and costs nothing where nobody does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.agents.canned_server import Answer, CannedServer, canned_server, chat
from tests.agents.stage import PROFILE, Stage, settings_for, staged

from ezaigent.agents import build_runtime
from ezaigent.core.settings import CostSettings
from ezaigent.costs import CostBook
from ezaigent.live import SPEECH, LiveBus, MemoryBus, Piece, interest
from ezaigent.testing import Fault, ModelServer, Reply, ToolCall, from_steps

WORDS = ", and then I look again".join(["First I look at the files"] * 8)
STEPS = [Reply(text=WORDS, tool_calls=(ToolCall("list_files", {}),)), "All done."]
MODELS = (
    "openai:gpt-test",
    "anthropic:claude-test",
    "google:gemini-test",
    "mistral:mistral-test",
    "deepseek:deepseek-test",
)


@dataclass
class Room:
    """A stage whose models are on a bus."""

    stage: Stage
    bus: MemoryBus
    pieces: list[Piece] = field(default_factory=list[Piece])


@asynccontextmanager
async def room(home: Path, server: ModelServer | CannedServer, model: str = PROFILE.model) -> AsyncGenerator[Room]:
    """Yield a stage on a bus of which everything is overheard."""
    profile = replace(PROFILE, model=model)
    async with staged(home, server_url=server.url, profile=profile) as stage:
        bus = MemoryBus()
        costs = CostBook(stage.db, CostSettings())
        async with build_runtime(stage.db, settings_for(home, server.url), costs, bus) as runtime:
            stage.runtime = runtime
            made = Room(stage, bus)
            async with bus.subscribe(SPEECH) as news:

                async def overhear() -> None:
                    async for _, message in news:
                        piece = Piece.decode(message)
                        assert piece is not None
                        made.pieces.append(piece)

                overhearing = asyncio.create_task(overhear())
                yield made
                overhearing.cancel()
        await bus.close()


async def listen(bus: LiveBus, *wanted: tuple[str | None, str | None]) -> None:
    await bus.announce(SPEECH, "somebody", interest(wanted), 60)


async def ended(room: Room, count: int) -> None:
    async with asyncio.timeout(40):
        while sum(piece.end != "" for piece in room.pieces) < count:  # noqa: ASYNC110 - what others publish
            await asyncio.sleep(0.01)


async def heard(room: Room, end: str) -> None:
    async with asyncio.timeout(40):
        while end not in {piece.end for piece in room.pieces}:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def said(pieces: list[Piece]) -> str:
    """Return what a listener has put together."""
    text = ""
    for piece in pieces:
        assert piece.start == len(text)
        text += piece.text
    return text


@pytest.mark.parametrize("model", MODELS)
async def test_a_listener_hears_what_is_kept_in_the_end(tmp_path: Path, model: str) -> None:
    async with ModelServer(from_steps(STEPS), chunk_delay=0.02) as server, room(tmp_path, server, model) as place:
        await listen(place.bus, (None, None))
        claim = await place.stage.claim()
        outcome, _ = await place.stage.run(claim)
        await ended(place, 2)
        assert outcome.summary == "All done."
        steps = [one for one in await place.stage.events("run.step") if one.data["what"] == "model"]
        assert [one.data["text"] for one in steps] == [WORDS, "All done."]
        for step in steps:
            heard = [piece for piece in place.pieces if piece.step == step.data["step"]]
            assert said(heard) == step.data["text"]
            assert [piece.end for piece in heard][-1] == "whole"
            assert {(piece.task_id, piece.run_id, piece.agent) for piece in heard} == {
                (claim.task.id, claim.run_id, claim.agent)
            }
        first = [piece for piece in place.pieces if piece.step == steps[0].data["step"]]
        assert len(first) > 1  # while it spoke
        totals = await CostBook(place.stage.db, CostSettings()).task(claim.task.id)
        assert totals.calls == 2
        assert totals.output_tokens == sum(one.data["output_tokens"] for one in steps) > 0


@pytest.mark.parametrize("wanted", [(), (("other", None),), ((None, "other-1"),)])
async def test_nothing_is_streamed_where_nobody_listens(
    tmp_path: Path, wanted: tuple[tuple[str | None, str | None], ...]
) -> None:
    async with ModelServer(from_steps(STEPS)) as server, room(tmp_path, server) as place:
        if wanted:
            await listen(place.bus, *wanted)
        await place.stage.run(await place.stage.claim())
        assert not any(turn.stream for turn in server.turns)
        assert place.pieces == []
        texts = [one.data.get("text") for one in await place.stage.events("run.step")]
        assert "All done." in texts


@pytest.mark.parametrize("by", ["task", "agent"])
async def test_one_run_can_be_listened_to(tmp_path: Path, by: str) -> None:
    async with ModelServer(from_steps(STEPS)) as server, room(tmp_path, server) as place:
        claim = await place.stage.claim()
        await listen(place.bus, (claim.task.id, None) if by == "task" else (None, claim.agent))
        await place.stage.run(claim)
        await ended(place, 2)
        assert all(turn.stream for turn in server.turns)


@pytest.mark.parametrize("kind", ["cut_stream", "truncated_stream", "stream_error"])
@pytest.mark.parametrize("model", MODELS)
async def test_what_breaks_off_is_void_and_said_again(tmp_path: Path, model: str, kind: str) -> None:
    """A half answer is never taken for a whole one, and listeners are told to forget it."""
    steps = [Reply(text=WORDS, fault=Fault(kind=kind, at=0.6, times=1))]  # type: ignore[arg-type]
    async with ModelServer(from_steps(steps), chunk_delay=0.02) as server, room(tmp_path, server, model) as place:
        await listen(place.bus, (None, None))
        outcome, _ = await place.stage.run(await place.stage.claim())
        assert outcome.summary == WORDS
        assert [turn.stream for turn in server.turns] == [True, kind != "truncated_stream"]  # that one looks whole
        await heard(place, "broken" if kind == "truncated_stream" else "whole")
        broken = [piece for piece in place.pieces if piece.attempt == 1]
        again = [piece for piece in place.pieces if piece.attempt == 2]
        assert "whole" not in {piece.end for piece in broken}
        assert WORDS.startswith(said(broken))
        if kind != "truncated_stream":
            assert (said(again), again[-1].end) == (WORDS, "whole")


def chatter(*texts: str, finish: str | None) -> Answer:
    """A stream of the Chat Completions API that tells in every chunk what was used so far."""
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-test"}
    chunks: list[dict[str, object]] = [
        {
            **head,
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
            "usage": {"prompt_tokens": 100, "completion_tokens": number, "total_tokens": 100 + number},
        }
        for number, text in enumerate(texts, 1)
    ]
    if finish is not None:
        chunks.append({**chunks[-1], "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    return Answer(body=body, headers={"Content-Type": "text/event-stream"})


async def test_half_an_answer_is_void_where_every_chunk_tells_its_usage(tmp_path: Path) -> None:
    """The proxy in between ends the connection in order; usage is no sign of the end."""
    half = chatter("First I look ", "at the", finish=None)
    async with canned_server(half, Answer(body=chat("All of it."))) as server, room(tmp_path, server) as place:
        await listen(place.bus, (None, None))
        outcome, _ = await place.stage.run(await place.stage.claim())
        assert outcome.summary == "All of it."
        assert [bool(request.get("stream")) for request in server.requests] == [True, False]
        await heard(place, "broken")


async def test_usage_that_every_chunk_tells_counts_once(tmp_path: Path) -> None:
    """Listening must not make an answer dearer."""
    answer = chatter("All ", "of ", "it", ".", finish="stop")
    async with canned_server(answer) as server, room(tmp_path, server) as place:
        await listen(place.bus, (None, None))
        claim = await place.stage.claim()
        outcome, _ = await place.stage.run(claim)
        assert outcome.summary == "All of it."
        totals = await CostBook(place.stage.db, CostSettings()).task(claim.task.id)
        assert (totals.calls, totals.input_tokens, totals.output_tokens) == (1, 100, 4)


def test_what_another_version_says_is_not_understood() -> None:
    assert Piece.decode(b'{"task_id": "1"}') is None
    assert Piece.decode(b"nothing") is None


def test_a_listener_of_very_much_gets_everything() -> None:
    assert interest((str(number), None) for number in range(501)) == {"all": True}
    assert interest([("1", "a"), (None, "b")]) == {"tasks": ["1"], "agents": ["b"]}
