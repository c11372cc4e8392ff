"""A running agent is written to, paused, cancelled, drained; nothing that a person said is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.agents.stage import AGENT, Stage, staged

from ezaigent.agents import Controls
from ezaigent.core.change import Change
from ezaigent.core.errors import Cancelled, ControlSignal, Drained, StaleFence
from ezaigent.tasks import Claim
from ezaigent.testing import Conversation, ModelServer, Reply, Script, ToolCall, Turn, from_steps

LONG = ToolCall("shell", {"command": "echo started > started.txt; sleep 60; echo ended > ended.txt"})


def acting(script: Script, at: int, act: Callable[[], None]) -> Script:
    """Do ``act`` while the model thinks about its answer number ``at``."""

    async def answer(turn: Turn, conversation: Conversation) -> Reply:
        if conversation.replies == at:
            act()
        return await script(turn, conversation)

    return answer


async def until(path: Path) -> None:
    """Wait until a command in the sandbox has made a file."""
    async with asyncio.timeout(20):
        while not path.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(0.02)


async def test_a_message_is_delivered_before_the_next_model_request(tmp_path: Path) -> None:
    script = from_steps([ToolCall("list_files", {}), "Done."])
    async with ModelServer(script) as server, staged(tmp_path, server=server) as stage:
        claim = await stage.claim()
        await stage.queue.post_message(text="Mind the gap.", by="Ada", agent=AGENT)
        await stage.queue.post_message(text="And the step.", by="Bob", task_id=claim.task.id)
        await stage.run(claim)

        said = [message.text for message in server.turns[0].messages if message.role == "user"]
        assert "Message from Ada, a person:\n\nMind the gap." in "\n".join(said)
        assert "Message from Bob, a person:\n\nAnd the step." in "\n".join(said)
        assert "\n".join(message.text for message in server.turns[1].messages).count("Mind the gap.") == 1
        assert len(await stage.events("run.message")) == 2
        assert stage.told[0] == ("message", "Ada")
        again = await stage.db.read(lambda conn: _waiting(conn, claim.task.id))
        assert again == 0


def _waiting(conn: object, task_id: str) -> int:
    from ezaigent.tasks import pending_messages

    return len(pending_messages(conn, agent=AGENT, task_id=task_id))  # pyright: ignore[reportArgumentType]


async def test_a_message_that_comes_between_steps_survives_the_end_of_the_run(tmp_path: Path) -> None:
    controls = Controls()
    steps = from_steps([ToolCall("list_files", {}), ToolCall("list_files", {"path": "."}), "Done."])
    script = acting(steps, 1, lambda: controls.drain(now=False))
    async with ModelServer(script) as server, staged(tmp_path, server=server) as stage:
        claim = await stage.claim()
        await stage.queue.post_message(text="Keep this.", by="Ada", task_id=claim.task.id)
        with pytest.raises(Drained):
            await stage.run(claim, controls=controls)
        paid = len(server.requests)
        await stage.queue.release(claim, "the worker stops")

        claim = await stage.reclaim()
        assert claim.resumed
        server.script = steps
        outcome, _ = await stage.run(claim)
        assert outcome.summary == "Done."
        texts = "\n".join(message.text for message in server.turns[-1].messages)
        assert texts.count("Keep this.") == 1, "delivered once, in the place where it was"
        assert len(server.requests) == paid + 1, "what was answered before was not asked again"
        assert server.repeated() == {}
        assert (await stage.queue.get(claim.task.id)).steps == outcome.steps


async def test_a_paused_run_asks_nothing_and_goes_on_when_it_is_resumed(tmp_path: Path) -> None:
    controls = Controls()
    script = acting(from_steps([ToolCall("list_files", {}), "Done."]), 0, controls.pause)
    async with ModelServer(script) as server, staged(tmp_path, server=server) as stage:
        claim = await stage.claim()
        running = asyncio.create_task(stage.run(claim, controls=controls))
        await server.wait_until(lambda records: len(records) == 1 and records[0].complete)
        done, _ = await asyncio.wait([running], timeout=0.3)
        assert not done
        assert controls.paused
        assert [what for what, _ in stage.told] == ["model"], "the step that had begun was finished, none begun"

        await stage.queue.post_message(text="News.", by="Ada", task_id=claim.task.id)
        controls.resume()
        outcome, _ = await running
        assert outcome.summary == "Done."
        assert "News." in "\n".join(message.text for message in server.turns[-1].messages)


async def test_cancelling_ends_a_running_command_at_once_and_keeps_the_work_before_it(tmp_path: Path) -> None:
    script = from_steps([ToolCall("write_file", {"path": "kept.txt", "content": "kept\n"}), LONG])
    controls = Controls()
    async with ModelServer(script) as server, staged(tmp_path, server=server) as stage:
        claim = await stage.claim()
        tree = await stage.open(claim)
        running = asyncio.create_task(stage.run(claim, controls=controls, workspace=tree))
        await until(tree.path / "started.txt")
        began = asyncio.get_running_loop().time()
        controls.cancel()
        with pytest.raises(Cancelled, match="a person cancelled the task"):
            await running
        assert asyncio.get_running_loop().time() - began < 10
        assert not (tree.path / "ended.txt").exists()
        assert await stage.runtime.checkpoint(claim) is not None
        assert (tree.path / "kept.txt").read_text() == "kept\n"
        assert (await stage.queue.get(claim.task.id)).steps == 3


async def test_cancelling_ends_a_model_call_at_once(tmp_path: Path) -> None:
    from ezaigent.store import Sql
    from ezaigent.testing import Fault

    controls = Controls()
    async with ModelServer(from_steps(["Never."])) as server, staged(tmp_path, server=server) as stage:
        server.fail(Fault("hang"))
        running = asyncio.create_task(stage.run(await stage.claim(), controls=controls))
        await server.wait_until(lambda records: len(records) == 1)
        controls.cancel()
        with pytest.raises(Cancelled):
            await running
        assert await stage.db.read(Sql("SELECT outcome, cost_nusd FROM usage").all) == [("lost", None)]
        assert stage.steps == []


@pytest.mark.parametrize("signal", [Drained, StaleFence])
async def test_other_stops_end_a_running_command_too(tmp_path: Path, signal: type[ControlSignal]) -> None:
    controls = Controls()
    async with ModelServer(from_steps([LONG])) as server, staged(tmp_path, server=server) as stage:
        claim = await stage.claim()
        tree = await stage.open(claim)
        running = asyncio.create_task(stage.run(claim, controls=controls, workspace=tree))
        await until(tree.path / "started.txt")
        if signal is Drained:
            controls.drain(now=True)
        else:
            controls.lose()
        with pytest.raises(signal):
            await running


async def test_a_cancellation_from_elsewhere_passes_unchanged_and_what_was_paid_is_written(tmp_path: Path) -> None:
    from ezaigent.store import Sql
    from ezaigent.testing import Fault

    async with ModelServer(from_steps(["Never."])) as server, staged(tmp_path, server=server) as stage:
        server.fail(Fault("hang"))
        running = asyncio.create_task(stage.run(await stage.claim()))
        await server.wait_until(lambda records: len(records) == 1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await stage.db.read(Sql("SELECT outcome FROM usage").all) == [("lost",)]


async def test_levers_may_be_pulled_before_twice_and_after() -> None:
    controls = Controls()
    controls.drain()
    controls.drain("again")
    controls.pause()
    assert not controls.paused, "a run that is to stop must not wait"
    controls.cancel("no more")
    assert isinstance(controls.stopping, Cancelled)
    controls.drain()
    with pytest.raises(Cancelled, match="no more"):
        await controls.gate()
    with pytest.raises(Cancelled, match="no more"), controls.running():
        raise AssertionError
    controls.cancel()


async def test_blocks_under_control_lie_in_each_other_and_belong_to_one_coroutine() -> None:
    controls = Controls()

    async def elsewhere() -> None:
        with controls.running():
            raise AssertionError

    async def work() -> None:
        with controls.running():
            with controls.running():
                await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="one coroutine"):
                await asyncio.create_task(elsewhere())
            controls.cancel("no more")
            await asyncio.Event().wait()

    with pytest.raises(Cancelled, match="no more"):
        await work()
    assert asyncio.current_task().cancelling() == 0  # pyright: ignore[reportOptionalMemberAccess]


async def test_what_is_said_about_a_finished_change_is_worked_in_the_same_conversation(tmp_path: Path) -> None:
    script = from_steps(
        [
            ToolCall("write_file", {"path": "a.txt", "content": "one\n"}),
            "Wrote it.",
            ToolCall("write_file", {"path": "a.txt", "content": "two\n"}),
            "Changed it.",
        ]
    )
    async with ModelServer(script) as server, staged(tmp_path, server=server) as stage:
        claim = await stage.claim(checks=("test -s a.txt",))
        outcome, tree = await stage.run(claim)
        assert outcome.summary == "Wrote it."
        change = await _delivered(stage, claim)
        await stage.queue.finish(claim, change)
        paid = len(server.requests)
        await stage.queue.send_back(claim.task.id, "Write two instead.", by="Ada")

        claim = await stage.reclaim()
        outcome, tree = await stage.run(claim)
        assert outcome.summary == "Changed it."
        assert (tree.path / "a.txt").read_text() == "two\n"
        assert len(server.requests) == paid + 2, "what was answered before was not asked again"
        texts = [message.text for message in server.turns[-2].messages if message.role == "user"]
        assert texts[-1] == "Message from Ada, a person:\n\nWrite two instead."
        assert [event.data["message_id"] for event in await stage.events("run.message")]

        # a crash after the words were taken loses none of them
        await stage.queue.release(claim, "the worker stops")
        claim = await stage.reclaim()
        outcome, _ = await stage.run(claim)
        assert outcome.summary == "Changed it."
        assert len(server.requests) == paid + 2


async def _delivered(stage: Stage, claim: Claim) -> Change:
    tree = await stage.open(claim)
    try:
        return await tree.commit(message="Work", author=AGENT, trailers={})
    finally:
        await tree.close()
