"""The settings of the autoscaler: what is refused, and what a change leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ezaigent.core.errors import UsageError
from ezaigent.fleet.scaling import PoolScaling, ScalingSettings


def test_the_defaults() -> None:
    own = ScalingSettings().pool("any")
    assert (own.policy, own.wait_target, own.up_threshold, own.down_threshold, own.cooldown) == ("slo", 15, 20, 5, 300)


def test_a_pool_takes_what_it_does_not_say_from_all_pools() -> None:
    config = ScalingSettings.model_validate({"max": 40, "cooldown": 60, "pools": {"claude": {"min": 20}}})
    assert (config.pool("claude").min, config.pool("claude").max, config.pool("claude").cooldown) == (20, 40, 60)
    assert config.pool("gpt").min == 1


def test_a_change_keeps_other_keys() -> None:
    config = ScalingSettings.model_validate({"max": 40, "pools": {"claude": {"min": 20, "keep": 4}, "gpt": {"max": 2}}})
    after = config.with_changes({"cooldown": 10, "pools": {"claude": {"min": 3}}})
    assert after.model_dump(exclude_unset=True) == {
        "max": 40,
        "cooldown": 10,
        "pools": {"claude": {"min": 3, "keep": 4}, "gpt": {"max": 2}},
    }
    assert config.pool("claude").min == 20, "the old one is as it was"
    assert after.with_changes({"pools": {"claude": None}}).pools.keys() == {"gpt"}
    assert config.with_changes({}) == config
    own = PoolScaling(max=7).with_changes({"min": 2})
    assert (own.min, own.max) == (2, 7)


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"min": 11}, ["min: 11 is above max, which is 10; lower min or raise max"]),
        ({"min": -1, "cooldown": "soon"}, ["min: -1 is refused: ", "cooldown: 'soon' is refused: "]),
        ({"down_threshold": 20}, ["down_threshold: 20 is not below up_threshold, which is 20"]),
        ({"size": 11}, ["size: 11 is not between min 1 and max 10"]),
        ({"hour_usd": 5, "day_usd": 4}, ["hour_usd: 5 is above day_usd, which is 4"]),
        ({"policy": "magic"}, ["policy: 'magic' is refused: "]),
        ({"maximum": 3}, ["maximum: there is no such setting; there are cooldown, "]),
        ({"pools": {"gpt": {"min": 12}, "claude": {"size": 0}}}, ["pools.gpt.min: 12", "pools.claude.size: 0"]),
        ({"pools": {"gpt": {"period": 1}}}, ["pools.gpt.period: there is no such setting"]),
        ({"pools": {"gpt": 3}}, ["pools.gpt: 3 is refused"]),
        ({"pools": 3}, ["pools: 3 is refused"]),
        ({"wait_target": float("nan")}, ["wait_target: nan is refused"]),
        ({"period": 0}, ["period: 0 is refused"]),
    ],
)
def test_each_wrong_value_is_refused_in_one_line(changes: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        ScalingSettings().with_changes(changes)
    said = str(refused.value).splitlines()
    assert len(said) == len(lines)
    assert all(one.startswith(line) for one, line in zip(said, lines, strict=True)), said


def test_contradictions_are_refused_wherever_they_are_read() -> None:
    with pytest.raises(ValidationError, match="min: 3 is above max"):
        PoolScaling(min=3, max=2)
    with pytest.raises(UsageError, match="down_threshold"):
        PoolScaling().with_changes({"down_threshold": 30})
