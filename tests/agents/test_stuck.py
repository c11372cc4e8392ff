"""An agent that goes round in circles is stopped with a sentence that says so; one that works is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agents.stage import PROFILE, staged

from ezaigent.agents import Profile
from ezaigent.agents.stuck import CYCLE, IDLE_TURNS, REPEATS, Seen, StuckDetector
from ezaigent.core.errors import StuckError
from ezaigent.testing import ModelServer, ToolCall, from_steps


def one(result: str, *, arguments: str = "{}", tool: str = "shell") -> list[Seen]:
    return [Seen(tool, arguments, result)]


def test_the_same_call_with_the_same_result_is_stuck_at_its_last_repeat() -> None:
    detector = StuckDetector()
    for _ in range(REPEATS - 1):
        detector.observe(one("no"), files_changed=False)
    with pytest.raises(StuckError, match=r"the same call of 'shell' came back with the same result 4 times in a row"):
        detector.observe(one("no"), files_changed=False)


@pytest.mark.parametrize("period", range(2, CYCLE + 1))
def test_a_short_cycle_is_stuck(period: int) -> None:
    detector = StuckDetector()
    turns = [one("no", arguments=str(number % period)) for number in range(period * REPEATS)]
    for turn in turns[:-1]:
        detector.observe(turn, files_changed=False)
    with pytest.raises(StuckError, match=f"the same {period} turns came back"):
        detector.observe(turns[-1], files_changed=False)


def test_a_test_run_that_only_takes_another_time_is_the_same() -> None:
    detector = StuckDetector()
    for number in range(REPEATS - 1):
        detector.observe(one(f"1 failed in {number}.{number}s"), files_changed=False)
    with pytest.raises(StuckError):
        detector.observe(one("1 failed in 17 seconds"), files_changed=False)


def test_another_result_is_progress() -> None:
    detector = StuckDetector()
    for number in range(200):
        detector.observe(one(f"line {number}"), files_changed=False)


def test_nothing_new_for_long_is_stuck_and_a_changed_file_is_news() -> None:
    detector = StuckDetector()
    for number in range(IDLE_TURNS * 3):
        # Never the same call twice, always the same answer.
        detector.observe(one("no matches", arguments=str(number), tool="grep"), files_changed=number % 10 == 9)
    left = IDLE_TURNS - IDLE_TURNS * 3 % 10
    for number in range(left - 1):
        detector.observe(one("no matches", arguments=f"x{number}", tool="grep"), files_changed=False)
    with pytest.raises(StuckError, match="25 turns without a changed file or anything new to read"):
        detector.observe(one("no matches", arguments="last", tool="grep"), files_changed=False)


def test_a_turn_without_a_call_counts_for_nothing() -> None:
    detector = StuckDetector()
    for _ in range(100):
        detector.observe([], files_changed=False)


async def test_a_run_that_repeats_itself_ends_with_its_work_kept(tmp_path: Path) -> None:
    script = from_steps(
        [ToolCall("write_file", {"path": "kept.txt", "content": "x"}), ToolCall("shell", {"command": "false"})]
    )
    async with ModelServer(script) as server, staged(tmp_path, server=server) as stage:
        claim = await stage.claim()
        with pytest.raises(StuckError, match="the same call of 'shell'") as caught:
            await stage.run(claim)
        assert len(server.requests) == 1 + REPEATS
        assert "\n" not in str(caught.value)
        assert await stage.runtime.checkpoint(claim) is not None


async def test_a_run_has_only_so_many_steps(tmp_path: Path) -> None:
    steps = [ToolCall("shell", {"command": f"echo {number}"}) for number in range(20)]
    profile = Profile(name="tester", model=PROFILE.model, context_window=200_000, max_steps=6)
    async with ModelServer(from_steps(steps)) as server, staged(tmp_path, server=server, profile=profile) as stage:
        with pytest.raises(StuckError, match="took 6 steps without finishing, its limit is 6; split the task"):
            await stage.run(await stage.claim())
        assert len(server.requests) == 3
